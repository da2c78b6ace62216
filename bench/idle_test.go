package bench

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func idle(t *testing.T, o IdleOptions) *IdleResult {
	t.Helper()
	r, err := Idle(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func connsOf(steps []IdleStep) (all []int) {
	for _, s := range steps {
		all = append(all, s.Conns)
	}
	return all
}

func TestIdle(t *testing.T) {
	url, asked := newPprofServer(t)
	o := quick(newTestServer(t).url("/echo"))
	o.PprofURL = url
	r := idle(t, IdleOptions{Options: o, Steps: 3, GC: true})
	wantAllOpen(t, r.Common)
	if got, want := connsOf(r.Steps), []int{0, 6, 13, 20}; !slices.Equal(got, want) {
		t.Errorf("steps at %v, want %v", got, want)
	}
	if !strings.HasSuffix(*asked, "gc=1") || !r.GC {
		t.Errorf("no garbage was collected: %s", *asked)
	}
	for _, s := range r.Steps {
		if s.RSSBytes <= 0 || s.Runtime == nil || s.Runtime.HeapInuse <= 0 || s.Kernel.Slab <= 0 || s.Kernel.PageTables <= 0 {
			t.Errorf("%+v", s)
		}
		if parts := s.Runtime.HeapInuse + s.Runtime.StackInuse + s.Rest(); parts != s.RSSBytes {
			t.Errorf("parts sum up to %d of %d", parts, s.RSSBytes)
		}
	}
	if r.PerConn.FromConns != 6 || r.PerConn.Runtime == nil {
		t.Errorf("%+v", r.PerConn)
	}
	if m := r.Memory; m.Before.Conns != 0 || m.SlopeStart.Conns != 6 || m.Open.Conns != 20 || m.End.RSSBytes == 0 {
		t.Errorf("%+v", m)
	}
	if r.Messages != 0 || r.Server.CPUPercent < 0 || r.DurationSeconds <= 0 {
		t.Errorf("%d messages, %v in %v s", r.Messages, r.Server, r.DurationSeconds)
	}
}

// TestIdleOfTickedConnections has no pprof.
func TestIdleOfTickedConnections(t *testing.T) {
	r := idle(t, IdleOptions{Options: quick(newTestServer(t).url("/ws"))})
	wantAllOpen(t, r.Common)
	if len(r.Steps) != 11 || r.Steps[10].Runtime != nil || r.Steps[10].Rest() != 0 || r.PerConn.Runtime != nil {
		t.Errorf("%d steps, the last %+v", len(r.Steps), r.Steps[10])
	}
	if r.Messages == 0 {
		t.Error("no ticks were counted")
	}
}

func TestIdleCountsOnlyWhileMeasuring(t *testing.T) {
	h := &held{}
	for _, change := range []func(){func() {}, func() { h.begin(0) }, func() { h.end(0) }} {
		change()
		h.piece(nil, piece{last: true}, 0)
		h.piece(nil, piece{}, 0)
	}
	if h.messages != 1 {
		t.Errorf("%d messages, want 1", h.messages)
	}
}

func TestIdleOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*IdleOptions){
		"process id": func(o *IdleOptions) { o.PID = 0 },
		"steps":      func(o *IdleOptions) { o.Steps = 21 },
		"one at":     func(o *IdleOptions) { o.Steps = -1 },
		"pprof":      func(o *IdleOptions) { o.GC = true },
		"no address": func(o *IdleOptions) { o.PprofURL = "ftp://localhost" },
		"refused":    func(o *IdleOptions) { o.PprofURL = "127.0.0.1:1" },
	} {
		o := IdleOptions{Options: quick("ws://127.0.0.1:1/echo")}
		change(&o)
		if _, err := Idle(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %s", err, want)
		}
	}
}

func TestIdleOfNobody(t *testing.T) {
	if _, err := Idle(t.Context(), IdleOptions{Options: quick("ws://127.0.0.1:1/echo")}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	o := IdleOptions{Options: quick(newTestServer(t).url("/echo"))}
	o.PID = 1 << 22
	if _, err := Idle(t.Context(), o); err == nil || !strings.Contains(err.Error(), "process 4194304") {
		t.Errorf("got %v", err)
	}
}

// growing are steps on lines, of which those below 3,000 connections are bent.
func growing(conns ...int) (steps []IdleStep) {
	for _, n := range conns {
		more := int64(n)
		s := IdleStep{
			Conns: n, RSSBytes: 10e6 + 200*more,
			Runtime: &RuntimeMemory{HeapInuse: 4e6 + 150*more, StackInuse: 1e5 + 20*more},
			Kernel:  KernelMemory{Slab: 1e9 + 9000*more, Stacks: 1e6 + 90*more, PageTables: 1e6 + 10*more},
		}
		if n < 3000 {
			s.RSSBytes -= 1e6
		}
		steps = append(steps, s)
	}
	return steps
}

func TestPerConn(t *testing.T) {
	for _, c := range []struct {
		name    string
		conns   []int
		from    int
		fromGot int
		bent    bool
	}{
		{"from a step on", []int{0, 2000, 4000, 6000, 8000}, 3000, 4000, false},
		{"from the first", []int{0, 4000, 6000, 8000}, 0, 4000, false},
		{"from nothing if need be", []int{0, 9000}, 3000, 0, true},
		{"from the last but one", []int{0, 2000, 9000}, 3000, 2000, true},
		{"of all", []int{0, 2000, 9000}, 0, 2000, true},
	} {
		p := perConnOf(growing(c.conns...), c.from)
		r := p.Runtime
		if p.FromConns != c.fromGot || !near(p.KernelBytes, 4550) || !near(r.HeapBytes, 150) || !near(r.StackBytes, 20) {
			t.Errorf("%s: %+v, %+v", c.name, p, r)
		}
		if near(p.RSSBytes, 200) == c.bent || near(r.RestBytes, 30) == c.bent {
			t.Errorf("%s: %.1f B in all and %.1f for the rest", c.name, p.RSSBytes, r.RestBytes)
		}
		if !near(r.HeapBytes+r.StackBytes+r.RestBytes, p.RSSBytes) {
			t.Errorf("%s: the parts of %.1f B are %+v", c.name, p.RSSBytes, r)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		x, y []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{5, 7, 9}, 2},
		{[]float64{0, 1, 2, 3}, []float64{0, 2, 1, 3}, 0.8},
		{[]float64{4, 4}, []float64{1, 2}, 0},
		{[]float64{7}, []float64{1}, 0},
	} {
		if got := slope(c.x, c.y); !near(got, c.want) {
			t.Errorf("%v over %v: %v, want %v", c.y, c.x, got, c.want)
		}
	}
}
