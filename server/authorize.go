package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
)

// This file asks an endpoint's Authorize about handshakes that are right in all else. It may take
// long, so it never runs on a loop: the handshake waits for a worker, and meanwhile its connection
// is not read and costs what any connection does that is not upgraded yet. Its end is noticed all the same.

var (
	errDenied        = refused(http.StatusForbidden, "not authorized").as(RefusedUnauthorized)
	errFailed        = refused(http.StatusInternalServerError, "internal error")
	errAuthorizeSlow = refused(http.StatusServiceUnavailable, "authorization took too long").as(RefusedAuthorizeTimeout)
)

// errClientLeft says that the client left before Authorize returned. It gets no answer.
var errClientLeft = errors.New("server: client left during Authorize")

// ask calls Authorize and returns its grant, or the refusal that its error becomes. A panic concerns this
// handshake only.
func (ep *Endpoint) ask(r *http.Request) (g Grant, err error) {
	returned := false
	defer func() {
		if !returned {
			ep.failed(r, recover())
			err = errFailed
		}
	}()
	g, err = ep.opts.Authorize(r)
	returned = true
	var no *Rejection
	switch {
	case err == nil:
		return g, nil
	case errors.As(err, &no) && no != nil:
		return Grant{}, no.refusal()
	}
	ep.srv.log().Debug("handshake not authorized", "path", ep.path, "remote", r.RemoteAddr, "error", err)
	return Grant{}, errDenied
}

// grant adds g to what was agreed on. What can't be granted is the embedder's mistake.
func (ep *Endpoint) grant(r *http.Request, a *agreement, g Grant, offered []string, before http.Header) error {
	if err := g.apply(a, offered, before); err != nil {
		ep.srv.log().Error("handshake grant invalid", "path", ep.path, "remote", r.RemoteAddr, "error", err)
		return errFailed
	}
	return nil
}

// failed notes that Authorize did not return.
func (ep *Endpoint) failed(r *http.Request, cause any) {
	ep.srv.loops()[0].stats.panics.Add(1)
	ep.srv.logPanic(cause, "handler", "Authorize", "path", ep.path, "remote", r.RemoteAddr)
}

// parkQuestion keeps a handshake, and what came behind its head, for a worker that may ask about it.
func (c *Conn) parkQuestion(ep *Endpoint, r *Request, rest []byte) error {
	srv := c.loop.srv
	p := parked{asks: ep, open: r.keep(), taken: int64(len(r.raw) + len(rest))}
	rest = bytes.Clone(rest)
	srv.recycleHead(c.in) // in which all that was copied now may have lain
	c.in = nil
	if !srv.inbound.take(p.taken) {
		return errNoRoom
	}
	in := c.ownInbound()
	in.parked, in.rest = p, rest
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state |= stParked | stAsking
	if c.state.has(stHangUp) {
		c.clientLeft()
	}
	return nil
}

// clientLeft ends a connection whose client ended the stream while its handshake waits for Authorize, or for its
// answer. As by net/http, the end of the stream is the end of the client: it costs no worker, and no place among the
// handshakes. c.mu must be held.
func (c *Conn) clientLeft() {
	if c.state.has(stLinger | stDead) {
		return
	}
	c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal})
	if c.in.leave != nil {
		c.in.leave()
	}
}

// authorize asks about the handshake that waited, and goes on with it as with any other. The holder
// of the turn runs it, a worker of the lane for it.
func (c *Conn) authorize(w *worker) {
	p, rest := c.in.parked, c.in.rest
	c.in.parked, c.in.rest = parked{}, nil
	defer c.loop.srv.inbound.give(p.taken) // also if Authorize ends its goroutine
	ctx, ok := c.beginAsking()
	if !ok {
		return
	}
	defer c.in.leave()
	err := c.verdict(ctx, p.asks, p.open)
	c.mu.Lock()
	c.state &^= stAsking
	c.mu.Unlock()
	if err != nil {
		c.refuseNow(w, err.(*refusal))
		return
	}
	c.upgrade(w, p.asks, p.open, rest)
}

// beginAsking returns the context of Authorize, unless the handshake was rejected or its client left while it waited.
func (c *Conn) beginAsking() (ctx context.Context, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state &^= stParked
	if c.state.has(stLinger | stDead) {
		c.state &^= stAsking
		return nil, false
	}
	ctx, c.in.leave = c.loop.srv.withTimeout(c.loop.srv.wanted, -c.loop.srv.since(c.at))
	return ctx, true
}

// verdict asks within the time of the handshake, and as long as the server and the client stay. A later answer
// does not count.
func (c *Conn) verdict(ctx context.Context, ep *Endpoint, r *Request) error {
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.raw)))
	if err != nil {
		return errRequestLine // in vain: what is taken here, net/http takes too, as FuzzHead finds
	}
	if remote := r.RemoteAddr(); remote.IsValid() {
		std.RemoteAddr = remote.String()
	}
	offered := std.Header.Values("Sec-WebSocket-Protocol") // Authorize may change the request
	g, err := c.callAuthorize(ep, std.WithContext(ctx))
	switch {
	case ctx.Err() != nil:
		return errAuthorizeSlow
	case err != nil:
		return err
	case c.loop.srv.Draining():
		return c.loop.srv.comeBackLater()
	}
	return ep.grant(std, &r.agreed, g, offered, nil)
}

// callAuthorize has the name of a handler's call, by which Shutdown knows that it runs inside one.
func (c *Conn) callAuthorize(ep *Endpoint, r *http.Request) (Grant, error) { return ep.ask(r) }

// askStd asks about a request that net/http has read, on that request's goroutine, and adds what is granted and the
// headers of w to what was agreed on. If Authorize ends the goroutine, the answer is sent here, because net/http sends
// none then.
func (ep *Endpoint) askStd(w http.ResponseWriter, r *http.Request, a *agreement) error {
	var g Grant
	offered := r.Header.Values("Sec-WebSocket-Protocol")
	if ep.opts.Authorize != nil {
		var err error
		if g, err = ep.askOrAnswer(w, r); err != nil {
			return err
		}
	}
	return ep.grant(r, a, g, offered, w.Header())
}

func (ep *Endpoint) askOrAnswer(w http.ResponseWriter, r *http.Request) (g Grant, err error) {
	returned := false
	defer func() {
		if !returned {
			ep.srv.refuseStd(w, errFailed)
			http.NewResponseController(w).Flush()
		}
	}()
	if ep.srv.web.has(r) { // a later request on the server's own listener: its limits hold
		ctx, cancel := ep.srv.withTimeout(r.Context(), ep.srv.handshakeTimeout())
		defer cancel()
		defer context.AfterFunc(ep.srv.wanted, cancel)()
		r = r.WithContext(ctx)
	}
	g, err = ep.ask(r)
	returned = true
	switch r.Context().Err() {
	case nil:
		return g, err
	case context.Canceled:
		if ep.srv.Draining() {
			return g, errAuthorizeSlow
		}
		return g, errClientLeft
	}
	return g, errAuthorizeSlow
}
