package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"

	"github.com/stillpool/stillpool/bench"
)

// withMillion are the results of testdata with those of many connections.
func withMillion(t *testing.T) *results {
	t.Helper()
	dir := t.TempDir()
	data, err := os.ReadFile("testdata/million.json")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS("testdata/results"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, millionFile), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// element is one of the page, with its text.
type element struct {
	name  string
	attrs map[string]string
	text  string
}

// parse is strict: the page is XML, too, but for its first line and for entities.
func parse(t *testing.T, page string) (all []element) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Entity = xml.HTMLEntity
	var open []int
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			open = append(open, len(all))
			all = append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			for _, i := range open {
				all[i].text += string(token)
			}
		}
	}
}

func TestPageIsWellFormedAndAlone(t *testing.T) {
	t.Parallel()
	page := render(t, withMillion(t))
	ids := map[string]bool{}
	for _, e := range parse(t, page) {
		if id := e.attrs["id"]; id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = true
		}
		switch e.name {
		case "link", "script", "img", "iframe", "image", "object", "use":
			t.Errorf("the page has an element %s", e.name)
		}
		if href := e.attrs["href"]; href != "" && !strings.HasPrefix(href, "#") {
			t.Errorf("a link goes to %s", href)
		}
		for _, id := range strings.Fields(e.attrs["aria-labelledby"]) {
			if !strings.Contains(page, `id="`+id+`"`) {
				t.Errorf("nothing has the id %s", id)
			}
		}
	}
	for _, outside := range []string{"http:", "https:", "//", "url(", "@import", "src="} {
		if strings.Contains(strings.ReplaceAll(page, "http://localhost", ""), outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if strings.Contains(page, "<goroutines>") || !strings.Contains(page, "many &lt;goroutines&gt;") {
		t.Error("what servers say of themselves is taken for HTML")
	}
}

// unit is at the end of the label of an axis, unless that says what is counted.
var unit = regexp.MustCompile(`(, (ms|µs|s|MB|GB|% of a core|thousands|%)|^connections|a second)$`)

func TestEachPlotIsNamedAndItsAxesHaveUnits(t *testing.T) {
	t.Parallel()
	figures, err := withMillion(t).figures()
	if err != nil {
		t.Fatal(err)
	}
	want := "memory lateness tick-rate echo echo-latency connect broadcast attack attack-kind ramp ramp-memory ramp-ticks ramp-cpu"
	var ids []string
	for _, f := range figures {
		ids = append(ids, f.id)
		var title, desc string
		var texts []string
		for _, e := range parse(t, string(f.svg)) {
			switch e.name {
			case "title":
				title = e.text
			case "desc":
				desc = e.text
			case "text":
				texts = append(texts, e.text)
			}
		}
		if title != f.title || title == "" || desc == "" {
			t.Errorf("%s: its title is %q, and its description %q", f.id, title, desc)
		}
		all := strings.Join(texts, "\n")
		for _, a := range []axis{f.x, f.y} {
			if a.names != nil {
				for _, name := range a.names {
					if !strings.Contains(all, name) {
						t.Errorf("%s: the axis does not have %s", f.id, name)
					}
				}
				continue
			}
			if !unit.MatchString(a.label) || !strings.Contains(all, a.label) {
				t.Errorf("%s: the label %q has no unit or is not drawn", f.id, a.label)
			}
		}
		if len(f.legend) == 0 {
			t.Errorf("%s has no legend", f.id)
		}
	}
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("the plots are %s", got)
	}
}

// TestPlottedNumbers checks medians and units on the way from results to plots.
func TestPlottedNumbers(t *testing.T) {
	t.Parallel()
	r := testResults(t)
	for _, x := range []struct {
		figure *figure
		line   string
		want   plotter.XYs
	}{
		{memoryFigure(r), "quick", plotter.XYs{{X: 0, Y: 9}, {X: 4500, Y: 58.5}, {X: 9000, Y: 108}}},
		{latenessFigure(r), "stillpool", plotter.XYs{{X: 0, Y: 0.01}, {X: tail(50), Y: 0.08}, {X: 1, Y: 0.49}, {X: 2, Y: 0.9}, {X: 3, Y: 1.8}}},
		{tickRateFigure(r), "quick", plotter.XYs{{X: 9000, Y: 6.3}, {X: 18000, Y: 20}, {X: 36000, Y: 40}}},
		{echoFigure(r), "stillpool", plotter.XYs{{X: 5000, Y: 6}, {X: 20000, Y: 12}}},
		{echoLatencyFigure(r), "quick", plotter.XYs{{X: 5000, Y: 1.9}, {X: 20000, Y: 1.9}}},
		{attackKindFigure(r), "stillpool", plotter.XYs{{X: 36, Y: 0}, {X: 18, Y: 1}}},
	} {
		var got plotter.XYs
		for _, l := range x.figure.lines {
			if l.name == x.line {
				got = l.points
			}
		}
		if !near(got, x.want) {
			t.Errorf("%s of %s is %v, want %v", x.line, x.figure.id, got, x.want)
		}
	}
}

// TestCurveEndsAtTheLastMessage: of a hundred messages no more is known than which was the latest.
func TestCurveEndsAtTheLastMessage(t *testing.T) {
	t.Parallel()
	s := testResults(t).named("tick").Server("stillpool")
	for i := range s.Rounds {
		s.Rounds[i].Tick.Messages = 100
	}
	curve := curveOf(s, func(sample bench.Sample) ([]bench.CurvePoint, int64) {
		return sample.Tick.Curve, sample.Tick.Messages
	})
	if last := curve[len(curve)-1]; math.Abs(last.X-2) > 1e-9 {
		t.Errorf("it ends at %v, and not at the 99th percentile", last)
	}
}

func near(a, b plotter.XYs) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Abs(a[i].X-b[i].X) > 1e-9 || math.Abs(a[i].Y-b[i].Y) > 1e-9 {
			return false
		}
	}
	return true
}

// TestPageTables looks for the cells that matter, as the Markdown has them.
func TestPageTables(t *testing.T) {
	t.Parallel()
	page := render(t, testResults(t))
	for _, want := range []string{
		`<td class="better">7.00<small>× 0.78</small><small>6.00 to 8.00</small></td>`,
		`<td>21.11<small>× 2.35</small><small>20.00 to 22.22</small><small class="failed">1 of 3 failed</small></td>`,
		`<td>failed</td>`,
		`<li>slow failed in round 2 of tick: the server ended: exit status 2: panic: too *many* connections</li>`,
		`<li>quick, round 2: the client was &lt;b&gt;busy&lt;/b&gt;</li>`,
		`--only tick-rate --rounds 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("the page shows what is no number")
	}
}

func TestWithoutMillion(t *testing.T) {
	t.Parallel()
	if page := render(t, testResults(t)); strings.Contains(page, "bench million") {
		t.Error("the page tells of many connections without results")
	}
	r := withMillion(t)
	if page := render(t, r); !strings.Contains(page, "40,000 connections") {
		t.Error("the page does not tell of many connections")
	}
	if text := summary(r); !strings.Contains(text, "held 40,000 connections, of 3 server and 3 client processes") {
		t.Errorf("the summary does not tell of many connections:\n%s", text)
	}
}

// TestStylesDiffer checks what lines are told apart by where there is no colour: the marker.
func TestStylesDiffer(t *testing.T) {
	t.Parallel()
	r := &results{}
	for i := range lineTones {
		r.servers = append(r.servers, fmt.Sprint(i))
	}
	colours, markers := map[string]bool{}, map[string]bool{}
	for _, server := range r.servers {
		s := r.styleOf(server)
		colours[fmt.Sprint(s.color)] = true
		markers[fmt.Sprintf("%#v", s.shape)] = true
	}
	if len(colours) != lineTones || len(markers) != lineTones {
		t.Errorf("%d servers have %d colours and %d markers", lineTones, len(colours), len(markers))
	}
}

// TestTonesCanBeSeen wants the contrast that WCAG asks for of lines, 3 to 1, on paper and in the dark.
func TestTonesCanBeSeen(t *testing.T) {
	t.Parallel()
	for _, x := range tones {
		if x.name == "--grid" {
			continue // it is behind, and can be done without
		}
		if c := contrast(x.light, "#ffffff"); c < 3 {
			t.Errorf("%s on paper has a contrast of %.1f", x.name, c)
		}
		if c := contrast(x.dark, "#1a1f24"); c < 3 {
			t.Errorf("%s in the dark has a contrast of %.1f", x.name, c)
		}
	}
}

// contrast is that of WCAG 2.
func contrast(a, b string) float64 {
	light := func(s string) float64 {
		c, sum := hex(s), 0.0
		for i, part := range []uint8{c.R, c.G, c.B} {
			v := float64(part) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += v * []float64{0.2126, 0.7152, 0.0722}[i]
		}
		return sum + 0.05
	}
	la, lb := light(a), light(b)
	return max(la, lb) / min(la, lb)
}
