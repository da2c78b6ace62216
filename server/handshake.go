package server

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/stillpool/stillpool/netpoll"
)

// This file takes a connection from its first byte to its upgrade (RFC 6455 section 4.2). The
// holder of the turn runs it; what is pure of it is in head.go and origin.go.

// The refusals of the handshake.
var (
	errTooManyConns = &refusal{http.StatusServiceUnavailable, "too many connections"}
	errNoRoom       = &refusal{http.StatusServiceUnavailable, "server out of memory for handshakes"}
	errShuttingDown = &refusal{http.StatusServiceUnavailable, "server is shutting down"}
	errNotFound     = &refusal{http.StatusNotFound, "no such endpoint"}
	errMethod       = &refusal{http.StatusMethodNotAllowed, "a WebSocket handshake is a GET request"} // 4.1
	errNoUpgrade    = &refusal{http.StatusUpgradeRequired, "this is a WebSocket endpoint"}            // 4.2.1
	errNoConnection = badRequest("Connection header does not name Upgrade")                           // 4.2.1
	errVersion      = &refusal{http.StatusUpgradeRequired, "only Sec-WebSocket-Version 13 is spoken"} // 4.2.2
	errNoKey        = badRequest("Sec-WebSocket-Key missing, repeated, or not 16 bytes in base64")    // 4.2.1
	errOrigin       = &refusal{http.StatusForbidden, "origin not allowed"}                            // 4.2.2
	errUpgradeBody  = badRequest("a WebSocket handshake has no body")                                 // 4.1
	errBadSubproto  = badRequest("malformed Sec-WebSocket-Protocol")                                  // 4.1
	errBadExtension = badRequest("malformed Sec-WebSocket-Extensions")                                // 9.1
)

// handshake takes bytes before the upgrade. A head that is not whole is kept aside, within bounds.
func (c *Conn) handshake(w *worker, p []byte) {
	looked := 0
	if c.in != nil {
		looked = len(c.in.rest)
		c.in.rest = append(c.in.rest, p...)
		p = c.in.rest
	}
	n, err := headEnd(p, looked)
	most := c.loop.srv.maxHeader()
	if err == nil && (n > most || n == 0 && len(p) > most) {
		err = errHeadTooLarge
	}
	switch {
	case err != nil:
		c.refuseNow(w, err)
	case n == 0:
		c.keepHead(w, p)
	default:
		c.request(w, p[:n], p[n:])
	}
}

// keepHead keeps the beginning of a head aside, if it did not do so already, within the budget.
func (c *Conn) keepHead(w *worker, p []byte) {
	in := c.ownInbound()
	if in.rest == nil {
		in.rest = bytes.Clone(p)
	}
	grown := int64(cap(in.rest)) - in.parked.taken
	if !c.loop.srv.inbound.take(grown) {
		c.refuseNow(w, errNoRoom)
		return
	}
	in.parked.taken += grown
}

// request answers a whole head, behind which rest came.
func (c *Conn) request(w *worker, raw, rest []byte) {
	// The request lives in the worker, so that an upgrade allocates nothing.
	r := &w.req
	err := r.parse(raw)
	if err != nil {
		c.refuseNow(w, err)
		return
	}
	srv := c.loop.srv
	ep := srv.endpoint(r.path)
	if ep == nil && srv.Handler != nil {
		c.toHTTP(w, raw, rest)
		return
	}
	if ep == nil {
		c.refuseNow(w, errNotFound)
		return
	}
	if r.agreed, err = ep.judge(&r.head); err != nil {
		c.refuseNow(w, err)
		return
	}
	c.upgrade(w, ep, r, rest)
}

// agreement is what a handshake settles beside the upgrade itself.
type agreement struct {
	sub     string // the subprotocol, or empty
	deflate deflation
	// bounded is whether the client asked for a bound of the server's window, which then has to be
	// answered, also if it bounds nothing (RFC 7692 section 7.1.2.1).
	bounded bool
}

// judge holds a request against section 4.2.1 and the endpoint's options.
func (ep *Endpoint) judge(h *head) (a agreement, err error) {
	if err := ep.check(h); err != nil {
		return a, err
	}
	if a.sub, err = ep.chooseSubprotocol(h); err != nil || !h.extended {
		return a, err
	}
	a.deflate, a.bounded, err = ep.opts.Compression.negotiate(h)
	return a, err
}

func (ep *Endpoint) check(h *head) error {
	switch {
	case ep.srv.stopping.Load():
		return errShuttingDown
	case h.old:
		return errHTTPVersion // section 4.2.1: "an HTTP/1.1 or higher GET request"
	case string(h.method) != http.MethodGet:
		return errMethod
	case !h.wantsUpgrade:
		return errNoUpgrade
	case !h.connection:
		return errNoConnection
	case h.hasBody:
		return errUpgradeBody
	case h.versions != 1 || string(h.version) != "13":
		return errVersion
	case h.keys != 1 || !validKey(h.key):
		return errNoKey
	case h.origins > 0 && !originAllowed(string(h.origin), string(h.host), ep.origins):
		return errOrigin
	}
	return nil
}

// chooseSubprotocol takes the endpoint's best that the client offers. A malformed offer is refused
// (section 4.1); one that is made twice, which it forbids too, harms nobody.
func (ep *Endpoint) chooseSubprotocol(h *head) (string, error) {
	best := len(ep.opts.Subprotocols)
	for value := range h.fields("Sec-WebSocket-Protocol") {
		for len(value) > 0 {
			var item []byte
			item, value, _ = bytes.Cut(value, []byte(","))
			item = bytes.Trim(item, " \t")
			if len(item) == 0 {
				continue // RFC 9110 section 5.6.1.2: a list may have empty elements
			}
			if !isToken(item) {
				return "", errBadSubproto
			}
			for i, s := range ep.opts.Subprotocols[:best] {
				if s == string(item) {
					best = i
				}
			}
		}
	}
	if best == len(ep.opts.Subprotocols) {
		return "", nil
	}
	return ep.opts.Subprotocols[best], nil
}

// upgrade answers with 101 and opens the connection; rest are its first frames.
func (c *Conn) upgrade(w *worker, ep *Endpoint, r *Request, rest []byte) {
	r.conn = c
	if !c.switchOver(w, ep, r.head.key, &r.agreed) {
		return
	}
	// The head's bytes may lie in c.in.rest, which must live until the open event is delivered.
	defer c.loop.srv.recycleHead(c.in)
	c.in = nil
	if w.mayHandle(ep) {
		c.opened(w, r)
		w.stage = c.snapshot()
		c.frames(w, rest)
	} else {
		c.parkOpen(w, r.keep(), rest)
	}
}

// switchOver answers with 101 and opens the connection, unless it was refused meanwhile. What it
// reserves for the windows is the connection's from then on, and finish gives it back.
func (c *Conn) switchOver(w *worker, ep *Endpoint, key []byte, a *agreement) (opened bool) {
	a.deflate = c.loop.srv.reserve(a.deflate)
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
		s.inbound.give(in.parked.taken)
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
	c.keepAside(w, c.decoder(w), rest)
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
	if n := ep.opts.SendBuffer; n > 0 {
		netpoll.SetSendBuffer(int(c.fd), n) // a bound that the kernel does not take is no reason to refuse
	}
	c.control(answer)
	c.ep, c.deflate = ep, a.deflate
	c.state |= stOpen
	c.every = uint32(ep.opts.Every.Milliseconds())
	if a.sub != "" {
		c.extra().sub = a.sub
	}
	if a.deflate.cost() > 0 {
		c.extra().windows = new(windows)
	}
	ep.open.Add(1)
	if c.loop.srv.stopping.Load() {
		c.startClose(goingAway) // Shutdown may have looked at it before it was open
	}
	return true
}

// refuseNow is refuse for the holder of the turn.
func (c *Conn) refuseNow(w *worker, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse(err.(*refusal))
	w.stage = c.state
}

// refuse answers with an HTTP status and ends the connection so that the answer arrives. The lock is
// held.
func (c *Conn) refuse(r *refusal) {
	if c.state.has(stLinger | stDead | stGone) {
		return
	}
	c.loop.stats.refusedHandshakes.Add(1)
	c.conclude(Closing{Cause: BadInput, Code: CodeAbnormal, Err: r})
	c.control(r.response())
	c.lastWords()
}

// response is the whole HTTP answer.
func (r *refusal) response() []byte {
	b := append([]byte("HTTP/1.1 "), strconv.Itoa(r.status)...)
	b = append(append(b, ' '), http.StatusText(r.status)...)
	b = append(b, "\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(r.reason)+1), 10), "\r\n"...)
	for name, value := range r.headers() {
		b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
	}
	return append(append(append(b, "\r\n"...), r.reason...), '\n')
}

// headers are those that a status must have beside the usual ones.
func (r *refusal) headers() map[string]string {
	switch r.status {
	case http.StatusUpgradeRequired: // RFC 9110 sections 15.5.22 and 7.8; RFC 6455 section 4.2.2
		return map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
	case http.StatusMethodNotAllowed: // RFC 9110 section 15.5.6
		return map[string]string{"Allow": http.MethodGet}
	}
	return nil
}

// appendUpgrade appends the 101 answer (section 4.2.2).
func appendUpgrade(dst, key []byte, a *agreement) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	if a.sub != "" {
		dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), a.sub...)
	}
	if a.deflate.agreed() {
		dst = appendDeflation(append(dst, "\r\nSec-WebSocket-Extensions: "...), a)
	}
	return append(dst, "\r\n\r\n"...)
}

// acceptGUID is the constant of section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// keyLength is that of 16 bytes in base64.
const keyLength = 24

// appendAccept appends the proof that the key was read: base64(SHA-1(key + GUID)).
func appendAccept(dst, key []byte) []byte {
	var buf [keyLength + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// validKey tells whether a key is 16 bytes in base64 (section 4.1).
func validKey(key []byte) bool {
	var buf [18]byte
	if len(key) != keyLength {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(buf[:], key)
	return err == nil && n == 16
}
