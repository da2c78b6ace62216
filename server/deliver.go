package server

import (
	"bytes"
	"sync"

	"github.com/gobwas/ws"
)

// This file takes received bytes to the handlers. The holder of the turn runs it.

var inbounds = sync.Pool{New: func() any { return new(inbound) }}

// frames decodes p and delivers what it says, in order, until an event has to wait for a worker or
// the connection has had its share of the turn. What is left is kept aside: as it is if p is the
// connection's own, otherwise copied.
func (c *Conn) frames(w *worker, p []byte, own bool) {
	d := c.decoder(w)
	corked, fresh, pong := false, false, false
	for n := 0; len(p) > 0 && !w.stage.has(stCloseTaken|stLinger|stDead); n++ {
		if n == turnFrames {
			w.yield = true
			break
		}
		if w.stage.has(stPaused) && d.dataNext(p) {
			w.yield = true // what is left is read when the peer has read
			break
		}
		u, rest, err := d.next(p)
		if err != nil {
			c.fail(w, err)
			break
		}
		p = rest
		pong = n == 0 && u.ok && u.op == ws.OpPong
		if !u.ok {
			continue
		}
		fresh = fresh || !u.op.IsControl()
		// Only on a loop, where handlers are quick: elsewhere an answer would wait for the next one.
		if len(rest) > 0 && !corked && w.role == onLoop {
			corked = true
			c.setCork(true)
		}
		if c.deliver(w, d, u) {
			break
		}
	}
	if corked {
		c.setCork(false)
	}
	if w.stage.has(stAnswered) {
		c.weighAnswer(w, pong)
	}
	if len(p) > 0 && w.stage.has(stCloseTaken|stLinger|stDead) {
		c.behindClose(w)
		p = nil
	}
	c.noteHalf(w, d, fresh)
	c.keepAside(w, d, p, own)
}

// noteHalf notes since when something is half received. A fresh one began when what was before it
// was complete.
func (c *Conn) noteHalf(w *worker, d *decoder, fresh bool) {
	half := !d.idle()
	if half == w.stage.has(stHalf) && !(half && fresh) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state &^= stHalf; half {
		c.state |= stHalf
		c.state &^= stSent // for which began is, too
		c.began = c.loop.srv.now()
		c.placeSooner()
	}
	w.stage = c.state
}

// decoder is the connection's own if something is half received, and otherwise the worker's.
func (c *Conn) decoder(w *worker) *decoder {
	d := &w.dec
	if c.in != nil {
		d = &c.in.decoder
	}
	d.limit, d.budget, d.deflate = int64(c.ep.opts.MaxMessage), &c.loop.srv.inbound, c.deflate.in != 0
	return d
}

// keepAside keeps what the next read will go on from, and nothing if that is nothing.
func (c *Conn) keepAside(w *worker, d *decoder, rest []byte, own bool) {
	if d.idle() {
		d.release()
	}
	if d.idle() && len(rest) == 0 && (c.in == nil || c.in.parked.empty()) {
		c.dropInbound()
		return
	}
	c.ownInbound()
	if d != &c.in.decoder {
		c.in.decoder = *d
		*d = decoder{}
	}
	c.in.rest = nil
	if len(rest) == 0 {
		return
	}
	if !c.loop.srv.inbound.take(int64(len(rest))) {
		c.fail(w, errNoBudget)
		return
	}
	if !own {
		rest = bytes.Clone(rest)
	}
	c.in.rest = rest
	c.in.restTaken = int64(len(rest))
}

// takeRest gives what was received and kept aside undecoded, if the connection is open.
func (c *Conn) takeRest() (rest []byte) {
	if c.in == nil || c.ep == nil {
		return nil
	}
	rest, c.in.rest = c.in.rest, nil
	c.loop.srv.inbound.give(c.in.restTaken)
	c.in.restTaken = 0
	return rest
}

func (c *Conn) ownInbound() *inbound {
	if c.in == nil {
		c.in = inbounds.Get().(*inbound)
	}
	return c.in
}

// dropInbound gives back everything that is kept aside.
func (c *Conn) dropInbound() {
	if c.in == nil {
		return
	}
	if c.in.budget != nil {
		c.in.release()
	}
	c.in.parked.drop(&c.loop.srv.inbound)
	c.loop.srv.inbound.give(c.in.restTaken)
	*c.in = inbound{}
	inbounds.Put(c.in)
	c.in = nil
}

// deliver acts on what the stream said, and tells whether it has to wait for a worker; then what
// is behind it waits too, because a connection is served in order.
func (c *Conn) deliver(w *worker, d *decoder, u unit) (waits bool) {
	switch u.op {
	case ws.OpPing:
		c.pong(u.data)
	case ws.OpPong:
		// Section 5.5.3: an unsolicited pong needs no answer. That it came was noted already.
	case ws.OpClose:
		c.peerClosed(w, u.data)
	default:
		return c.message(w, d, u)
	}
	return false
}

func (c *Conn) message(w *worker, d *decoder, u unit) (waits bool) {
	c.loop.stats.messagesIn.Add(1)
	if w.stage.has(stCloseSent) {
		return false
	}
	m := Message{Kind: Kind(u.op), Data: u.data, region: d.region}
	long := u.deflated && len(u.data) > shortDeflated
	if long || !w.mayHandle(c.ep) && (u.deflated || c.ep.opts.OnMessage != nil) {
		return c.parkMessage(w, d, parked{msg: m, deflated: u.deflated, long: long}, u.kept)
	}
	if !u.deflated {
		c.handle(w, m)
	} else if c.inflateHere(w, m) {
		return c.parkMessage(w, d, parked{msg: m, deflated: true, long: true}, u.kept)
	}
	if u.kept {
		d.delivered()
	}
	return false
}

// handle gives a message to its handler.
func (c *Conn) handle(w *worker, m Message) {
	if c.ep.opts.OnMessage == nil {
		return
	}
	c.mu.Lock()
	c.state |= stAnswers
	c.mu.Unlock()
	c.callMessage(w, m)
	c.mu.Lock()
	c.state &^= stAnswers
	w.stage = c.state
	c.mu.Unlock()
}

// parkMessage keeps a message for a worker. One that lies in the loop's buffer is copied.
func (c *Conn) parkMessage(w *worker, d *decoder, p parked, kept bool) bool {
	if kept {
		p.msg.region, p.taken = d.handOut()
	} else {
		if !c.loop.srv.inbound.take(int64(len(p.msg.Data))) {
			c.fail(w, errNoBudget)
			return false
		}
		p.taken = int64(len(p.msg.Data))
		p.msg.Data, p.msg.region = bytes.Clone(p.msg.Data), nil
	}
	c.park(p)
	return true
}

func (c *Conn) park(p parked) {
	c.ownInbound().parked = p
	c.mu.Lock()
	c.state |= stParked
	c.mu.Unlock()
}

// unpark delivers the event that waited, and then what came behind it.
func (c *Conn) unpark(w *worker) {
	p := c.in.parked
	c.in.parked = parked{}
	c.mu.Lock()
	c.state &^= stParked
	c.mu.Unlock()
	if c.deliverParked(w, &p) {
		p.long = true
		c.park(p)
		return
	}
	w.stage = c.snapshot()
	c.frames(w, c.takeRest(), true)
}

// deliverParked tells that the event was not delivered, because it takes too long to inflate.
func (c *Conn) deliverParked(w *worker, p *parked) (tooLong bool) {
	defer func() { // also if the handler ends its goroutine
		if !tooLong {
			p.drop(&c.loop.srv.inbound)
		}
	}()
	switch {
	case p.open != nil:
		c.opened(w, p.open)
	case p.deflated:
		return c.inflateHere(w, p.msg)
	default:
		c.handle(w, p.msg)
	}
	return false
}

// drop gives back what a parked event held.
func (p *parked) drop(b *budget) {
	p.msg.region.release()
	b.give(p.taken)
	*p = parked{}
}

func (p *parked) empty() bool { return p.open == nil && p.msg.Kind == 0 }

// opened delivers the open event, after which ticks begin.
func (c *Conn) opened(w *worker, r *Request) {
	defer c.announced() // also if the handler ends its goroutine: a close event is to follow
	if c.ep.opts.OnOpen != nil {
		c.callOpen(w, r)
	}
}

func (c *Conn) announced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state |= stAnnounced
	if !c.state.has(stCloseSent | stDead) {
		c.scheduleTicks()
	}
}

func (c *Conn) snapshot() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
