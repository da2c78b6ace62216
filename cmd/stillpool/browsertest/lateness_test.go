package browsertest

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
)

// The page's arithmetic, in the browser that it is for.
func TestLateness(t *testing.T) {
	p := newTab(t)
	p.open(serve(t, "127.0.0.1:0"))
	for _, c := range []struct {
		name  string
		times []float64 // when messages came, at one a second
		late  []float64
	}{
		{"nothing", []float64{}, []float64{}},
		{"one", []float64{300}, []float64{0}},
		{"steady", []float64{300, 1300, 2300}, []float64{0, 0, 0}},
		{"steady, but for rounding", []float64{300.1, 1300.1, 2300.1}, []float64{0, 0, 0}},
		{"the first is late", []float64{307, 1300, 2302}, []float64{7, 0, 2}},
		{"one is late by most of a second", []float64{300, 2100, 2300, 3300, 4300}, []float64{0, 800, 0, 0, 0}},
		{"one was never written", []float64{300, 1300, 3310, 4300}, []float64{0, 0, 10, 0}},
		{"three in one burst after a stall", []float64{300, 1300, 4400, 4400, 4401, 5300, 6300}, []float64{0, 0, 2100, 1100, 101, 0, 0}},
		{"phases on both sides of a whole second", []float64{999, 2001, 2999, 4000}, []float64{0, 2, 0, 1}},
	} {
		times, _ := json.Marshal(c.times)
		got := evaluate[[]float64](p, fmt.Sprintf(`import("/lateness.js").then(m => m.lateness(%s, 1000))`, times))
		if !close(got, c.late) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.late)
		}
	}
}

func close(a, b []float64) bool {
	for i := range a {
		if len(a) != len(b) || math.Abs(a[i]-b[i]) > 0.01 {
			return false
		}
	}
	return len(a) == len(b)
}

// What is kept is bounded by time and by number, and a new connection leaves the old one's lateness.
func TestHistory(t *testing.T) {
	p := newTab(t)
	p.open(serve(t, "127.0.0.1:0"))
	got := evaluate[[]float64](p, `import("/lateness.js").then(({ History }) => {
		const h = new History(1000, 5000, 4);
		const late = (now) => h.view(now).points.map(p => p.late);
		h.opened(0); h.came(100); h.came(1107);
		h.opened(1500); h.came(1900); h.came(2903);
		const four = late(3000);
		h.came(3900);
		const few = new History(1000, 1e6, 3);
		for (let i = 0; i < 5; i++) few.came(1000 * i);
		return [...four, -1, ...late(4000), -1, h.view(6500).points.length, h.view(6500).opened.length, few.view(5000).points.length];
	})`)
	if want := []float64{0, 7, 0, 3, -1, 7, 0, 3, 0, -1, 3, 1, 3}; !close(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The wait doubles up to a bound, and at least half of it is certain.
func TestBackoff(t *testing.T) {
	p := newTab(t)
	p.open(serve(t, "127.0.0.1:0"))
	got := evaluate[[]float64](p, `import("/link.js").then(({ backoff }) =>
		[0, 1, 2, 4, 5, 50].flatMap(n => [backoff(n, 0), backoff(n, 1)]))`)
	want := []float64{250, 500, 500, 1000, 1000, 2000, 4000, 8000, 7500, 15000, 7500, 15000}
	if !close(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
