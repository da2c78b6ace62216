package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/stillpool/stillpool/server"
)

// dashboard is what the tests know of grafana.json.
type dashboard struct {
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource *dataSource
		}
	}
	Panels []panel
}

type dataSource struct{ Type, UID string }

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  *dataSource
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
	Targets []struct {
		Expr, RefID string
		Datasource  *dataSource
	}
}

// exported are the series that a server's collector and those of the process have, each with its
// labels and their values.
func exported(t *testing.T) map[string]map[string][]string {
	t.Helper()
	srv := new(server.Server)
	srv.Handle("/ws", server.Options{})
	size := 1.0
	from := source{func() server.Stats {
		st := srv.Stats()
		st.Conns, st.MaxConns = fewConns, 1
		return st
	}, srv.Ready, func() (float64, bool) { size *= 1000; return size, true }}
	reg := prometheus.NewRegistry()
	reg.MustRegister(newCollector(from, nil), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]string{}
	for _, f := range families {
		labels := map[string][]string{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			all[f.GetName()+"_bucket"] = map[string][]string{"le": nil}
			all[f.GetName()+"_sum"], all[f.GetName()+"_count"] = labels, labels
		} else {
			all[f.GetName()] = labels
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:stillpool|go|process)_\w+`)
	selector   = regexp.MustCompile(`\b((?:stillpool|go|process)_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(=~|!=|=)"([^"]*)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// checkExpr holds what an expression names against what there is.
func checkExpr(t *testing.T, where, expr string, there map[string]map[string][]string) {
	t.Helper()
	var labels []string
	for _, name := range metricName.FindAllString(expr, -1) {
		if there[name] == nil {
			t.Errorf("%s: nobody exports %s", where, name)
		}
		for l := range there[name] {
			labels = append(labels, l)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if m[1] == "job" || m[1] == "instance" {
				continue
			}
			for _, value := range strings.Split(strings.ReplaceAll(m[3], `\|`, "|"), "|") {
				if !slices.Contains(there[s[1]][m[1]], value) {
					t.Errorf("%s: %s has no %s %q", where, s[1], m[1], value)
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ", ") {
			if l != "instance" && !slices.Contains(labels, l) {
				t.Errorf("%s: nothing of it has a label %s", where, l)
			}
		}
	}
}

// TestDashboard: the dashboard shows what there is, all of it, and names nothing else; it has a unit
// for each panel, and leaves the data source to who imports it.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 39 || len(d.Panels) < 30 {
		t.Errorf("schema version %d, %d panels", d.SchemaVersion, len(d.Panels))
	}
	own := dataSource{"prometheus", "${datasource}"}
	there := exported(t)
	if v := d.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" || v.Query != "prometheus" {
		t.Errorf("the first variable is %+v", v)
	}
	for _, v := range d.Templating.List[1:] {
		if v.Datasource == nil || *v.Datasource != own {
			t.Errorf("variable %s is of %+v", v.Name, v.Datasource)
		}
		checkExpr(t, "variable "+v.Name, fmt.Sprint(v.Query), there)
	}
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has its id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: lies over %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource == nil || *p.Datasource != own {
			t.Errorf("%q: title, description, unit, query or data source is missing", p.Title)
		}
		for _, target := range p.Targets {
			if *target.Datasource != own || !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("%s: %+v is not of the chosen source and instance", p.Title, target)
			}
			checkExpr(t, p.Title, target.Expr, there)
		}
	}
	everywhere(t, "grafana.json", text)
}

// everywhere holds that a file names every metric of the collector.
func everywhere(t *testing.T, file string, text []byte) {
	t.Helper()
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	for _, h := range histograms {
		names = append(names, h.name)
	}
	for _, name := range names {
		if !regexp.MustCompile(`\bstillpool_` + name + `(_bucket)?\b`).Match(text) {
			t.Errorf("%s does not have stillpool_%s", file, name)
		}
	}
}

// TestReadmeOfMetrics: the README tells every metric, every reason of a refusal, and nothing that is
// not there; its code is that of the example.
func TestReadmeOfMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	everywhere(t, "README.md", text)
	there := exported(t)
	for _, line := range strings.Split(string(text), "\n") {
		for _, quoted := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(line, -1) {
			expr := quoted[1]
			if metric, label, ok := strings.Cut(strings.TrimSuffix(expr, "}"), "{"); ok && !strings.ContainsAny(expr, `="`) {
				expr = metric
				if strings.HasPrefix(metric, "stillpool_") && there[metric][label] == nil {
					t.Errorf("%s has no label %s", metric, label)
				}
			}
			for h := range histograms { // a histogram's own name is none of its series
				expr = regexp.MustCompile(`\bstillpool_`+histograms[h].name+`\b`).ReplaceAllString(expr, "stillpool_"+histograms[h].name+"_sum")
			}
			checkExpr(t, line, expr, there)
		}
	}
	for i := range server.RefusalReasons {
		if !bytes.Contains(text, fmt.Appendf(nil, "\n| `%s` |", server.RefusalReason(i))) {
			t.Errorf("the reason %s is not told", server.RefusalReason(i))
		}
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(text)
	if code == nil || !bytes.Contains(example, code[1]) {
		t.Error("its code is not that of the example")
	}
}
