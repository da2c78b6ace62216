package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file takes connections over from net/http: an endpoint mounted in somebody else's
// http.Server, and upgrades that come later on a connection that Server.Handler has.

var (
	errHTTP2 = refused(http.StatusHTTPVersionNotSupported, "WebSocket over HTTP/2 (RFC 8441) is not spoken: use HTTP/1.1").as(RefusedTakeover)
	errTLS   = refused(http.StatusNotImplemented, "connections under TLS can't be taken over: end TLS before this server")
	errWrap  = refused(http.StatusNotImplemented, "this connection is wrapped and can't be taken over")
	errStart = refused(http.StatusServiceUnavailable, "server is not available")
)

// ServeHTTP upgrades a request that net/http has read, so that an endpoint can be mounted in any
// http.Server. The connection's descriptor moves to the event loops, and its goroutine and buffers
// are given back when ServeHTTP returns, which it does at once, or after Options.Authorize. The headers that w
// has are sent with the 101 response, by the rules of Grant.Header and before those. A
// connection under TLS, one of HTTP/2 and one that a listener has wrapped are refused. The Server need not listen by itself, but
// its Shutdown or Close ends these connections too, and the http.Server's does not.
//
// A request that asks for no WebSocket goes to Options.Plain, if there is one: over TLS and HTTP/2 too.
func (ep *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ep.opts.Plain != nil && !wantsWebSocket(r) {
		ep.opts.Plain.ServeHTTP(w, r)
		return
	}
	defer ep.srv.complain()
	agreed, err := ep.judgeStd(r)
	if agreed.said {
		r = r.WithContext(r.Context()) // the caller's is not to be changed
		if r.RemoteAddr = ""; agreed.client.IsValid() {
			r.RemoteAddr = agreed.client.String()
		}
	}
	if err == nil {
		err = ep.askStd(w, r, &agreed)
	}
	var no *refusal
	if errors.As(err, &no) {
		ep.srv.refuseStd(w, no)
		return
	}
	left := err == errClientLeft
	if err != nil && !left { // no error that is not known may let a client in
		ep.srv.refuseStd(w, errFailed)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		ep.srv.log().Error("upgrade failed", "path", ep.path, "error", fmt.Errorf("%w: %w", ErrTakeover, err))
		ep.srv.refuseStd(w, errWrap)
		return
	}
	defer func() {
		conn.Close() // the loop has a descriptor of its own by then
		ep.srv.descriptorFreed()
	}()
	if left {
		return
	}
	if err := ep.takeOver(conn, buffered.Reader, r, agreed); err != nil {
		ep.srv.log().Error("upgrade failed", "path", ep.path, "error", err)
		r := takeOverRefusal(err)
		ep.srv.refusedOutside[r.why()].Add(1)
		conn.Write(r.response(time.Now()))
	}
}

// wantsWebSocket reports whether Upgrade names websocket, as head.wantsUpgrade does.
func wantsWebSocket(r *http.Request) bool {
	for _, v := range r.Header["Upgrade"] {
		if hasToken([]byte(v), "websocket") {
			return true
		}
	}
	return false
}

// takeOverRefusal is what the peer is told of an error of takeOver.
func takeOverRefusal(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, ErrTakeover):
		return errWrap
	case netpoll.IsExhausted(err):
		return errNoDescriptors
	}
	return errStart
}

// judgeStd is judge for a request that net/http has parsed.
func (ep *Endpoint) judgeStd(r *http.Request) (a agreement, err error) {
	switch err := ep.srv.start(); {
	case err == ErrServerClosed:
		return a, ep.srv.comeBackLater()
	case err != nil:
		return a, errStart
	}
	if r.ProtoMajor > 1 {
		return a, errHTTP2
	}
	if r.TLS != nil {
		return a, errTLS
	}
	if err := ep.srv.mayCome(r); err != nil {
		return a, err
	}
	client, said, err := ep.srv.believeStd(r)
	if err != nil {
		return a, err
	}
	h := head{method: []byte(r.Method), host: []byte(r.Host), hasBody: r.ContentLength != 0, old: !r.ProtoAtLeast(1, 1)}
	for name, values := range r.Header {
		for _, v := range values {
			if err := h.note([]byte(name), []byte(v)); err != nil {
				return a, err
			}
			if name == "Sec-Websocket-Protocol" || name == "Sec-Websocket-Extensions" {
				h.lines = append(append(append(h.lines, name+": "...), v...), "\r\n"...)
			}
		}
	}
	if ep.srv.fromProxyStd(r) {
		h.forwardedHost = forwardedHost(linesStd(r, "X-Forwarded-Host"), linesStd(r, "Forwarded"))
	}
	a, err = ep.judge(&h)
	ep.srv.noteOrigin(ep, &h, err)
	a.client, a.said, a.key = client, said, string(h.key)
	return a, err
}

// mayCome tells whether a request of somebody else's http.Server may go on: its connection was not
// counted when it came.
func (s *Server) mayCome(r *http.Request) error {
	switch {
	case s.web.has(r):
	case s.MaxConns > 0 && s.inUse() >= int64(s.MaxConns):
		return s.deny(limitConns)
	case !s.pace.take(time.Since(s.clock.start)):
		return s.deny(limitRate)
	}
	return nil
}

// refuseStd is refuse by net/http, which adds the date and knows what HEAD is.
func (s *Server) refuseStd(w http.ResponseWriter, r *refusal) {
	s.refusedOutside[r.why()].Add(1)
	maps.Copy(w.Header(), r.fields())
	// net/http ends the connection only if the first line says close, and no more.
	w.Header()["Connection"] = append([]string{"close"}, r.header["Connection"]...)
	w.WriteHeader(r.status)
	io.WriteString(w, r.body())
}

// takeOver moves a hijacked connection to a loop. What the hijack had buffered are its first frames.
func (ep *Endpoint) takeOver(conn net.Conn, buffered *bufio.Reader, r *http.Request, agreed agreement) error {
	rest, err := buffered.Peek(buffered.Buffered())
	if err != nil {
		return err
	}
	rest = append([]byte(nil), rest...)
	through, ok := conn.(*plainConn)
	if ok {
		rest = append(rest, through.prefix...)
		conn = through.Conn
	}
	fd, err := takeStream(conn)
	if err != nil {
		return err
	}
	srv := ep.srv
	peer, err := netpoll.RemoteAddr(fd)
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); err != nil && ok { // it is reset by now, and no unix socket
		peer = tcp.AddrPort()
	}
	c := srv.newConn(int32(fd), peer)
	if through != nil && through.proxied {
		c.speakFor(through.remote)
	}
	if agreed.said {
		c.speakFor(agreed.client)
	}
	if err := srv.come(c); err != nil {
		netpoll.Close(fd)
		return err
	}
	c.state |= stTurn // nobody else may serve it before its open event is in place
	if err := c.loop.add(c); err != nil {
		c.mu.Lock()
		c.giveBack()
		c.mu.Unlock()
		netpoll.Close(fd)
		srv.left()
		return err
	}
	if !srv.web.has(r) {
		c.loop.stats.accepted.Add(1)
	}
	w := new(worker)
	if c.switchOver(w, ep, []byte(agreed.key), &agreed) {
		c.parkOpen(w, &Request{std: r, agreed: agreed, conn: c}, rest)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo()
	return nil
}

// takeStream duplicates the descriptor of a plain stream connection. Another type that has a
// descriptor may change the bytes on their way to it, so only the two plain ones will do.
func takeStream(conn net.Conn) (int, error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return netpoll.Take(conn.(syscall.Conn))
	}
	return -1, fmt.Errorf("%w: it is a %T, not a *net.TCPConn or *net.UnixConn", ErrTakeover, conn)
}
