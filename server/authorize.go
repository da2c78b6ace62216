package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// This file asks an endpoint's Authorize about handshakes that are right in all else. It may take
// long, so it never runs on a loop: the handshake waits for a worker, and meanwhile its connection
// is not read and costs what any connection does that is not upgraded yet.

// Denial is an error by which Options.Authorize chooses what the peer is told.
type Denial struct {
	// Status is of 300 to 599, but for 304, which has no body; with any other it is 403 (forbidden).
	Status int
	// Header goes with it, as WWW-Authenticate or Location do. What is no header's name is left out
	// of it, and so is what frames the answer; control characters in values become blanks.
	Header http.Header
	// Reason is the body: plain text, unless Header has another Content-Type. Empty is a fixed text.
	Reason string
}

// Error implements error.
func (d *Denial) Error() string {
	return fmt.Sprintf("server: denied with %d: %s", d.Status, d.Reason)
}

var (
	errDenied        = refused(http.StatusForbidden, "not authorized").as(RefusedUnauthorized)
	errFailed        = refused(http.StatusInternalServerError, "internal error")
	errAuthorizeSlow = refused(http.StatusServiceUnavailable, "authorization took too long").as(RefusedAuthorizeTimeout)
)

// refusal is d as it may be sent.
func (d *Denial) refusal() *refusal {
	r := &refusal{status: d.Status, reason: d.Reason, header: http.Header{}, class: errDenied.class}
	if r.status < 300 || r.status > 599 || r.status == http.StatusNotModified {
		r.status = errDenied.status
	}
	if r.reason == "" {
		r.reason = errDenied.reason
	}
	for name, values := range d.Header {
		if name = http.CanonicalHeaderKey(name); !isToken([]byte(name)) || framing[name] {
			continue
		}
		for _, v := range values {
			r.header.Add(name, fieldValue(v))
		}
	}
	return r
}

// framing are the headers by which peers know where an answer ends and what becomes of the
// connection, and those that each answer has anyway.
var framing = map[string]bool{"Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true}

// fieldValue is s without what would end a header's line (RFC 9110 section 5.5).
func fieldValue(s string) string {
	b := []byte(s)
	for i := range b {
		if checkBytes(b[i:i+1]) != nil || b[i] == '\r' || b[i] == '\n' {
			b[i] = ' '
		}
	}
	return strings.TrimSpace(string(b))
}

// memory is what an Authorize had remembered.
type memory struct{ value any }

type memoryKey struct{}

// Remember makes v the [Conn.Value] of the connection that r asks for, before its OnOpen. It is for
// [Options.Authorize], before that returns and with the request it was given, or one that was made
// of it with another context; with any other request it panics.
func Remember(r *http.Request, v any) {
	m, ok := r.Context().Value(memoryKey{}).(*memory)
	if !ok {
		panic("server: Remember with a request that is not Authorize's")
	}
	m.value = v
}

// ask calls Authorize, and answers what it had remembered, or as what it refuses. What it panics
// with concerns only its own handshake.
func (ep *Endpoint) ask(r *http.Request) (value any, err error) {
	m, returned := new(memory), false
	defer func() {
		if !returned {
			ep.failed(r, recover())
			err = errFailed
		}
	}()
	err = ep.opts.Authorize(r.WithContext(context.WithValue(r.Context(), memoryKey{}, m)))
	returned = true
	var d *Denial
	switch {
	case err == nil:
		return m.value, nil
	case errors.As(err, &d) && d != nil:
		return nil, d.refusal()
	}
	ep.srv.log().Debug("handshake not authorized", "path", ep.path, "remote", r.RemoteAddr, "error", err)
	return nil, errDenied
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
	return nil
}

// authorize asks about the handshake that waited, and goes on with it as with any other. The holder
// of the turn runs it, a worker of the lane for it.
func (c *Conn) authorize(w *worker) {
	p, rest := c.in.parked, c.in.rest
	c.in.parked, c.in.rest = parked{}, nil
	defer c.loop.srv.inbound.give(p.taken) // also if Authorize ends its goroutine
	c.mu.Lock()
	c.state &^= stParked
	c.mu.Unlock()
	value, err := c.verdict(p.asks, p.open)
	c.mu.Lock()
	c.state &^= stAsking
	c.mu.Unlock()
	if err != nil {
		c.refuseNow(w, err.(*refusal))
		return
	}
	p.open.agreed.value = value
	c.upgrade(w, p.asks, p.open, rest)
}

// verdict asks within the time of the handshake, and as long as the server goes on. What comes later
// is none.
func (c *Conn) verdict(ep *Endpoint, r *Request) (value any, err error) {
	c.mu.Lock()
	left := -c.loop.srv.since(c.at)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.loop.srv.wanted, left)
	defer cancel()
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.raw)))
	if err != nil {
		return nil, errRequestLine // in vain: what is taken here, net/http takes too, as FuzzHead finds
	}
	if remote := r.RemoteAddr(); remote.IsValid() {
		std.RemoteAddr = remote.String()
	}
	value, err = c.callAuthorize(ep, std.WithContext(ctx))
	switch {
	case ctx.Err() != nil:
		return nil, errAuthorizeSlow
	case err == nil && c.loop.srv.Draining():
		return nil, c.loop.srv.comeBackLater()
	}
	return value, err
}

// callAuthorize has the name of a handler's call, by which Shutdown knows that it runs inside one.
func (c *Conn) callAuthorize(ep *Endpoint, r *http.Request) (any, error) { return ep.ask(r) }

// askStd is ask for a request that net/http has read, on that request's goroutine. If Authorize ends
// the goroutine, the answer is sent here, because net/http sends none then.
func (ep *Endpoint) askStd(w http.ResponseWriter, r *http.Request) (value any, err error) {
	if ep.opts.Authorize == nil {
		return nil, nil
	}
	returned := false
	defer func() {
		if !returned {
			ep.refuseStd(w, r, errFailed)
			http.NewResponseController(w).Flush()
		}
	}()
	value, err = ep.ask(r)
	returned = true
	return value, err
}
