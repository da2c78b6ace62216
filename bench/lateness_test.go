package bench

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	second = time.Second
	ms     = time.Millisecond
)

// wantLate compares what was recorded with a list of times, in any order.
func wantLate(t *testing.T, l *lateness, want []time.Duration) {
	t.Helper()
	h := newHistogram()
	for _, d := range want {
		record(h, d)
	}
	if !l.late.Equals(h) {
		t.Errorf("lateness is %v of %d messages, want %v of %d",
			percentilesOf(l.late), l.late.TotalCount(), percentilesOf(h), h.TotalCount())
	}
}

func TestLateness(t *testing.T) {
	for _, c := range []struct {
		name     string
		arrivals []time.Duration
		end      time.Duration
		late     []time.Duration
		missing  int64
		silent   int
	}{
		{
			name:     "on time",
			arrivals: []time.Duration{300 * ms, 1300 * ms, 2300 * ms}, end: 3000 * ms,
			late: []time.Duration{0, 0, 0},
		},
		{
			name:     "the first is late, so the anchor is known only afterwards",
			arrivals: []time.Duration{700 * ms, 1000 * ms, 2005 * ms}, end: 2500 * ms,
			late: []time.Duration{700 * ms, 0, 5 * ms},
		},
		{
			name:     "a skipped tick is missing, and those after it are not late",
			arrivals: []time.Duration{0, 1000 * ms, 3010 * ms, 4000 * ms}, end: 4500 * ms,
			late: []time.Duration{0, 0, 10 * ms, 0}, missing: 1,
		},
		{
			name:     "a backlog delivered at once is late, and nothing is missing",
			arrivals: []time.Duration{0, 3200 * ms, 3200 * ms, 3200 * ms, 4000 * ms}, end: 4500 * ms,
			late: []time.Duration{0, 2200 * ms, 1200 * ms, 200 * ms, 0},
		},
		{
			name:     "what stays out at the end is missing, but for the last period",
			arrivals: []time.Duration{0, 1000 * ms}, end: 4500 * ms,
			late: []time.Duration{0, 0}, missing: 2,
		},
		{name: "nothing came", end: 4500 * ms, silent: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLateness(second, 1)
			for _, at := range c.arrivals {
				l.arrived(0, at)
			}
			l.finish(0, c.end)
			wantLate(t, l, c.late)
			if l.missing != c.missing || l.silent != c.silent {
				t.Errorf("%d missing, %d silent, want %d and %d", l.missing, l.silent, c.missing, c.silent)
			}
		})
	}
}

// TestLatenessOfModelServers runs servers of which everything is known for longer than a window
// holds: they are late at random, skip ticks, and stall and catch up.
func TestLatenessOfModelServers(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		m := modelServer{anchor: time.Duration(rnd.Int64N(int64(5 * second)))}
		for m.tick < 150 {
			switch rnd.IntN(10) {
			case 0:
				m.skip(1 + rnd.IntN(3))
			case 1:
				m.stall(1+rnd.IntN(5), time.Duration(rnd.Int64N(int64(second))))
			default:
				m.send(time.Duration(rnd.Int64N(int64(second))))
			}
		}
		m.send(0) // a last skip would be found out only with time

		l := newLateness(second, 2)
		for _, at := range m.arrivals {
			l.arrived(1, at)
		}
		l.finish(1, m.due()+second/2)
		wantLate(t, l, m.late)
		if l.missing != m.missing {
			t.Errorf("%d missing, want %d", l.missing, m.missing)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type modelServer struct {
	anchor   time.Duration
	tick     int
	arrivals []time.Duration
	late     []time.Duration
	missing  int64
}

func (m *modelServer) due() time.Duration { return m.anchor + time.Duration(m.tick)*second }

// send is late by less than a period; the first of all messages is on time and gives the anchor.
func (m *modelServer) send(late time.Duration) {
	if m.tick == 0 {
		late = 0
	}
	if n := len(m.arrivals); n > 0 {
		late = max(late, m.arrivals[n-1]-m.due()) // in order
	}
	m.arrivals = append(m.arrivals, m.due()+late)
	m.late = append(m.late, late)
	m.tick++
}

func (m *modelServer) skip(n int) {
	if m.tick > 0 {
		m.missing += int64(n)
		m.tick += n
	}
}

// stall sends n ticks together, late after the last of them was due.
func (m *modelServer) stall(n int, late time.Duration) {
	for i := range n {
		m.send(late + time.Duration(n-1-i)*second)
	}
}

// TestLatenessAnchorMoves shows the limit that the comment on the type states: what was judged
// before a message came earlier than all others stays as it is.
func TestLatenessAnchorMoves(t *testing.T) {
	l := newLateness(second, 1)
	var want []time.Duration
	for i := range window + 1 { // one more than is kept, so the older half is judged
		l.arrived(0, time.Duration(i)*second+50*ms)
		want = append(want, 0)
	}
	l.arrived(0, (window+1)*second)
	for i := window / 2; i < len(want); i++ {
		want[i] = 50 * ms
	}
	l.finish(0, (window+1)*second)
	wantLate(t, l, append(want, 0))
}

// TestLatenessRestart: nothing of the time before is left when the period changes.
func TestLatenessRestart(t *testing.T) {
	l := newLateness(second, 2)
	for _, at := range []time.Duration{0, 1200 * ms, 2000 * ms, 5000 * ms} {
		l.arrived(0, at)
	}
	l.finish(0, 5000*ms)
	l.finish(1, 5000*ms)
	l.arrived(1, 5500*ms)
	l.restart(100 * ms)
	for _, at := range []time.Duration{6000 * ms, 6130 * ms, 6200 * ms, 6400 * ms} {
		l.arrived(0, at)
		l.arrived(1, at+3*ms)
	}
	l.finish(0, 6450*ms)
	l.finish(1, 6450*ms)
	wantLate(t, l, []time.Duration{0, 30 * ms, 0, 0, 0, 30 * ms, 0, 0})
	if l.missing != 2 || l.silent != 0 {
		t.Errorf("%d missing and %d silent, want one a connection and none", l.missing, l.silent)
	}
}

// TestLatenessCut: what comes after a cut is held against the schedule from before it, and counted apart.
func TestLatenessCut(t *testing.T) {
	const every = 10 * time.Millisecond
	l := newLateness(every, 2)
	for i := range 3 {
		l.arrived(0, time.Duration(i)*every)
	}
	l.cut()
	if n, late := l.late.TotalCount(), l.late.Max(); n != 3 || late != 0 || l.missing != 0 {
		t.Errorf("before: %d messages, late by up to %d µs, %d missing", n, late, l.missing)
	}
	l.reset()
	l.arrived(0, 4*every+4*time.Millisecond) // number 3 never came
	l.cut()
	if n, late := l.late.TotalCount(), l.late.Max(); n != 1 || late < 3990 || late > 4010 || l.missing != 1 || l.silent != 0 {
		t.Errorf("after: %d messages, late by up to %d µs, %d missing", n, late, l.missing)
	}
}
