package server

import (
	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file finds out whether a silent peer is still there: a ping when it gave no sign of life for
// long, and an end if nothing comes back. The lock is held, but for weighAnswer.
//
// Conn.alive is the last sign of life that is no word of the peer's own, for connections with an idle
// timeout: the others have it in heard with the rest. While stPinged is set, alive is when the ping
// went out, and while stAnswered is, what heard was before the answer.

var ping = appendFrame(nil, ws.OpPing, nil)

// keepsAlive tells whether signs of life are looked for.
func (c *Conn) keepsAlive() bool { return c.keepalive() > 0 && !c.inStage() }

func (c *Conn) keepalive() wheel.Time {
	if c.ep == nil || c.ep.opts.Keepalive < 0 {
		return 0
	}
	return ticksOf(c.ep.opts.Keepalive)
}

// asksAt is when the peer is to be pinged, or is given up if it was.
func (c *Conn) asksAt() wheel.Time {
	if c.state.has(stPinged) {
		return c.alive + ticksOf(c.ep.opts.PongTimeout)
	}
	return nextPing(c.id, c.lastSign(), c.keepalive())
}

// looksAt is when the place is to come up for it. An answer does not touch the wheel, so while one is
// waited for, that is not after the time at which the next ping could be due if it came now.
func (c *Conn) looksAt(now wheel.Time) wheel.Time {
	at := c.asksAt()
	if again := now + c.keepalive() - c.keepalive()/4; c.state.has(stPinged) && again.Before(at) {
		return again
	}
	return at
}

// nextPing is up to a quarter less than every after the last sign of life: what one connection has of
// that changes from time to time, and of connections whose signs coincide each has its own, so that a
// burst that opened together does not stay one. It lies on a grid that is coarser than that of ticks: a
// ping may come a second sooner, and the loop, and who answers on the same machine, wakes for many.
func nextPing(id uint64, sign, every wheel.Time) wheel.Time {
	at := sign + every - wheel.Phase(id+uint64(sign), every/4)
	return at - at%pingGrain(every)
}

func pingGrain(every wheel.Time) wheel.Time { return max(1, every/64) }

func (c *Conn) lastSign() wheel.Time {
	if c.idleTimeout() > 0 && c.heard.Before(c.alive) {
		return c.alive
	}
	return c.heard
}

// sign notes a sign of life that is no word of the peer's own.
func (c *Conn) sign(at wheel.Time) {
	if c.idleTimeout() > 0 {
		c.alive = at
	} else {
		c.heard = at
	}
}

// catchUp keeps alive near heard, because times far apart can't be compared. A place comes up often
// enough for that.
func (c *Conn) catchUp() {
	if !c.state.has(stPinged|stAnswered) && c.alive.Before(c.heard) {
		c.alive = c.heard
	}
}

// askForLife pings a peer that nothing else shows to be there. The kernel is asked first: that costs a
// tenth of a ping and its pong, and who is ticked has acknowledged a tick.
func (c *Conn) askForLife(now wheel.Time) {
	if c.state.has(stPinged) {
		c.noAnswer(now)
		return
	}
	if c.waits() {
		c.sign(now) // of the write timeout; a pong could not come before it reads
		return
	}
	if a, ok := c.acks(); ok && ticksOf(a.Since) < c.keepalive()/2 {
		c.sign(now - ticksOf(a.Since))
		return
	}
	c.loop.stats.pings.Add(1)
	c.control(ping)
	c.state |= stPinged
	c.alive = now
}

// noAnswer gives up a peer that did not answer in time, unless the ping is still under way behind bytes that
// it acknowledges.
func (c *Conn) noAnswer(now wheel.Time) {
	if c.unheard() { // the pong may be among what is not read
		c.alive = now
		return
	}
	switch a, ok := c.acks(); {
	case ok && a.Unsent && !a.Unanswered: // the peer does not read, and its kernel acknowledges the probes
		c.alive = now
		return
	case ok && a.Outstanding && ticksOf(a.Since) < now-c.alive:
		c.alive = now - ticksOf(a.Since)
		return
	}
	c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal, Err: ErrPongTimeout})
}

// answered notes that something came after a ping. Whether it was more than the pong matters only to
// the idle timeout.
func (c *Conn) answered() {
	c.state &^= stPinged
	if c.idleTimeout() > 0 {
		c.state |= stAnswered
		c.alive = c.heard
	}
}

// weighAnswer has seen what came after a ping: if that was a pong and nothing else, the peer said
// nothing of its own accord. The holder of the turn runs it.
func (c *Conn) weighAnswer(w *worker, pong bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state &^= stAnswered; pong {
		c.heard, c.alive = c.alive, c.heard
		c.placeSooner()
	}
	w.stage = c.state
}
