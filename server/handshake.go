package server

import (
	"bytes"
	"slices"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file takes a connection from its first byte to its upgrade (RFC 6455 section 4.2). The
// holder of the turn runs it; what is pure of it is in head.go, judge.go,
// origin.go, extension.go and refusal.go.

// handshake takes bytes before the upgrade. A head that is not whole is kept aside, within bounds.
func (c *Conn) handshake(w *worker, p []byte) {
	looked := 0
	if c.in != nil {
		looked = len(c.in.rest)
		c.in.rest = append(c.in.rest, p...)
		p = c.in.rest
	}
	if w.stage.has(stPreface) {
		if p, looked = c.preface(w, p), 0; len(p) == 0 {
			return
		}
	}
	raw, rest, err := cutHead(p, looked)
	most := c.loop.srv.maxHeader()
	if err == nil && (len(raw) > most || raw == nil && len(p) > most) {
		err = errHeadTooLarge
	}
	if err == nil && raw == nil {
		err = c.keepHead(p)
	} else if err == nil {
		err = c.request(w, raw, rest)
	}
	if err != nil {
		c.refuseNow(w, err.(*refusal).to(p))
	}
}

// keepHead keeps the beginning of a head aside, if it did not do so already, within the budget.
func (c *Conn) keepHead(p []byte) error {
	in := c.ownInbound()
	if in.rest == nil {
		in.rest = bytes.Clone(p)
	}
	grown := int64(cap(in.rest)) - in.restTaken
	if !c.loop.srv.inbound.take(grown) {
		return errNoRoom
	}
	in.restTaken += grown
	return nil
}

// request answers a whole head, behind which rest came, or tells how it is to be refused.
func (c *Conn) request(w *worker, raw, rest []byte) error {
	// The request lives in the worker, so that an upgrade allocates nothing.
	r := &w.req
	err := r.parse(raw)
	if err != nil {
		return err
	}
	srv := c.loop.srv
	ep := srv.endpoint(r.path)
	if ep == nil && srv.Handler != nil || ep != nil && ep.opts.Plain != nil && !r.head.wantsUpgrade {
		c.toHTTP(w, raw, rest)
		return nil
	}
	if ep == nil {
		return errNotFound
	}
	if r.head.origins > 0 && c.fromProxy() {
		r.head.forwardedHost = forwardedHost(r.head.fields("X-Forwarded-Host"), r.head.fields("Forwarded"))
	}
	if r.agreed, err = ep.judge(&r.head); err != nil {
		srv.noteOrigin(ep, &r.head, err)
		return err
	}
	r.conn = c
	if err = c.believe(&r.head); err != nil {
		return err
	}
	if ep.opts.Authorize != nil {
		return c.parkQuestion(ep, r, rest)
	}
	c.upgrade(w, ep, r, rest)
	return nil
}

// upgrade answers with 101 and opens the connection; rest are its first frames.
func (c *Conn) upgrade(w *worker, ep *Endpoint, r *Request, rest []byte) {
	if !c.switchOver(w, ep, r.head.key, &r.agreed) {
		return
	}
	// The head's bytes may lie in c.in.rest, which must live until the open event is delivered.
	defer c.loop.srv.recycleHead(c.in)
	c.in = nil
	if w.mayHandle(ep) {
		c.opened(w, r)
		w.stage = c.snapshot()
		c.frames(w, rest, false)
	} else {
		c.parkOpen(w, r.keep(), rest)
	}
}

// switchOver answers with 101 and opens the connection, unless it was refused meanwhile. What it
// reserves for the windows is the connection's from then on, and finish gives it back.
func (c *Conn) switchOver(w *worker, ep *Endpoint, key []byte, a *agreement) (opened bool) {
	a.deflate = c.loop.srv.reserveWindows(a.deflate)
	buf := frameBuffers.Get().(*frameBuffer)
	answer := appendUpgrade(buf[:0], key, a)
	c.mu.Lock()
	opened = c.open(ep, a, answer)
	w.stage = c.state
	c.mu.Unlock()
	frameBuffers.Put(buf)
	if !opened {
		c.loop.srv.windows.give(a.deflate.cost())
	}
	return opened
}

// recycleHead gives back what a head was kept in, if it was.
func (s *Server) recycleHead(in *inbound) {
	if in != nil {
		s.inbound.give(in.restTaken)
		*in = inbound{}
		inbounds.Put(in)
	}
}

// parkOpen keeps the open event, and what came behind the head, for a worker.
func (c *Conn) parkOpen(w *worker, r *Request, rest []byte) {
	p := parked{open: r, taken: int64(len(r.raw))}
	if !c.loop.srv.inbound.take(p.taken) {
		p.taken = 0
		c.fail(w, errNoBudget)
		rest = nil
	}
	c.park(p)
	c.keepAside(w, c.decoder(w), rest, false)
}

// open makes c a connection of ep by sending the answer to its handshake, unless it was refused
// meanwhile, as at the end of its time. The lock is held.
func (c *Conn) open(ep *Endpoint, a *agreement, answer []byte) bool {
	if c.loop.srv.cutOff() {
		c.kill(Closing{Cause: ShutDown, Code: CodeAbnormal})
	}
	if c.state.has(stLinger | stDead) {
		return false
	}
	c.boundKernel(ep)
	c.shaken() // before the peer knows
	c.answer(answer)
	c.ep, c.deflate = ep, a.deflate
	c.state |= stOpen
	c.countOpen()
	c.every = uint32(ep.opts.Every.Milliseconds())
	if a.sub != "" {
		c.extra().sub = ep.subprotocol(a.sub)
	}
	if a.deflate.cost() > 0 {
		c.extra().windows = new(windows)
	}
	if a.value != nil {
		c.extra().value = a.value
	}
	ep.open.Add(1)
	if c.loop.srv.Draining() {
		c.startClose(c.loop.srv.goodbye()) // Shutdown may have looked at it before it was open
	}
	return true
}

// subprotocol returns where a subprotocol's name is kept: one of Options.Subprotocols costs a connection nothing.
func (ep *Endpoint) subprotocol(name string) *string {
	if i := slices.Index(ep.opts.Subprotocols, name); i >= 0 {
		return &ep.opts.Subprotocols[i]
	}
	return &name
}

// boundKernel bounds what the kernel takes for the peer. A bound that it does not know, as of a unix
// socket, is no reason to refuse. The lock is held.
func (c *Conn) boundKernel(ep *Endpoint) {
	if n := ep.opts.UnsentLowWater; n > 0 {
		netpoll.SetUnsentLowWater(int(c.fd), n)
	}
	if n := ep.opts.SendBuffer; n > 0 {
		netpoll.SetSendBuffer(int(c.fd), n)
	}
}

// refuseNow is refuse for the holder of the turn.
func (c *Conn) refuseNow(w *worker, r *refusal) {
	c.mu.Lock()
	c.refuse(r)
	w.stage = c.state
	c.mu.Unlock()
	c.loop.srv.complain()
}

// refuse answers with an HTTP status and ends the connection so that the answer arrives. The lock is
// held.
func (c *Conn) refuse(r *refusal) {
	if c.state.has(stLinger | stDead | stGone) {
		return
	}
	c.loop.stats.handshakes[r.why()].Add(1)
	c.conclude(Closing{Cause: BadInput, Code: CodeAbnormal, Err: r})
	c.answer(r.response(time.Now()))
	c.lastWords()
}
