package server

import (
	"fmt"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file is what happens when a connection's place in the wheel comes up. Each connection has
// one place, at the earliest time at which anything of it may be due. What is due is worked out
// here: reading and writing do not touch the wheel, so a place may come up too early, which costs
// a look, but never too late.

// comeUp looks at what is due, sets the next place and runs the tick. The place was at placed. The loop
// runs it.
func (c *Conn) comeUp(w *worker, placed wheel.Time) {
	c.mu.Lock()
	if c.state.has(stGone) {
		c.mu.Unlock()
		return
	}
	c.catchUp()
	c.expire(w.now)
	c.oweTick(w, placed)
	c.placeSoonerAt(w.now)
	t := c.takeTurn(w)
	c.mu.Unlock()
	c.turn(w, t)
}

// expire enforces the deadlines. The lock is held.
func (c *Conn) expire(now wheel.Time) {
	switch {
	case c.state.has(stDead):
	case c.inStage() && !now.Before(c.at):
		c.stageExpired()
	case c.waits() && c.writeTimeout() > 0 && !now.Before(c.out.look):
		c.checkPace(now)
	case c.waits() && c.maxQueueAge() > 0 && !now.Before(c.out.oldest()+c.maxQueueAge()):
		c.noteCutShort()
		c.kill(Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrQueueAge})
	case c.awaitsAck() && !now.Before(c.began+c.loop.srv.userTimeout()):
		c.checkAcks(now)
	case c.halfReceived() && !now.Before(c.began+c.messageTimeout()):
		c.messageExpired(now)
	case c.parting() && !now.Before(c.partsAt()):
		c.startClose(c.loop.srv.goodbye())
	case c.listens() && !now.Before(c.heard+c.idleTimeout()):
		c.idleExpired(now)
	case c.keepsAlive() && !now.Before(c.asksAt()):
		c.askForLife(now)
	}
}

// inStage tells whether at is the end of a stage, and not the next tick.
func (c *Conn) inStage() bool { return !c.state.has(stOpen) || c.state.has(stCloseSent|stLinger) }

func (c *Conn) stageExpired() {
	switch {
	case c.state.has(stOpen | stLinger):
		c.checkEnding(c.loop.srv.now())
	case c.state.has(stPreface):
		c.abortPreface(errPrefaceLate)
	case c.state.has(stAsking):
		c.refuse(errAuthorizeSlow)
	default:
		c.refuse(errHeadTooSlow)
	}
}

// unheard reports whether something may have come that is not read, as while a handler runs. Then the peer's
// silence proves nothing: its window may be closed, so that not even a pong gets through. c.mu must be held.
func (c *Conn) unheard() bool { return c.state.has(stTurn | stParked | stReadable | stQueued) }

// idleExpired ends a connection whose peer has sent nothing, unless that may be for want of being read.
func (c *Conn) idleExpired(now wheel.Time) {
	if c.unheard() {
		c.heard = now
		return
	}
	c.startClose(Closing{Cause: Idle, Code: CodeGoingAway, Reason: "idle timeout"})
}

// messageExpired ends a connection whose message is not whole in time, unless the rest may have come
// and not be read, as while a handler runs: then it is looked at again soon.
func (c *Conn) messageExpired(now wheel.Time) {
	if c.unheard() {
		c.began = now - c.messageTimeout() + min(c.messageTimeout(), messageGrace)
		return
	}
	c.reject(errSlowMessage)
}

// oweTick notes a tick that is due. One that is a whole interval late, or finds the last one still
// undone, is skipped: ticks never pile up. c.mu must be held.
func (c *Conn) oweTick(w *worker, placed wheel.Time) {
	if c.every == 0 || c.inStage() || !c.state.has(stAnnounced) {
		return
	}
	due := c.tickDue()
	if w.now.Before(due) {
		return
	}
	// The grid was coarser when the place was set. The tick was moved, and is not late by as much.
	if due.Before(placed) {
		due = placed
	}
	// The time of a loop can step back by a millisecond, when a stop of the process is found.
	if w.now.Before(due) {
		due = w.now
	}
	late := uint32(w.now-due) / c.every
	w.tickOf, w.tickAt = c.id, due+wheel.Time(late*c.every)
	c.at += wheel.Time((late + 1) * c.every)
	if c.state.has(stTickOwed) {
		late++
	}
	if late > 0 {
		c.loop.stats.skipped.Add(uint64(late))
	}
	c.state |= stTickOwed
}

// takeTick takes the tick that is due, for tick to run. c.mu must be held.
func (c *Conn) takeTick(w *worker) {
	c.state &^= stTickOwed
	if w.tickOf != c.id { // another worker saw it come up
		last := wheel.Time(c.every)
		w.tickAt = c.loop.grid.due(c.at-last, last)
	}
	w.tickOf, w.tickEvery = 0, c.every
}

// tick runs the tick that takeTick took. Owner only.
func (c *Conn) tick(w *worker) {
	c.callTick(w)
	c.loop.stats.ticked(c.loop.srv.since(w.tickAt), w.tickEvery)
}

// scheduleTicks puts the next tick at the connection's phase. The lock is held.
func (c *Conn) scheduleTicks() {
	if c.every == 0 || c.ep.opts.OnTick == nil {
		c.every = 0
	} else {
		c.countTicks(true)
		every, now := wheel.Time(c.every), c.loop.srv.now()
		c.at = wheel.FirstDue(now, phase(c.ep.phases.Add(1), every), every)
		if c.tickDue()-now > every { // the point of the grid that is an interval sooner is still to come
			c.at -= every
		}
	}
	c.placeSooner()
}

// phase is the offset of the n-th connection's ticks within their interval. Offsets are spread
// evenly over a grid of tickGrain, coarse enough that the wake-up of the loop, and that of a peer
// on the same machine, is paid for a batch of ticks and not for each; but of at least 16 points.
func phase(n uint64, every wheel.Time) wheel.Time {
	grain := max(1, min(tickGrain, every/16))
	return wheel.Phase(n, every/grain) * grain
}

// placeSooner makes sure that the place is not later than what may be due first, or than the next point
// of the grid that this tolerates. The lock is held.
func (c *Conn) placeSooner() { c.placeSoonerAt(c.loop.srv.now()) }

func (c *Conn) placeSoonerAt(now wheel.Time) {
	if c.state.has(stDead | stGone) {
		return
	}
	const never = wheel.Horizon
	wait := never
	until := func(t wheel.Time) {
		if t.Before(now) {
			t = now
		}
		wait = min(wait, t-now)
	}
	switch {
	case !c.state.has(stOpen):
		until(about(c.at, ticksOf(c.loop.srv.handshakeTimeout())))
	case c.inStage():
		until(c.at)
	case c.every != 0 && c.state.has(stAnnounced):
		until(c.tickDue())
	}
	if c.waits() {
		if c.writeTimeout() > 0 {
			until(c.out.look)
		}
		if d := c.maxQueueAge(); d > 0 {
			until(c.out.oldest() + d)
		}
	}
	if c.awaitsAck() {
		until(c.began + c.loop.srv.userTimeout())
	}
	if c.halfReceived() {
		until(about(c.began+c.messageTimeout(), c.messageTimeout()))
	}
	if c.parting() {
		until(c.partsAt())
	}
	if c.listens() {
		until(about(c.heard+c.idleTimeout(), c.idleTimeout()))
	}
	if c.keepsAlive() {
		until(c.looksAt(now))
	}
	if wait != never {
		c.loop.sooner(c.slot, now+wait)
	}
}

func (c *Conn) writeTimeout() wheel.Time {
	if c.ep == nil || c.ep.opts.WriteTimeout < 0 {
		return 0
	}
	return ticksOf(c.ep.opts.WriteTimeout)
}

// maxQueueAge returns 0 for none.
func (c *Conn) maxQueueAge() wheel.Time {
	if c.ep == nil {
		return 0
	}
	return ticksOf(c.ep.opts.MaxQueueAge)
}

// halfReceived reports whether the timeout of a message runs. While reading is paused it does not.
func (c *Conn) halfReceived() bool {
	return c.state.has(stHalf) && !c.state.has(stPaused) && !c.inStage() && c.messageTimeout() > 0
}

func (c *Conn) messageTimeout() wheel.Time {
	if c.ep == nil || c.ep.opts.MessageTimeout < 0 {
		return 0
	}
	return ticksOf(c.ep.opts.MessageTimeout)
}

// listens tells whether the idle timeout runs. Who is not read because it does not read can't be heard.
func (c *Conn) listens() bool {
	return c.idleTimeout() > 0 && !c.inStage() && !c.state.has(stPaused) && !c.congested()
}

func (c *Conn) idleTimeout() wheel.Time {
	if c.ep == nil {
		return 0
	}
	return ticksOf(c.ep.opts.IdleTimeout)
}

// ticksOf turns a duration into the wheel's unit, a millisecond, rounding up.
func ticksOf(d time.Duration) wheel.Time {
	return wheel.Time((d + time.Millisecond - 1) / time.Millisecond)
}

// checkEvery holds an interval against what the wheel can do.
func checkEvery(d time.Duration) error {
	if d != 0 && (d < minEvery || d > maxTimer) {
		return fmt.Errorf("server: an interval of %v is not between %v and %v", d, minEvery, maxTimer)
	}
	return nil
}
