package server

import (
	"sync"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// This file is the way out: a frame goes to the socket at once or waits in the backlog. Any
// goroutine runs it; the functions on Conn below writeFrame want the connection's lock held.

// frameBuffer has room for the longest frame that is copied in order to be sent.
type frameBuffer [maxHeader + joinTo]byte

var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

// writeFrame encodes a message, compressed or not, and sends it.
func (c *Conn) writeFrame(op ws.OpCode, data []byte, l lease) (Outcome, error) {
	if c.compresses(len(data)) && c.takes() {
		return c.writeDeflated(op, data, l)
	}
	return c.writePlain(op, data, l)
}

// writePlain encodes a frame and sends it. A short payload is copied behind its header; a long one
// goes to the kernel from where it is, because a second vector is cheaper than the copy.
func (c *Conn) writePlain(op ws.OpCode, data []byte, l lease) (Outcome, error) {
	if len(data) > joinTo {
		var buf [maxHeader]byte
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.sendFrame(appendHeader(buf[:0], op, len(data)), data, l)
	}
	buf := frameBuffers.Get().(*frameBuffer)
	frame := appendFrame(buf[:0], op, data)
	c.mu.Lock()
	outcome, err := c.sendFrame(nil, frame, lease{})
	c.mu.Unlock()
	frameBuffers.Put(buf)
	return outcome, err
}

// sendPlain sends a prepared message as it is.
func (c *Conn) sendPlain(p *Prepared) (Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendFrame(nil, p.frame, lease{forever: true})
}

// sendFrame sends a whole frame, given in two pieces of which the first may be empty. What remains of
// the body is kept as its lease allows.
func (c *Conn) sendFrame(head, body []byte, l lease) (Outcome, error) {
	if !c.state.has(stOpen) || c.state.has(stCloseSent|stDead|stGone) {
		return Refused, ErrClosed
	}
	size := len(head) + len(body)
	if c.state.has(stCork) && !c.loop.srv.outbound.hasRoom(int64(size+frameCost)) {
		c.state &^= stCork // what only the cork keeps must not be refused for want of room to wait
		c.flush()
	}
	if c.full(size) && !c.makeRoom(size, l) {
		return c.overflow()
	}
	n := 0
	if c.out == nil && !c.state.has(stCork) {
		var err error
		if n, err = c.transmit(head, body); err != nil && err != netpoll.ErrWouldBlock {
			return Refused, c.lose(err)
		}
	}
	if n == size {
		c.countOut(size)
		return Sent, nil
	}
	outcome, err := c.hold(head[min(n, len(head)):], body[max(0, n-len(head)):], l, n > 0)
	if outcome == Queued {
		c.countOut(size)
	}
	return outcome, err
}

func (c *Conn) transmit(head, body []byte) (int, error) {
	if len(head) == 0 {
		return c.send(body)
	}
	return c.sendv([][]byte{head, body})
}

// hold queues what the kernel did not take of a frame. When the process-wide budget has no more and
// nobody else is to give way, the frame is not taken; one that is torn already takes its connection with
// it, as nothing lawful could follow it.
func (c *Conn) hold(head, body []byte, l lease, torn bool) (Outcome, error) {
	most := len(head) + len(body) + frameCost
	if !c.afford(most) {
		return c.unaffordable(torn)
	}
	out := c.ownBacklog()
	before := out.held
	out.put(head, body, l, c.kindOf(l, torn), c.loop.srv.now())
	c.loop.srv.outbound.give(int64(most - (out.held - before)))
	switch {
	case !c.state.has(stCork):
		c.waitWritable()
	case c.state.has(stWriting):
		c.weigh()
		c.pace()
	case out.held >= corkBytes:
		c.flush()
	}
	return Queued, nil
}

// kindOf is what becomes of a frame that waits.
func (c *Conn) kindOf(l lease, torn bool) segmentKind {
	switch {
	case torn:
		return rest
	case c.ep.opts.Overflow.forgets() && !l.bound:
		return message
	}
	return frames
}

func (c *Conn) ownBacklog() *backlog {
	if c.out == nil {
		c.out = backlogs.Get().(*backlog)
		c.out.rank.conn = c
	}
	c.out.answering = c.state.has(stAnswers)
	return c.out
}

// waitWritable asks the poller to tell when there is room. It is asked only while something waits:
// on unix sockets every read of the peer's would wake the loop otherwise.
func (c *Conn) waitWritable() {
	if !c.state.has(stWriting | stDead | stGone) {
		c.state |= stWriting
		c.beginPace()
		if err := c.loop.poll.Modify(int(c.fd), c.token(), netpoll.Read|netpoll.Write); err != nil {
			c.lose(err)
			return
		}
	}
	c.weigh()
	c.pace()
	c.placeSooner()
}

// flush gives the socket what waits, as much as it takes.
func (c *Conn) flush() {
	defer c.noteTaken(c.state.has(stWriting), c.heldOut())
	for c.out != nil && !c.state.has(stDead|stGone) {
		c.placePong()
		var room [16][]byte
		n, err := c.sendv(c.out.vectors(room[:0]))
		if err != nil && err != netpoll.ErrWouldBlock {
			c.lose(err)
			return
		}
		before := c.out.held
		c.out.sent(n)
		c.noteTook(n)
		c.loop.srv.outbound.give(int64(before - c.out.held))
		switch {
		case c.out.held == 0:
			c.flushed()
		case err == netpoll.ErrWouldBlock:
			c.waitWritable()
			return
		}
	}
}

// placePong queues the pong that waits where it goes out next: section 5.5.2 wants it "as soon as is practical". A
// frame that has begun goes out first. c.mu must be held.
func (c *Conn) placePong() {
	if !c.out.pinged || c.out.empty() || c.out.inFrame() {
		return
	}
	before := c.out.held
	c.out.placePong()
	c.loop.srv.outbound.used.Add(int64(c.out.held - before))
}

// heldOut is what waits, by the measure of the backlog.
func (c *Conn) heldOut() int {
	if c.out == nil {
		return 0
	}
	return c.out.held
}

// noteTaken is for the idle timeout: to take what waited is a sign of life.
func (c *Conn) noteTaken(waited bool, held int) {
	if waited && c.heldOut() < held && c.idleTimeout() > 0 {
		c.heard = c.loop.srv.now()
		c.placeSooner()
	}
}

// flushed runs when nothing waits any more.
func (c *Conn) flushed() {
	ping, pinged := c.out.ping, c.out.pinged
	c.unrank()
	c.out.recycle()
	c.out = nil
	c.unpause()
	if c.state.has(stWriting) {
		c.state &^= stWriting
		if err := c.loop.poll.Modify(int(c.fd), c.token(), netpoll.Read); err != nil {
			c.lose(err)
			return
		}
	}
	if pinged {
		c.say(appendFrame(nil, ws.OpPong, ping), pong)
	}
	if c.out == nil {
		c.wordsSaid()
	}
}

// setCork makes sends gather while more frames of the peer's wait to be handled: many small answers
// then leave in one write. Taking the cork out lets them go.
func (c *Conn) setCork(in bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in {
		c.state |= stCork
		return
	}
	c.state &^= stCork
	c.flush()
}

// dropBacklog forgets what waits.
func (c *Conn) dropBacklog() {
	if c.out != nil {
		c.loop.srv.outbound.give(int64(c.out.held))
		c.unrank()
		c.out.recycle()
		c.out = nil
	}
}

// waits tells whether something waits for the peer, and not for the end of a handler only.
func (c *Conn) waits() bool { return c.out != nil && (!c.state.has(stCork) || c.state.has(stWriting)) }

// congested reports whether the peer is not read at all, because c would have to give way before its
// next answers could wait too. c.mu must be held.
func (c *Conn) congested() bool {
	return c.ep != nil && c.waits() && !c.loop.srv.outbound.hasRoom(2*int64(c.out.held)) && c.loop.srv.amongWorst(c.out.held)
}

func (c *Conn) countOut(n int) {
	c.loop.stats.messagesOut.Add(1)
	c.loop.stats.bytesOut.Add(uint64(n))
	c.noteSent()
}
