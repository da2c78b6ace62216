package server

import (
	"sync/atomic"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file makes one wake-up of a loop serve many timers. On a grid of 5 ms, 100 ticks a second took 116 µs
// each, nearly all of it for the wake-up that each had; on one of 100 ms they took 35. So timers that may be a little late come up at the points of a grid. All grids have points at the same
// times, so that timers of different lengths share wake-ups.

// grains are the widths of the grids, in milliseconds. The first is the width that phases have anyway.
var grains = [...]wheel.Time{
	tickGrain, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000,
	100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
}

const (
	// gridShare is the part of an interval or timeout that a grid may be wide.
	gridShare = 200
	// A loop's grid gets finer when one point has more than mostOnPoint ticks, and coarser when one has
	// fewer than leastOnPoint, on average. A step between grains is 2.5 at most and these are a factor
	// of four apart, so a population that stays about the same keeps its grid.
	leastOnPoint, mostOnPoint = 16, 64
	// rateUnit is a tick a millisecond.
	rateUnit = 1 << 32
)

// grain returns the widest grain up to the limit that a time of d tolerates, or 1 if it tolerates none.
func grain(d, limit wheel.Time) wheel.Time {
	widest := wheel.Time(1)
	for _, g := range grains {
		if g > min(d/gridShare, limit) {
			break
		}
		widest = g
	}
	return widest
}

// onGrid returns the first point of a grid that is not before t.
func onGrid(t, grain wheel.Time) wheel.Time {
	if past := t % grain; past > 0 {
		return t + grain - past
	}
	return t
}

// about returns when a timeout of d that ends at t is looked at.
func about(t, d wheel.Time) wheel.Time { return onGrid(t, grain(d, wheel.Horizon)) }

// tickGrid is the grid that the ticks of a loop's connections lie on. The zero value must be adjusted
// before use.
type tickGrid struct {
	rate  uint64        // of ticks that the connections ask for; guarded by loop.mu
	grain atomic.Uint32 // the widest that rate calls for
	step  int           // its index; guarded by loop.mu
}

// join counts a connection with an interval. loop.mu must be held.
func (g *tickGrid) join(every uint32) {
	g.rate += rateUnit / uint64(every)
	g.adjust()
}

// leave takes back a join. loop.mu must be held.
func (g *tickGrid) leave(every uint32) {
	g.rate -= rateUnit / uint64(every)
	g.adjust()
}

// adjust chooses the grain by the rate. loop.mu must be held.
func (g *tickGrid) adjust() {
	for g.step > 0 && g.rate > mostOnPoint*rateUnit/uint64(grains[g.step]) {
		g.step--
	}
	for g.step < len(grains)-1 && g.rate < leastOnPoint*rateUnit/uint64(grains[g.step]) {
		g.step++
	}
	if w := uint32(grains[g.step]); g.grain.Load() != w {
		g.grain.Store(w)
	}
}

// due returns when a tick comes up that its phase has at t: then, or at the next point of the grid. So
// the phase is kept, no tick moves by more than the grain, and when the grid gets finer again, ticks
// that shared a point part as their phases do. Safe for concurrent use.
func (g *tickGrid) due(t, every wheel.Time) wheel.Time {
	if every < 2*tickGrain*gridShare {
		return t // its phases lie on the only grid that it tolerates
	}
	return onGrid(t, grain(every, wheel.Time(g.grain.Load())))
}

// countTicks counts the connection's interval in the grid of its loop, or takes it back. c.mu must be held.
func (c *Conn) countTicks(count bool) {
	if count == c.state.has(stTicks) {
		return
	}
	c.state ^= stTicks
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	if count {
		c.loop.grid.join(c.every)
	} else {
		c.loop.grid.leave(c.every)
	}
}

// setInterval changes the interval, in milliseconds, of a connection that scheduleTicks may have counted.
// c.mu must be held.
func (c *Conn) setInterval(every uint32) {
	c.countTicks(false)
	c.every = every
}

// tickDue returns when the tick comes up that at stands for. c.mu must be held.
func (c *Conn) tickDue() wheel.Time { return c.loop.grid.due(c.at, wheel.Time(c.every)) }
