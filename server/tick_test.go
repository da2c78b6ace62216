//go:build linux

package server

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server/wheel"
)

// meter is what a connection's ticks have come to at a moment at which none is owed.
type meter struct {
	at    wheel.Time // the next one
	every uint32
	run   uint64 // by the server, which has only this connection
	left  uint64
}

func measure(t *testing.T, s *Server, c *Conn) (m meter) {
	t.Helper()
	quietly(t, c, func() {
		st := s.Stats()
		m = meter{at: c.at, every: c.every, run: st.Ticks, left: st.Skipped}
	})
	return m
}

// wantSince holds the ticks since another moment against the time: each interval has one, run or
// skipped and counted.
func (m meter) wantSince(t *testing.T, before meter) {
	t.Helper()
	intervals := uint64(m.at-before.at) / uint64(m.every)
	if uint32(m.at-before.at)%m.every != 0 || m.run-before.run+m.left-before.left != intervals {
		t.Errorf("in %d ms at one each %d ms there were %d ticks and %d skipped", m.at-before.at, m.every, m.run-before.run, m.left-before.left)
	}
}

// TestTicks: several intervals at once, on the endpoints of one server and on the connections of one
// endpoint. Each connection is ticked, and stays at its phase.
func TestTicks(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const wanted = 8
		type rhythm struct {
			ticks int
			phase wheel.Time
		}
		var mu sync.Mutex
		rhythms := map[*Conn]rhythm{}
		enough := make(chan *Conn, 100)
		o := Options{
			OnOpen: func(c *Conn, r *Request) {
				if d, err := time.ParseDuration(r.Header("Every")); err == nil {
					must(t, c.SetEvery(d))
				}
			},
			OnTick: func(c *Conn) {
				c.mu.Lock()
				phase := c.at % wheel.Time(c.every)
				c.mu.Unlock()
				mu.Lock()
				defer mu.Unlock()
				r, ok := rhythms[c]
				if ok && r.phase != phase {
					t.Errorf("every %d ms: ticked at %d and at %d", c.every, r.phase, phase)
				}
				rhythms[c] = rhythm{r.ticks + 1, phase}
				if r.ticks+1 == wanted {
					enough <- c
				}
			},
		}
		intervals := map[string]time.Duration{"/1": time.Millisecond, "/7": 7 * time.Millisecond, "/30": 30 * time.Millisecond}
		for path, every := range intervals {
			o.Every = every
			s.Handle(path, o)
		}
		o.Every = 0
		s.Handle("/none", o)
		addr := serve(t, s)
		conns := 0
		for path := range intervals {
			for range 3 {
				open(t, addr, path)
				conns++
			}
		}
		for _, every := range []string{"1ms", "13ms", "29ms"} {
			open(t, addr, "/none", "Every: "+every)
			conns++
		}
		open(t, addr, "/none")
		for range conns {
			receive(t, "enough ticks", enough)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(rhythms) != conns {
			t.Errorf("%d connections were ticked, want %d: one has no interval", len(rhythms), conns)
		}
	})
}

// TestTickFirst: the first tick is due after the open event, and within an interval of it.
func TestTickFirst(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		intervals := []time.Duration{time.Second, time.Minute, time.Hour, maxTimer}
		j := newJournal()
		for _, every := range intervals {
			s.Handle("/"+every.String(), j.keep(Options{Every: every, OnTick: func(*Conn) {}}))
		}
		addr := serve(t, s)
		for _, every := range intervals {
			before := s.now()
			open(t, addr, "/"+every.String())
			c := j.want(t, "open").conn
			quietly(t, c, func() {
				if due := c.at - before; due == 0 || due > ticksOf(every)+s.now()-before {
					t.Errorf("every %v: the first tick is due in %d ms", every, due)
				}
				c.loop.mu.Lock()
				defer c.loop.mu.Unlock()
				if place, ok := c.loop.wheel.Due(c.slot); !ok || c.at.Before(place) {
					t.Errorf("every %v: the first tick is due at %d, the place comes up at %d, %v", every, c.at, place, ok)
				}
			})
		}
	})
}

// TestTickPhases: of many connections that open in one burst, or whose interval is changed in one go,
// each part of the interval gets its share of ticks, and each connection's first is due within the
// interval.
func TestTickPhases(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const burst = 256
		var opens sync.WaitGroup
		opens.Add(burst)
		ep := s.Handle("/", Options{Every: time.Hour, OnTick: func(*Conn) {}, OnOpen: func(*Conn, *Request) { opens.Done() }})
		addr := serve(t, s)
		before := s.now()
		for range burst {
			open(t, addr, "/")
		}
		opens.Wait()
		wantSpread(t, ep, time.Hour, burst, before)
		for _, every := range []time.Duration{3 * time.Hour, 0, time.Minute} {
			before = s.now()
			for c := range ep.Conns() {
				must(t, c.SetEvery(every))
			}
			if every > 0 {
				wantSpread(t, ep, every, burst, before)
			}
		}
	})
}

// wantSpread holds the next ticks of an endpoint's connections against what is even.
func wantSpread(t *testing.T, ep *Endpoint, every time.Duration, conns int, before wheel.Time) {
	t.Helper()
	const parts = 16
	var share [parts]int
	interval := ticksOf(every)
	for c := range ep.Conns() {
		quietly(t, c, func() {
			if due := c.at - before; due == 0 || due > interval+ep.srv.now()-before {
				t.Errorf("the first tick is due after %d ms, of %d", due, interval)
			}
			share[c.at%interval*parts/interval]++
		})
	}
	for i, n := range share {
		if n < conns/parts-4 || n > conns/parts+4 {
			t.Errorf("part %d of %v has %d of %d ticks: %v", i, every, n, conns, share)
		}
	}
}

// TestPhase: spread evenly, whatever the interval, and less than it.
func TestPhase(t *testing.T) {
	t.Parallel()
	for _, every := range []wheel.Time{1, 2, 10, 63, 64, 100, 640, 999, 1000, 60_000, ticksOf(maxTimer)} {
		const n, parts = 1000, 8
		var share [parts]int
		seen := map[wheel.Time]bool{}
		for i := range uint64(n) {
			p := phase(i, every)
			if p >= every {
				t.Fatalf("phase %d of %d", p, every)
			}
			seen[p] = true
			share[uint64(p)*parts/uint64(every)]++
		}
		if len(seen) < min(int(every), 16) {
			t.Errorf("every %d: %d phases", every, len(seen))
		}
		for i, got := range share {
			if every >= 100 && (got < n/parts-n/parts/4 || got > n/parts+n/parts/4) {
				t.Errorf("every %d: part %d has %d of %d", every, i, got, n)
			}
		}
	}
}

// TestSetEvery: from the next tick on, and 0 ends them.
func TestSetEvery(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		ticked := make(chan struct{}, 1000)
		j := newJournal()
		s.Handle("/", j.keep(Options{Every: time.Hour, OnTick: func(c *Conn) { ticked <- struct{}{} }}))
		s.Handle("/none", j.keep(Options{}))
		s.Handle("/other", Options{Every: 2 * time.Millisecond, OnTick: func(*Conn) {}})
		addr := serve(t, s)
		open(t, addr, "/")
		c := j.want(t, "open").conn
		must(t, c.SetEvery(2*time.Millisecond))
		for range 3 {
			receive(t, "a tick", ticked)
		}
		must(t, c.SetEvery(0))
		quietly(t, c, func() {}) // what was under way is over
		for len(ticked) > 0 {
			<-ticked
		}
		open(t, addr, "/other") // whose ticks show that time goes on
		before := s.Stats().Ticks
		await(t, "another one is ticked", func() bool { return s.Stats().Ticks > before+20 })
		if n := len(ticked); n > 0 {
			t.Errorf("%d ticks after they were ended", n)
		}
		must(t, c.SetEvery(time.Millisecond))
		receive(t, "a tick", ticked)
		for _, d := range []time.Duration{-1, time.Microsecond, 21 * 24 * time.Hour} {
			if c.SetEvery(d) == nil {
				t.Errorf("an interval of %v is taken", d)
			}
		}
		open(t, addr, "/none")
		must(t, j.want(t, "open").conn.SetEvery(time.Millisecond)) // nobody is there to tick
	})
}

// TestSetEveryEndsWhatIsOwed: a tick that came due while a handler ran is not run once that handler
// has ended ticks.
func TestSetEveryEndsWhatIsOwed(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		var ended atomic.Bool
		p, _, j := met(t, s, Options{
			Every: 5 * time.Millisecond,
			OnTick: func(*Conn) {
				if ended.Load() {
					t.Error("a tick after they were ended")
				}
			},
			OnMessage: func(c *Conn, m Message) {
				await(t, "a tick is owed", func() bool { return c.snapshot().has(stTickOwed) })
				must(t, c.SetEvery(0))
				ended.Store(true)
				echo(c, m)
			},
		})
		p.send(frame(ws.OpText, "end"))
		p.want(ws.OpText, "end")
		e := j.want(t, "message")
		quietly(t, e.conn, func() {})
	})
}

// TestTicksSkipped: ticks that could not run while their handler, or a message's, held the
// connection are skipped and counted. They do not pile up: each interval has one tick or one that is
// counted as skipped.
func TestTicksSkipped(t *testing.T) {
	const every = 2 * time.Millisecond
	for _, who := range []string{"tick", "message"} {
		t.Run(who, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				held := make(chan uint64, 1) // by how many intervals
				hold := func(c *Conn) {
					start := s.now()
					await(t, "intervals pass", func() bool { return s.now()-start > 20*ticksOf(every) })
					held <- uint64(s.now()-start) / uint64(ticksOf(every))
				}
				var ticks atomic.Uint64
				p, c, j := met(t, s, Options{
					Every: every,
					OnTick: func(c *Conn) {
						if ticks.Add(1) == 5 && who == "tick" {
							hold(c)
						}
					},
					OnMessage: func(c *Conn, _ Message) { hold(c) },
				})
				start := measure(t, s, c)
				if who == "message" {
					p.send(frame(ws.OpText, "hold"))
					j.want(t, "message")
				}
				intervals := receive(t, "the end of holding", held)
				ran := ticks.Load()
				await(t, "ticks go on", func() bool { return ticks.Load() > ran+5 })
				end := measure(t, s, c)
				end.wantSince(t, start)
				if skipped := end.left - start.left; skipped < intervals-3 {
					t.Errorf("%d skipped in %d intervals", skipped, intervals)
				}
			})
		})
	}
}

// TestOweTick: however late it is, one tick is owed, the next is to come, and what lies between is
// skipped.
func TestOweTick(t *testing.T) {
	t.Parallel()
	const every, due = 100, wheel.Time(5000)
	wrapped := wheel.Time(0)
	wrapped -= 250
	for _, c := range []struct {
		name    string
		state   state
		at, now wheel.Time
		owed    bool
		next    wheel.Time
		skipped uint64
	}{
		{"not yet", 0, due, due - 1, false, due, 0},
		{"on time", 0, due, due, true, due + every, 0},
		{"a little late", 0, due, due + every - 1, true, due + every, 0},
		{"a whole interval late", 0, due, due + every, true, due + 2*every, 1},
		{"ten intervals late", 0, due, due + 10*every + 7, true, due + 11*every, 10},
		{"while one is undone", stTickOwed, due, due, true, due + every, 1},
		{"late, while one is undone", stTickOwed, due, due + 3*every, true, due + 4*every, 4},
		{"where time wraps", 0, wrapped, wrapped + 3*every, true, wrapped + 4*every, 3},
		{"while closing", stCloseSent, due, due, false, due, 0},
		{"after the last words", stLinger, due, due, false, due, 0},
	} {
		conn := &Conn{loop: new(loop), state: stOpen | stAnnounced | c.state, every: every, at: c.at}
		conn.oweTick(&worker{now: c.now}, c.at)
		if owed, skipped := conn.state.has(stTickOwed), conn.loop.stats.skipped.Load(); owed != c.owed || conn.at != c.next || skipped != c.skipped {
			t.Errorf("%s: owed %v, the next at %d, %d skipped; want %v, %d, %d", c.name, owed, conn.at, skipped, c.owed, c.next, c.skipped)
		}
	}
	early := &Conn{loop: new(loop), state: stOpen, every: every, at: due}
	if early.oweTick(&worker{now: due}, due); early.state.has(stTickOwed) {
		t.Error("a tick is owed before the open event")
	}
}

// TestTicksCounted: a tick is not left out for another's sake; with nothing that holds them up, the
// intervals and the ticks are one to one, or counted.
func TestTicksCounted(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		var ticks atomic.Uint64
		_, c, _ := met(t, s, Options{Every: 2 * time.Millisecond, OnTick: func(*Conn) { ticks.Add(1) }})
		start := measure(t, s, c)
		await(t, "there are ticks", func() bool { return ticks.Load() > 30 })
		measure(t, s, c).wantSince(t, start)
	})
}

// TestLateness: every tick is in the histogram once, and no tick is early.
func TestLateness(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/", Options{Every: time.Millisecond, OnTick: func(*Conn) {}})
		addr := serve(t, s)
		for range 5 {
			open(t, addr, "/")
		}
		await(t, "there are ticks", func() bool { return s.Stats().Ticks > 300 })
		s.Close()
		await(t, "all are gone", func() bool { return s.Stats().Conns == 0 })
		st := s.Stats()
		if st.Lateness.Count() != st.Ticks || st.Lateness.Sum < 0 || len(st.Lateness.Counts) != len(st.Lateness.Bounds)+1 {
			t.Errorf("%d ticks, of lateness %+v", st.Ticks, st.Lateness)
		}
		if median, most := st.Lateness.Quantile(0.5), st.Lateness.Quantile(1); median > most || median == 0 {
			t.Errorf("the median is %v, the most %v", median, most)
		}
	})
}

// TestHistogram: each duration is counted under the first bound that it does not exceed.
func TestHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	var sum time.Duration
	for i, bound := range latenessBounds {
		for range i + 1 {
			h.add(bound)
			sum += bound
		}
	}
	h.add(time.Hour)
	h.add(-time.Millisecond)
	sum += time.Hour - time.Millisecond
	for i := range h.counts {
		want := uint64(i + 1)
		switch i {
		case 0:
			want = 2
		case len(latenessBounds):
			want = 1
		}
		if got := h.counts[i].Load(); got != want {
			t.Errorf("bucket %d has %d, want %d", i, got, want)
		}
	}
	if got := time.Duration(h.sum.Load()); got != sum {
		t.Errorf("the sum is %v, want %v", got, sum)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	h := Histogram{Bounds: []time.Duration{1, 2, 3}, Counts: []uint64{50, 0, 49, 1}}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 1, 0.51: 3, 0.99: 3, 1: 3} {
		if got := h.Quantile(q); got != want {
			t.Errorf("%v: %d, want %d", q, got, want)
		}
	}
	if got := (&Histogram{Bounds: h.Bounds, Counts: make([]uint64, 4)}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}
