package server

// This file is what becomes of messages for a peer that reads too slowly: of the new one, and of those
// that wait. The connection's lock is held.

// Overflow is what an endpoint does about a message that would make a connection's backlog longer than
// Options.Backlog. Until then all wait; so it is also what the program wants of messages that are old.
type Overflow uint8

const (
	// CloseSlow refuses the message and closes the connection with 1013 (try again later), behind what
	// waits.
	CloseSlow Overflow = iota
	// Refuse refuses the message, with ErrBacklogFull, and keeps the connection. What was taken is not
	// lost, and the program knows what was not.
	Refuse
	// DropNew forgets the message: the outcome is Dropped, and no error.
	DropNew
	// DropOldest forgets as many of the oldest messages that wait as makes room for the new one.
	DropOldest
	// KeepLatest forgets all messages that wait, and keeps the new one.
	KeepLatest

	overflows
)

// forgets tells whether messages that were taken may be forgotten. A message of which a byte is sent
// never is, nor are control frames, nor a compressed message that later ones may refer to. The newest one
// is taken in any case, so what waits may be longer than Options.Backlog by what can't be forgotten.
func (o Overflow) forgets() bool { return o == DropOldest || o == KeepLatest }

// full tells whether a frame of so many bytes is one too many. One is always taken while nothing
// waits, or a message longer than the backlog could never be sent.
func (c *Conn) full(size int) bool {
	over := func() bool { return c.out != nil && c.out.held+size > c.ep.opts.Backlog }
	if over() && c.state.has(stCork) && !c.state.has(stWriting) {
		c.flush() // it is only the cork that made it wait
	}
	return over()
}

// makeRoom forgets what the endpoint wants forgotten for a frame of so many bytes, and tells whether that
// is taken. One that can't be forgotten itself has to fit.
func (c *Conn) makeRoom(size int, l lease) bool {
	limit := c.ep.opts.Backlog
	switch c.ep.opts.Overflow {
	case DropOldest:
		c.forget(c.out.held+size-limit, false)
	case KeepLatest:
		c.forget(c.out.held, false)
	default:
		return false
	}
	return !l.bound || c.out.empty() || c.out.held+size <= limit
}

// forget drops the oldest messages that wait, and tells how many bytes that were. It may leave an empty
// backlog, for somebody to fill or to end.
func (c *Conn) forget(want int, spare bool) (freed int) {
	before := c.out.held
	c.loop.stats.droppedOld.Add(uint64(c.out.drop(want, spare)))
	return c.lighten(before)
}

// lighten gives back what is not held any more. A peer that was not read because so much waited may be
// read again.
func (c *Conn) lighten(before int) (freed int) {
	if freed = before - c.out.held; freed > 0 {
		c.loop.srv.outbound.give(int64(freed))
		c.weigh()
		c.pace()
		if c.state.has(stReadable) {
			c.nudge()
		}
	}
	return freed
}

// overflow does not take a message, and does what the endpoint wants done about a reader so slow.
func (c *Conn) overflow() (Outcome, error) {
	switch c.ep.opts.Overflow {
	case CloseSlow:
		c.loop.stats.refused.Add(1)
		c.startClose(Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full", Err: ErrBacklogFull})
	case Refuse:
		c.loop.stats.refused.Add(1)
	default:
		c.loop.stats.droppedNew.Add(1)
		return Dropped, nil
	}
	return Refused, ErrBacklogFull
}

// unaffordable is overflow for a message that there is no budget for. Who is closed gives back what it has
// at once: others are waiting for it.
func (c *Conn) unaffordable(torn bool) (Outcome, error) {
	if torn {
		c.loop.stats.refused.Add(1)
		c.kill(Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrBacklogFull})
		c.nudge()
		return Refused, ErrBacklogFull
	}
	if c.out != nil && c.ep.opts.Overflow == CloseSlow {
		c.cut()
	}
	c.endEmpty()
	return c.overflow()
}

// cut forgets all that waits but what must be said, and tells how many bytes that were.
func (c *Conn) cut() (freed int) {
	before := c.out.held
	c.out.cut()
	freed = c.lighten(before)
	c.endEmpty()
	return freed
}

// endEmpty ends a backlog of which all was forgotten.
func (c *Conn) endEmpty() {
	if c.out != nil && c.out.empty() {
		c.flushed()
	}
}
