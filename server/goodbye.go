package server

import (
	"context"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file announces a Shutdown, and spreads its goodbyes over its time. They ride on each connection's
// place in the wheel, as its ticks do, so a million of them need no list and no goroutine.

// goodbyes are those of a server. The times are set before draining is, and then never changed.
type goodbyes struct {
	announce  sync.Once
	announced atomic.Bool   // Shutdown was called
	delay     *time.Timer   // of DrainDelay
	heard     chan struct{} // closed when that is over

	begin         sync.Once
	draining      atomic.Bool // DrainDelay is over, too
	start, window wheel.Time
	grain         wheel.Time    // of the grid that the shares of the window come up on
	untold        atomic.Int64  // connections to which goodbye is still to be said
	told          chan struct{} // closed when there are none any more
}

// Draining tells that Close was called, or Shutdown and its DrainDelay is over: from then on no handshake
// is let in. It turns true before any connection is told goodbye and before the listeners are closed.
func (s *Server) Draining() bool { return s.goodbyes.draining.Load() || s.stopping.Load() }

// goodbye is how a shutdown ends a connection.
func (s *Server) goodbye() Closing {
	bye := goingAway
	if s.DrainCode != 0 {
		bye.Code = s.DrainCode
	}
	if s.DrainReason != "" {
		bye.Reason = s.DrainReason
	}
	return bye
}

// sayUnready has Ready tell that the server is not, and returns after DrainDelay, or as soon as ctx or the
// server ends. Nobody is there to hear of a server that has not begun to serve.
func (s *Server) sayUnready(ctx context.Context) {
	g := &s.goodbyes
	g.announce.Do(func() {
		g.heard = make(chan struct{})
		g.delay = time.AfterFunc(s.within(ctx, s.DrainDelay), func() { close(g.heard) })
		g.announced.Store(true)
	})
	if s.loops() == nil {
		return
	}
	select {
	case <-g.heard:
	case <-ctx.Done():
	case <-s.wanted.Done():
	}
}

// sayGoodbyes has every open connection told goodbye in the course of DrainTime, and returns when all
// are told or gone, or at the end of ctx.
func (s *Server) sayGoodbyes(ctx context.Context) {
	g := &s.goodbyes
	g.begin.Do(func() { s.spreadGoodbyes(s.within(ctx, s.DrainTime)) })
	select {
	case <-g.told:
	case <-ctx.Done():
	}
}

// within is d, or as much of it as leaves the last to be told some of ctx to answer.
func (s *Server) within(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		d = min(d, left-min(orDefault(s.CloseTimeout, defaultCloseTimeout), left/4))
	}
	return max(d, 0)
}

// spreadGoodbyes gives every open connection its share of the window. Where the shares begin is left to
// chance, so that servers that shut down together don't do so in step.
func (s *Server) spreadGoodbyes(window time.Duration) {
	g := &s.goodbyes
	g.told = make(chan struct{})
	if s.loops() == nil {
		window = 0 // nobody is there
	} else {
		g.start, g.window = s.now(), ticksOf(window)
	}
	if window > 0 {
		g.grain = drainGrain(g.window, int(s.conns.Load())/len(s.loops()))
	}
	g.untold.Store(1) // this function
	g.draining.Store(true)
	if window > 0 {
		n := rand.Uint64()
		s.everyConn(func(c *Conn) {
			if c.state.has(stOpen) && !c.state.has(stCloseSent|stLinger|stDead|stGone) {
				n++
				c.part(n)
			}
		})
	}
	g.one()
}

// one notes that one less is to be told.
func (g *goodbyes) one() {
	if g.untold.Add(-1) == 0 {
		close(g.told)
	}
}

// part lets c go at the n-th share of the window: as even as the phases of ticks. The lock is held.
func (c *Conn) part(n uint64) {
	c.share = max(1, uint16(wheel.Phase(n, 1<<16)))
	c.loop.srv.goodbyes.untold.Add(1)
	c.placeSooner()
}

// drainGrain returns the width of the grid for a loop's connections that close within window: that of ticks at
// the same rate, so that one wake-up closes some tens of them where the window tolerates it.
func drainGrain(window wheel.Time, conns int) wheel.Time {
	g := tickGrid{rate: uint64(conns) * rateUnit / uint64(max(window, 1))}
	g.adjust()
	return max(tickGrain, grain(window, wheel.Time(g.grain.Load())))
}

// parting reports whether the drain has scheduled the close of c. c.mu must be held.
func (c *Conn) parting() bool { return c.share != 0 }

// partsAt returns when the close of c begins, on the grid of the drain: one wake-up serves all of a point.
func (c *Conn) partsAt() wheel.Time {
	g := &c.loop.srv.goodbyes
	at := g.start + wheel.Time(uint64(g.window)*uint64(c.share)>>16)
	return at - at%g.grain
}

// parted notes that goodbye need not be said any more: it was, or something else ends c. The lock is
// held.
func (c *Conn) parted() {
	if c.parting() {
		c.share = 0
		c.loop.srv.goodbyes.one()
	}
}

// comeBackLater refuses a handshake that comes to a server that is going. The place of those that are
// told in the course of a window is free after it, so whoever comes meanwhile is asked to come then,
// and not all in the same second.
func (s *Server) comeBackLater() *refusal {
	g := &s.goodbyes
	if !g.draining.Load() || g.window == 0 { // after Close, a Shutdown may be about to set the times
		return errShuttingDown
	}
	left := -s.since(g.start + g.window)
	if left <= 0 {
		return errShuttingDown
	}
	later := *errShuttingDown
	later.header = maps.Clone(later.header)
	spread := time.Duration(g.window) * time.Millisecond / 4
	wait := left + rand.N(spread+time.Second)
	later.header["Retry-After"] = []string{strconv.Itoa(int((wait + time.Second - 1) / time.Second))}
	return &later
}
