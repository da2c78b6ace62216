package soak

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server"
)

// TestDocNamesTheFiles keeps the list in doc.go complete and true.
func TestDocNamesTheFiles(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\w+\.go`).FindAllString(string(doc), -1)
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		if !strings.Contains(f, "_") && f != "doc.go" && !slices.Contains(named, f) {
			t.Errorf("doc.go does not name %s", f)
		}
	}
	for _, f := range named {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("doc.go names %s: %v", f, err)
		}
	}
}

// TestReadFindsEachChange: a message of which any byte is another one, or that is longer or shorter, is not read.
func TestReadFindsEachChange(t *testing.T) {
	b := newBook(7)
	for _, text := range []bool{true, false} {
		for _, size := range []int{0, 1, 3, labelSize - 1, labelSize, labelSize + 1, 1000, largest} {
			l := label{maker: byClient, wish: wishEcho, arg: 5, of: 9, seq: 1 << 20, size: uint32(size)}
			tiny := label{maker: byClient, of: 9, seq: 1 << 20}
			m := b.message(l, text)
			if len(m) != size || text && !utf8.Valid(m) {
				t.Fatalf("%d bytes for %d, text %v", len(m), size, text)
			}
			got, err := b.read(m, text, tiny)
			if size < labelSize {
				l.wish, l.arg = wishNone, 0
			}
			if err != nil || got != l {
				t.Errorf("%d bytes: %+v, %v", size, got, err)
			}
			for i := 0; i < size; i += max(1, size/101) {
				m[i] ^= 1
				if _, err := b.read(m, text, tiny); err == nil {
					t.Errorf("%d bytes: byte %d is another, and nobody sees it", size, i)
				}
				m[i] ^= 1
			}
			if size <= labelSize {
				continue
			}
			for _, torn := range [][]byte{m[:size-1], append(slices.Clone(m), 'x'), m[:labelSize]} {
				if _, err := b.read(torn, text, tiny); err == nil {
					t.Errorf("%d bytes of %d are read", len(torn), size)
				}
			}
		}
	}
	one, two := b.message(label{maker: byServer, seq: 1, size: 12}, true), b.message(label{maker: byServer, seq: 2, size: 12}, true)
	if bytes.Equal(one, two) {
		t.Errorf("two messages that can't be told apart: %q", one)
	}
}

func TestChainKnowsTheOrder(t *testing.T) {
	a, b := label{maker: byServer, of: 1, seq: 1, size: 40}, label{maker: byServer, of: 1, seq: 2, size: 40}
	var none chain
	chains := []chain{none, none.with(a), none.with(b), none.with(a).with(b), none.with(b).with(a), none.with(a).with(a)}
	slices.Sort(chains)
	if len(slices.Compact(chains)) != 6 {
		t.Errorf("chains of other messages are equal: %x", chains)
	}
}

func TestDeflateAndBack(t *testing.T) {
	book := newBook(3)
	for _, keeps := range []bool{true, false} {
		out, in := squeezed{agreed: true, keepOut: keeps}, squeezed{agreed: true, keepIn: keeps}
		for i, size := range []int{0, 1, 500, 500, largest, 20, 40 << 10} {
			m := book.message(label{maker: byClient, seq: uint32(i), size: uint32(size)}, i%2 == 0)
			small := out.deflate(m)
			back, err := in.inflate(small)
			if err != nil || !bytes.Equal(back, m) {
				t.Errorf("message %d of %d bytes: %v", i, size, err)
			}
		}
		if len(out.out) > window || keeps != (len(out.out) > 0) {
			t.Errorf("%d bytes are kept", len(out.out))
		}
	}
	s := squeezed{}
	if _, err := s.inflate([]byte("\xff\xff\xff")); !errors.Is(err, errInflate) {
		t.Errorf("nonsense: %v", err)
	}
}

func TestAgreedTo(t *testing.T) {
	for answer, want := range map[string]squeezed{
		"":                   {keepOut: true, keepIn: true},
		"permessage-deflate": {agreed: true, keepOut: true, keepIn: true},
		"permessage-deflate; client_no_context_takeover":                             {agreed: true, keepIn: true},
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": {agreed: true},
	} {
		if got := agreedTo(answer); got.agreed != want.agreed || got.keepOut != want.keepOut || got.keepIn != want.keepIn {
			t.Errorf("%q: %+v", answer, got)
		}
	}
}

// TestDecksDealEverything in each round, and only where it belongs.
func TestDecksDealEverything(t *testing.T) {
	d := newDecks(11, nil, nil)
	dealt := map[string]int{}
	n := uint32(max(len(d.comings), len(d.goings), len(d.steps)))
	for i := range 4 * n {
		h := d.deal(i)
		dealt[h.coming.name]++
		dealt[h.going.name]++
		if !h.going.suits(h.place) || !h.first.suits(h.place) {
			t.Errorf("%s and %s at %s", h.first.name, h.going.name, h.place.path)
		}
	}
	for _, thing := range slices.Concat(comings, goings) {
		if dealt[thing.name] < thing.weight {
			t.Errorf("%s: %d of %d cards in a round at least", thing.name, dealt[thing.name], thing.weight)
		}
	}
	again := newDecks(11, nil, nil)
	if d.deal(5) != again.deal(5) {
		t.Error("the same seed deals something else")
	}
}

func TestFlatness(t *testing.T) {
	ebbs := func(values ...int64) (all []Point) {
		for i, v := range values {
			all = append(all, Point{Second: float64(10 * i), HeapBytes: v << 20})
		}
		return all
	}
	for _, c := range []struct {
		what   string
		ebbs   []Point
		leaks  bool
		judged bool
		growth int64 // in MiB
	}{
		{"nothing", nil, false, false, 0},
		{"too few", ebbs(1, 50, 100), false, false, 50},
		{"flat", ebbs(1, 5, 5, 5, 5), false, true, 0},
		{"flat, once warm", ebbs(1, 2, 9, 9, 9, 9, 9, 9), false, true, 0},
		{"one that is off", ebbs(9, 9, 9, 60, 9, 9, 9, 9), false, true, 0},
		{"less and less", ebbs(20, 19, 18, 17, 16), false, true, -3},
		{"within the bound", ebbs(8, 8, 9, 9, 9, 10), false, true, 1},
		{"more and more", ebbs(8, 9, 10, 11, 12, 13), true, true, 4},
		{"more and more, and one that is off", ebbs(8, 9, 10, 2, 12, 13), true, true, 4},
	} {
		f := flatness("heap", c.ebbs, func(p Point) int64 { return p.HeapBytes }, heapGrowth, heapPart)
		if f.Leaks() != c.leaks || f.Judged != c.judged || f.Growth>>20 != c.growth {
			t.Errorf("%s: %+v", c.what, f)
		}
	}
}

// TestJudge: a connection with nothing wrong, and with each thing wrong.
func TestJudge(t *testing.T) {
	byServer := func(o *outcome, r *record) {
		o.way.causes, r.Cause = []server.Cause{server.ClosedLocally}, server.ClosedLocally
	}
	for _, c := range []struct {
		change func(o *outcome, r *record)
		want   string
	}{
		{func(*outcome, *record) {}, ""},
		{func(_ *outcome, r *record) { r.Got = 4 }, "the server heard more than was said"},
		{func(_ *outcome, r *record) { r.Got = 2 }, "the server has not heard all that was said"},
		{func(o *outcome, r *record) { r.Got, o.broke = 2, true }, ""},
		{func(o *outcome, r *record) { r.Got, o.way.whole = 2, false }, ""},
		{func(o *outcome, r *record) { o.heard.got = 6 }, "the client heard more than was said"},
		{func(o *outcome, r *record) { byServer(o, r); o.heard.got = 4 }, "the client has not heard all that was accepted"},
		{func(o *outcome, r *record) { o.heard.got = 4 }, ""},
		{func(o *outcome, r *record) { o.heard.chain++ }, "the client heard other messages than were accepted, or in another order"},
		{func(o *outcome, r *record) { r.AllFrom, r.AllTo = 1, 3 }, ""},
		{func(o *outcome, r *record) { byServer(o, r); r.AllFrom = 0 }, "the client has not heard all broadcasts"},
		{func(o *outcome, r *record) { byServer(o, r); r.AllTo = 5 }, "the client has not heard all broadcasts"},
		{func(o *outcome, r *record) { r.AllTo = 5 }, ""},
		{func(o *outcome, r *record) { r.AllTo, r.Path, o.place = 5, "/refusing", placeAt("/refusing") }, ""},
		{func(o *outcome, r *record) { r.Path, o.place, o.heard.got = "/old-dropped", placeAt("/old-dropped"), 4 }, ""},
		{func(o *outcome, r *record) { r.Path, o.place, o.heard.got = "/latest-kept", placeAt("/latest-kept"), 6 }, "the client heard more than was said"},
		{func(o *outcome, r *record) {
			byServer(o, r)
			r.Path, o.place, r.Last = "/latest-kept", placeAt("/latest-kept"), 4
		}, "the client has not heard the last that was accepted"},
		{func(o *outcome, r *record) { r.Path, o.place, r.Last = "/latest-kept", placeAt("/latest-kept"), 4 }, ""},
		{func(o *outcome, r *record) {
			byServer(o, r)
			r.Path, o.place, r.Last, o.heard.allLast = "/latest-kept", placeAt("/latest-kept"), 4, true
		}, ""},
		{func(o *outcome, r *record) {
			r.Path, o.place, r.Last, o.heard.closed, o.heard.end = "/latest-kept", placeAt("/latest-kept"), 4, false, io.ErrUnexpectedEOF
		}, ""},
		{func(o *outcome, r *record) { r.Path = "/ticked" }, "a connection at another place than it asked for"},
		{func(o *outcome, r *record) { r.Cause, r.Code = server.Idle, 1000 }, "an end that should not be"},
		{func(o *outcome, r *record) { r.Cause = server.TooSlow }, ""},
		{func(o *outcome, r *record) { r.Code, o.heard.code = 1001, 1001 }, "another close code than should be"},
		{func(o *outcome, r *record) { o.heard.code = 1001 }, "another close code than the server recorded"},
		{func(o *outcome, r *record) { o.heard.closed = false }, "an end without a close frame"},
		{func(o *outcome, r *record) { o.heard.end = os.ErrDeadlineExceeded }, "a connection that did not end"},
	} {
		o := outcome{
			number: 1, place: placeAt("/plain"), opened: true, asked: true, sent: 3,
			way:   way{"close", []server.Cause{server.PeerClosed}, 1000, true},
			heard: account{got: 5, chain: 77, all: span{1, 4}, closed: true, code: ws.StatusNormalClosure, end: io.EOF},
		}
		r := record{Number: 1, Path: "/plain", Got: 3, Accepted: 5, Chain: 77, AllFrom: 2, AllTo: 4, Cause: server.PeerClosed, Code: 1000}
		c.change(&o, &r)
		j := newJudge()
		j.lived(o)
		j.recorded(r)
		j.rest()
		found, _ := j.all()
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[c.want] != 1) {
			t.Errorf("found %v, want %q", found, c.want)
		}
	}
}

// TestJudgeMissesSomething: accounts that come once, or twice, or of nobody.
func TestJudgeMissesSomething(t *testing.T) {
	life := func(n uint32, opened bool) outcome {
		return outcome{number: n, place: places[0], asked: true, opened: opened}
	}
	j := newJudge()
	j.lived(life(1, true))
	j.lived(life(2, false))
	j.lived(outcome{number: 3, place: places[0]}) // it never asked
	j.recorded(record{Number: 4})
	j.recorded(record{Number: 4})
	j.rest()
	j.rest() // nothing is left for a second time
	found, first := j.all()
	want := Counts{"an open without its close": 1, "a second close event": 1, "a close event of a connection that nobody opened": 1}
	if len(found) != len(want) || len(first) != 3 {
		t.Errorf("found %v", found)
	}
	for what := range want {
		if found[what] != 1 {
			t.Errorf("not found: %s in %v", what, found)
		}
	}
}

func TestResultSpeaks(t *testing.T) {
	r := Result{Did: Counts{"a": 1, "b": 0}, Ends: Counts{"peer closed": 2}}
	if r.Err() != nil || !slices.Equal(r.Never(), []string{"b"}) {
		t.Errorf("%v, never %q", r.Err(), r.Never())
	}
	r.Leaks = []string{"heap grew"}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "heap grew") {
		t.Errorf("a leak: %v", err)
	}
	r.Found, r.First, r.Options.Seed = Counts{"something": 2}, []Finding{{"something", "somewhere"}}, 42
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "seed 42") {
		t.Errorf("something wrong: %v", err)
	}
	var shown strings.Builder
	if err := r.WriteTable(&shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WRONG", "something: somewhere", "LEAK", "heap grew", "seed 42", "0  b", "2  peer closed"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("no %q in\n%s", want, shown.String())
		}
	}
	if strings.Contains(shown.String(), "nothing wrong") {
		t.Error(shown.String())
	}
}

func TestOptionsRefused(t *testing.T) {
	command := []string{"soak"}
	for _, o := range []Options{
		{}, {Command: command, Conns: -1}, {Command: command, Duration: -1}, {Command: command, Conns: 1 << 30},
		{Command: command, Tide: 1}, {Command: command, Interval: 1}, {Command: command, Patience: 1}, {Command: command, Pause: -1},
	} {
		if _, err := o.withDefaults(); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	o, err := Options{Command: command}.withDefaults()
	if err != nil || o.Seed == 0 || o.Tide.Seconds() != 5 || o.Conns != 500 {
		t.Errorf("%+v, %v", o, err)
	}
}
