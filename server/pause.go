package server

import "github.com/gobwas/ws"

// This file pauses the reading of a peer that does not read: a peer that does not take its answers
// sends no more messages to answer. Control frames are still read, up to the next message.

// pausedRead is the length of one read while reading is paused. What comes behind the control frames
// of that read is kept aside, so it bounds what a peer takes that sends on and does not read. It has
// room for seven of the longest control frames.
const pausedRead = 1 << 10

// pausesReading reports whether messages are not read while held bytes wait for a connection, of which
// its own OnMessage queued own. Reading resumes at half of the mark, so that it does not stop and go
// with every write. What others send does not count towards the mark: the peer did not ask for it.
func (o *Options) pausesReading(own, held int, paused bool) bool {
	mark := min(o.PauseReadingAt, o.Backlog/2)
	if paused {
		mark /= 2
	}
	// Answers that other goroutines send are not known as such. Where a full backlog would close the
	// connection, or refuse them, half of it is kept for what was asked already.
	refuses := o.Overflow == CloseSlow || o.Overflow == Refuse
	return o.PauseReadingAt >= 0 && own > mark || refuses && held > o.Backlog/2
}

// pace pauses and resumes reading, by what waits. The owner looks at it before it gives up the turn;
// other callers schedule c. c.mu must be held.
func (c *Conn) pace() {
	pause := c.ep != nil && !c.state.has(stCloseSent) &&
		c.ep.opts.pausesReading(c.out.own, c.out.held, c.state.has(stPaused))
	switch {
	case !pause:
		c.unpause()
	case !c.state.has(stPaused):
		c.state |= stPaused
		c.loop.stats.readPauses.Add(1)
	}
}

// resumeReading ends a pause when a close frame is sent: messages are not answered any more, and the
// peer's own close frame may be behind some. c.mu must be held.
func (c *Conn) resumeReading() {
	if c.state.has(stPaused) && c.state.has(stReadable) {
		c.nudge()
	}
	c.state &^= stPaused
}

// unpause ends a pause. A peer that could not send the rest of a message has all its time again, and the idle
// timeout, which did not run, begins anew. c.mu must be held.
func (c *Conn) unpause() {
	if !c.state.has(stPaused) {
		return
	}
	c.state &^= stPaused
	now := c.loop.srv.now()
	if c.state.has(stHalf) {
		c.began = now
	}
	if c.idleTimeout() > 0 {
		c.heard = now
	}
	c.placeSooner()
}

// withheld reports whether reading is paused and a data frame comes next. Owner only, c.mu must be held.
func (c *Conn) withheld() bool {
	return c.state.has(stPaused) && c.in != nil && c.in.dataNext(c.in.rest)
}

// dataNext reports whether what comes next, of which p is the beginning, is of a data frame.
func (d *decoder) dataNext(p []byte) bool {
	switch {
	case d.inFrame:
		return !d.head.op.IsControl()
	case d.nPart > 0:
		p = d.part[:d.nPart]
	case len(p) == 0:
		return false
	}
	return !ws.OpCode(p[0] & bitsOp).IsControl()
}
