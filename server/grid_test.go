//go:build linux

package server

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// population makes a grid on which n connections tick at an interval.
func population(n int, every wheel.Time) *tickGrid {
	g := new(tickGrid)
	g.adjust()
	for range n {
		g.join(uint32(every))
	}
	return g
}

// TestGridWidth: no grid is finer than the phases are, nor wider than a 200th of the interval; and within
// these bounds a point has 16 to 64 ticks on average.
func TestGridWidth(t *testing.T) {
	t.Parallel()
	for _, every := range []wheel.Time{1, 100, 1000, 2000, 7777, 20_000, 60_000, 3_600_000, ticksOf(maxTimer)} {
		for _, n := range []int{1, 10, 100, 2_000, 18_000, 200_000} {
			g := population(n, every)
			got := grain(every, wheel.Time(g.grain.Load()))
			least, widest := wheel.Time(tickGrain), grain(every, wheel.Horizon)
			if got > max(1, every/gridShare) || got > 1 && got < least {
				t.Errorf("%d at one each %d ms: a grid of %d ms", n, every, got)
			}
			onPoint := float64(n) * float64(got) / float64(every)
			if got > least && onPoint > mostOnPoint || got >= least && got < widest && onPoint < leastOnPoint {
				t.Errorf("%d at one each %d ms: %.1f on a point of %d ms", n, every, onPoint, got)
			}
		}
	}
	if g := population(2000, 20_000); g.due(1, 20_000) != 100 {
		t.Errorf("2,000 at one each 20 s: the first point is at %d", g.due(1, 20_000))
	}
	if g := population(18_000, 1000); g.due(1, 1000) != 1 {
		t.Errorf("an interval of a second has another grid than its phases': %d", g.due(1, 1000))
	}
}

// TestGridHysteresis: a population that varies within a factor of two around any size changes the grid once
// at most, and one that leaves takes all of its rate with it.
func TestGridHysteresis(t *testing.T) {
	t.Parallel()
	for size := 10; size < 100_000; size = size * 3 / 2 {
		g := population(size, 20_000)
		changes, last := 0, g.step
		for range 5 {
			for _, f := range []func(uint32){g.join, g.leave} {
				for range size / 2 {
					f(20_000)
				}
				if g.step != last {
					changes, last = changes+1, g.step
				}
			}
		}
		if changes > 1 {
			t.Errorf("%d connections, sometimes half as many more: the grid changed %d times", size, changes)
		}
		for range size {
			g.leave(20_000)
		}
		if g.rate != 0 || g.step != len(grains)-1 {
			t.Errorf("all of %d left: rate %d, step %d", size, g.rate, g.step)
		}
	}
}

// TestGridSpread: phases that are even stay even on the grid of any population.
func TestGridSpread(t *testing.T) {
	t.Parallel()
	const every = 20_000
	for _, n := range []int{500, 2_000, 10_000, 50_000} {
		g := population(n, every)
		width := max(tickGrain, grain(every, wheel.Time(g.grain.Load())))
		points := make([]int, every/width+1)
		for i := range uint64(n) {
			points[g.due(phase(i, every), every)/width]++
		}
		points[0] += points[len(points)-1] // the end of one interval is the start of the next
		mean := float64(n) * float64(width) / every
		for i, got := range points[:len(points)-1] {
			if float64(got) < mean-7 || float64(got) > mean+7 {
				t.Errorf("%d connections: %d ticks at point %d of %d ms, the mean is %.1f", n, got, i, width, mean)
			}
		}
	}
}

// gridWorld is a loop without a goroutine: its wheel, its grid, and connections that are ticked in virtual time.
type gridWorld struct {
	loop  *loop
	now   wheel.Time
	conns []*Conn
}

func newGridWorld(n int, every, now wheel.Time) *gridWorld {
	l := &loop{srv: new(Server), wheel: wheel.New(now)}
	l.grid.adjust()
	w := &gridWorld{loop: l, now: now}
	for i := range n {
		c := &Conn{loop: l, ep: new(Endpoint), id: uint64(i + 1), slot: uint32(i), state: stOpen | stAnnounced, every: uint32(every)}
		c.ep.opts.Keepalive = -1
		c.countTicks(true)
		c.at = wheel.FirstDue(now, phase(uint64(i), every), every)
		c.placeSoonerAt(now)
		w.conns = append(w.conns, c)
	}
	return w
}

// run ticks until end, and calls ticked for each tick with its lateness.
func (w *gridWorld) run(end wheel.Time, ticked func(c *Conn, late wheel.Time)) {
	due := make([]wheel.ID, 64)
	worker := worker{srv: w.loop.srv}
	for {
		next, ok := w.loop.wheel.Next()
		if !ok || !next.Before(end) {
			w.now = end
			return
		}
		w.now, worker.now = next, next
		for _, slot := range due[:w.loop.wheel.Advance(next, due)] {
			c := w.conns[slot]
			c.oweTick(&worker, w.loop.wheel.LastDue(slot))
			c.placeSoonerAt(next)
			if c.state.has(stTickOwed) {
				c.takeTick(&worker)
				ticked(c, next-worker.tickAt)
			}
		}
	}
}

// TestGridMoves: while the population, and with it the grid, changes at random, each connection is ticked
// once an interval, within a 200th of its phase. No tick is skipped, late, or in a burst. That holds also where the
// wheel's time wraps.
func TestGridMoves(t *testing.T) {
	t.Parallel()
	const every, conns, rounds = 20_000, 300, 30
	for _, start := range []wheel.Time{5_000, wheel.Time(1<<32 - rounds*every/2)} {
		t.Run(fmt.Sprint(start), func(t *testing.T) {
			t.Parallel()
			w := newGridWorld(conns, every, start)
			last, count := map[*Conn]wheel.Time{}, map[*Conn]int{}
			widths := map[uint32]bool{}
			others := 0
			for i := range wheel.Time(rounds * 4) {
				for want := rand.IntN(40_000) >> rand.IntN(10); others != want; {
					if others < want {
						w.loop.grid.join(every)
						others++
					} else {
						w.loop.grid.leave(every)
						others--
					}
				}
				widths[w.loop.grid.grain.Load()] = true
				w.run(start+(i+1)*every/4, func(c *Conn, late wheel.Time) {
					if late != 0 {
						t.Errorf("a tick is %d ms late", late)
					}
					if before, ok := last[c]; ok {
						if gap := w.now - before; gap < every-every/gridShare || gap > every+every/gridShare {
							t.Errorf("%d ms after the last one", gap)
						}
					}
					last[c] = w.now
					count[c]++
				})
			}
			for c, n := range count {
				if n < rounds-1 || n > rounds+1 {
					t.Errorf("connection %d: %d ticks in %d intervals", c.id, n, rounds)
				}
			}
			if len(count) != conns || w.loop.stats.skipped.Load() != 0 || len(widths) < 4 {
				t.Errorf("%d of %d connections were ticked, %d ticks skipped, grids %v", len(count), conns, w.loop.stats.skipped.Load(), widths)
			}
		})
	}
}

// TestGridBatches: with 2,000 connections at one tick in 20 s, a wake-up serves ten ticks.
func TestGridBatches(t *testing.T) {
	t.Parallel()
	const every, conns = 20_000, 2_000
	w := newGridWorld(conns, every, 0)
	wakeups, ticks := map[wheel.Time]bool{}, 0
	w.run(2*every, func(*Conn, wheel.Time) {
		wakeups[w.now] = true
		ticks++
	})
	if ticks < conns || len(wakeups) > ticks/8 {
		t.Errorf("%d ticks in %d wake-ups", ticks, len(wakeups))
	}
}

// TestGridOfALoop: connections count in their loop's grid from their open event, or a new interval, until they
// are gone.
func TestGridOfALoop(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 1
		p, c, j := met(t, s, Options{Every: time.Minute, OnTick: func(*Conn) {}})
		rate := func() uint64 {
			c.loop.mu.Lock()
			defer c.loop.mu.Unlock()
			return c.loop.grid.rate
		}
		want := func(every time.Duration) {
			t.Helper()
			var want uint64
			if every > 0 {
				want = rateUnit / uint64(every.Milliseconds())
			}
			await(t, "the rate is that of the connections", func() bool { return rate() == want })
		}
		want(time.Minute)
		for _, every := range []time.Duration{time.Hour, 0, 0, time.Minute} {
			must(t, c.SetEvery(every))
			want(every)
		}
		p.conn.Close()
		j.want(t, "close")
		want(0)
	})
}

// TestTimeoutGrid: a timeout is looked at when it ends or within a 200th of it after.
func TestTimeoutGrid(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		d := wheel.Time(rand.Uint32N(uint32(ticksOf(maxTimer))) >> rand.IntN(31))
		end := wheel.Time(rand.Uint32())
		if at := about(end, d); at-end > d/gridShare {
			t.Errorf("a timeout of %d that ends at %d is looked at at %d", d, end, at)
		}
	}
}
