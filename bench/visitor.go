package bench

import (
	"errors"
	"io"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// visitor is a place in a crowd and the connection that has it. All of it belongs to the crowd's
// goroutine.
type visitor struct {
	index      uint32 // in the crowd
	number     int    // in its party
	generation uint32 // tells events of this connection from those of the ones before it
	party      *party
	queued     bool // in the crowd's ready

	session
}

// session is what a visitor forgets when its connection ends.
type session struct {
	fd       int32
	stage    state // unused, connecting, upgrading or open
	planned  time.Duration
	since    time.Duration // when connect was called
	canRead  bool
	canSend  bool
	hungUp   bool
	moves    int           // done or under way
	out      []byte        // what is left of the last move
	slow     bool          // and sent a byte at a time
	until    time.Duration // nothing is sent before
	awaiting bool          // the answer to the upgrade
	resting  bool          // nothing is to be sent
	leaving  bool          // the goodbye is said
	upgrade  *upgrader     // that made the request
	agreed   bool          // to what it offered
	in       []byte        // the start of an answer that came in several parts
	dec      decoder
	echo     []byte
	code     ws.StatusCode // of the server's close frame
}

// lastTurns bounds what is read of a broken connection.
const lastTurns = 64

var (
	errLeft   = errors.New("left with a reset")
	errHungUp = errors.New("end of stream")
)

func (c *crowd) dial(v *visitor, planned time.Duration) {
	v.generation++
	v.session = session{fd: -1, stage: connecting, planned: planned, since: c.now, upgrade: c.plain}
	r := &v.party.report
	r.Came++
	r.Opening++
	fd, err := netpoll.Connect(c.target.addr, c.target.spread(int(v.index)))
	if err != nil {
		c.end(v, err)
		return
	}
	v.fd = int32(fd)
	if err := c.poller.Add(fd, v.token(), netpoll.Read|netpoll.Write); err != nil {
		c.end(v, err)
	}
}

func (v *visitor) token() netpoll.Token {
	return netpoll.Token(v.generation)<<32 | netpoll.Token(v.index)
}

// serve notes what an event says and gives its visitor a turn.
func (c *crowd) serve(ev netpoll.Event) {
	v := &c.visitors[uint32(ev.Token)]
	if v.stage == unused || v.generation != uint32(ev.Token>>32) {
		return // stale
	}
	v.hungUp = v.hungUp || ev.Ready&(netpoll.HangUp|netpoll.Failed) != 0
	v.canRead = v.canRead || v.hungUp || ev.Ready&netpoll.Readable != 0
	v.canSend = v.canSend || ev.Ready&(netpoll.Writable|netpoll.Failed) != 0
	c.attend(v)
}

// attend is a turn. Who could do more queues for another one.
func (c *crowd) attend(v *visitor) {
	if err := c.turn(v); err != nil {
		c.end(v, err)
		return
	}
	more := v.canRead && !v.ignores() || c.sends(v)
	if more && !v.queued {
		v.queued = true
		c.ready.push(v.index)
	}
}

func (c *crowd) turn(v *visitor) error {
	if v.stage == connecting {
		if !v.canSend {
			return nil
		}
		if err := netpoll.ConnectError(int(v.fd)); err != nil {
			return err
		}
		v.stage = upgrading
	}
	if v.canRead && !v.ignores() {
		if err := c.read(v); err != nil {
			return err
		}
	}
	err := c.send(v)
	if err != nil && err != errLeft {
		c.readLast(v)
	}
	return err
}

// readLast looks for a close code in what came before the connection broke.
func (c *crowd) readLast(v *visitor) {
	v.hungUp, v.canRead = true, true
	for range lastTurns {
		if !v.canRead || c.read(v) != nil {
			return
		}
	}
}

// ignores tells who does not read what has come. When nothing more will come, all do: there may be a
// close code in it.
func (v *visitor) ignores() bool { return v.party.kind.deaf && v.stage == open && !v.hungUp }

func (c *crowd) read(v *visitor) error {
	for range turnCalls {
		n, err := netpoll.Recv(int(v.fd), c.buf)
		switch {
		case err == netpoll.ErrWouldBlock:
			v.canRead = false
			return nil
		case err == io.EOF:
			return errHungUp
		case err != nil:
			return err
		}
		v.party.report.ReceivedBytes += int64(n)
		if err := c.received(v, c.buf[:n]); err != nil {
			return err
		}
		if n < len(c.buf) && !v.hungUp {
			v.canRead = false
			return nil
		}
	}
	return nil
}

func (c *crowd) received(v *visitor, p []byte) error {
	if v.stage == open {
		return v.dec.feed(p, func(p piece) error { return c.heard(v, p) })
	}
	if v.in != nil {
		v.in = append(v.in, p...)
		p = v.in
	}
	n, err := v.upgrade.check(v.index, p)
	if err != nil {
		return err
	}
	if n == 0 {
		v.in = append(v.in[:0], p...)
		return nil
	}
	c.upgraded(v)
	return c.received(v, p[n:])
}

// upgraded notes the server's consent.
func (c *crowd) upgraded(v *visitor) {
	v.stage, v.in = open, nil
	v.awaiting, v.resting = false, false
	r := &v.party.report
	r.Opening--
	r.Open++
	r.Upgraded++
	if v.agreed = v.upgrade.agreed != ""; v.agreed {
		v.dec.rsv = 0x40 // RFC 7692 section 6: RSV1 says that a message is compressed
	} else if v.upgrade.offer != "" {
		r.Declined++
	}
}

// heard notes a close code. Nobody here answers it or leaves for it, but who has said goodbye.
func (c *crowd) heard(v *visitor, p piece) error {
	if p.op == ws.OpClose {
		v.code, _ = ws.ParseCloseFrameData(p.data)
		if len(p.data) == 0 {
			v.code = ws.StatusNoStatusRcvd
		}
		if v.leaving {
			return errServed
		}
	}
	if v.party.kind.heard == nil {
		return nil
	}
	return v.party.kind.heard(c, v, p)
}

// sends reports whether v has something to send now that the socket takes.
func (c *crowd) sends(v *visitor) bool { return v.canSend && !v.resting && c.now >= v.until }

// send goes on with the script until it has to wait.
func (c *crowd) send(v *visitor) error {
	for range turnCalls {
		if len(v.out) == 0 {
			if err := c.move(v); err != nil {
				return err
			}
		}
		if !c.sends(v) {
			return nil
		}
		p := v.out
		if v.slow {
			p = p[:1]
		}
		n, err := netpoll.Send(int(v.fd), p)
		if err == netpoll.ErrWouldBlock {
			v.canSend = false
			return nil
		}
		if err != nil {
			return err
		}
		v.out = v.out[n:]
		if v.slow {
			v.until = c.now + c.options.Drip
		}
		v.party.report.SentBytes += int64(n)
	}
	return nil
}

// move asks the script how it goes on, unless the server is to answer first.
func (c *crowd) move(v *visitor) error {
	if v.resting || v.awaiting || v.leaving {
		v.resting = true
		return nil
	}
	m := v.party.kind.next(c, v, v.moves)
	v.moves++
	if m.leave {
		return errLeft
	}
	v.out, v.slow, v.awaiting = m.send, m.slow, m.await
	if m.pause > 0 {
		v.until = c.now + m.pause
	}
	v.resting = len(m.send) == 0
	return nil
}

// end closes the connection, counts why, and makes the place free. A close code says more than how the
// stream ended.
func (c *crowd) end(v *visitor, why error) {
	if v.code != 0 && why != errServed {
		why = closeError(v.code)
	}
	if v.fd >= 0 {
		_ = c.poller.Remove(int(v.fd)) // it may never have been added
		if why == errLeft {
			_ = netpoll.Reset(int(v.fd))
		} else {
			_ = netpoll.Close(int(v.fd))
		}
	}
	r := &v.party.report
	r.Ends[reasonOf(v.stage, why)]++
	if v.stage == open {
		r.Open--
	} else {
		r.Opening--
	}
	v.session = session{}
	v.party.absent.push(v.index)
}
