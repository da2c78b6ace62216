package server

import (
	"sync/atomic"
	"time"
)

// counters are kept a loop, so that loops don't share cache lines; Stats adds them up.
type counters struct {
	messagesIn, messagesOut atomic.Uint64
	bytesIn, bytesOut       atomic.Uint64
	refused                 atomic.Uint64
	droppedNew, droppedOld  atomic.Uint64
	shed, shedBytes         atomic.Uint64
	onTime, late, skipped   atomic.Uint64 // ticks
	pings                   atomic.Uint64
	lateness                histogram

	deflatedIn, deflatedOut atomic.Uint64
	saidIn, saidOut         atomic.Uint64
	deflateSkipped          atomic.Uint64

	accepted, abandoned, rests atomic.Uint64
	handshakes                 [RefusalReasons]atomic.Uint64 // refused
	causes                     [Causes]atomic.Uint64         // of closed connections
	codes                      [CodeClasses]atomic.Uint64    // of the same
	open, closing              atomic.Int64                  // now: connections, see countOpen and countClosing
	badInput, panics           atomic.Uint64
	deposed                    atomic.Uint64
	readPauses                 atomic.Uint64
	lag                        histogram
}

// concluded tells whether it is known why c ends. The lock is held.
func (c *Conn) concluded() bool { return c.ext != nil && c.ext.end != nil }

// countOpen counts the upgrade, unless the connection ended over the answer to it. The lock is held.
func (c *Conn) countOpen() {
	if !c.concluded() {
		c.loop.stats.open.Add(1)
	}
}

// countClosing is for when it becomes known why the connection ends. The lock is held.
func (c *Conn) countClosing() {
	if c.state.has(stOpen) {
		c.loop.stats.open.Add(-1)
	}
	c.loop.stats.closing.Add(1)
}

// countEnd counts the end of a connection that was concluded, by why it ended. One that was refused
// counted then.
func (c *Conn) countEnd() {
	n, end := &c.loop.stats, c.ext.end
	n.closing.Add(-1)
	if c.ep != nil {
		n.causes[end.Cause].Add(1)
		n.codes[end.Code.Class()].Add(1)
		return
	}
	switch end.Err.(type) {
	case *refusal, prefaceError:
	default:
		n.abandoned.Add(1)
	}
}

// lateShare is the part of its interval by which a tick may be late and still counts as on time: a
// tenth, of a second the time from which a person sees it.
const lateShare = 10

// ticked counts a tick of a connection that has one every so many milliseconds.
func (n *counters) ticked(lateness time.Duration, every uint32) {
	n.lateness.add(lateness)
	if lateness > time.Duration(every)*time.Millisecond/lateShare {
		n.late.Add(1)
	} else {
		n.onTime.Add(1)
	}
}

// latenessBounds are the upper bounds of the histograms, but for the last bucket, which has none.
var latenessBounds = [...]time.Duration{
	500 * time.Microsecond, 1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 500 * time.Millisecond, 1 * time.Second, 2 * time.Second, 5 * time.Second,
}

type histogram struct {
	counts [len(latenessBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(latenessBounds) && d > latenessBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}
