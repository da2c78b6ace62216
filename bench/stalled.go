package bench

import "time"

// Stalled connections are open and never read: what comes fills the kernel's buffers at this end, which are
// left as they are, then those at the server's end, and then it is for the server to know what to do.

const (
	// quietTime is how long nothing must come to those that read at last, for there to be no more.
	quietTime = time.Second
	// catchUpTime bounds how long they read.
	catchUpTime = 10 * time.Second
)

// stall lets the last n open connections read no more, and answers how many those are.
func (l *loop) stall(n int) (stalled int) {
	for i := len(l.conns) - 1; i >= 0 && stalled < n; i-- {
		if c := &l.conns[i]; c.state == open {
			c.stalled, c.deaf = true, true
			stalled++
		}
	}
	return stalled
}

// undeafen lets a connection read what has come.
func (l *loop) undeafen(c *conn, hangUp bool) error {
	c.deaf = false
	return l.read(c, hangUp)
}

// undeafenAll lets all of them read, and tells how many there are.
func (l *loop) undeafenAll() (n int) {
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open && c.deaf {
			n++
			if err := l.undeafen(c, false); err != nil {
				l.drop(c, err)
			}
		}
	}
	return n
}

// heardLate takes a whole message on a connection that had stalled. It need not be the next one, because a
// server may have left out what would not go, but none may come twice or out of order.
func (s *listening) heardLate(e *ear, number uint32) error {
	switch {
	case number >= s.board.posted():
		return errForeign
	case number < e.next:
		return errRepeated
	}
	e.next, e.offset = number+1, 0
	s.late++
	return nil
}

// catchUp lets those that stalled read, until all have ended or nothing comes any more. Only reading tells
// what has become of them: a close frame, and the end of the stream too, wait behind what was not read.
func (r *run) catchUp(stop <-chan struct{}) {
	r.fleet.each(func(l *loop) { l.undeafenAll() })
	deadline := time.Now().Add(catchUpTime)
	bytes, since := r.fleet.census().bytesIn, time.Now()
	for time.Since(since) < quietTime && time.Now().Before(deadline) {
		if r.stalledOpen() == 0 {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(quietTime / 50):
		}
		if now := r.fleet.census().bytesIn; now != bytes {
			bytes, since = now, time.Now()
		}
	}
}

// stalledOpen is how many of those that stalled are open.
func (r *run) stalledOpen() (n int) {
	r.fleet.each(func(l *loop) {
		n += l.scenario.(*listening).stalled - sum(l.ends)
	})
	return n
}
