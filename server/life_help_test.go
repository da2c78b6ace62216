//go:build linux

package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeBound is how long a test waits for what must come; only a failure takes that long.
const lifeBound = 20 * time.Second

func lifeMust(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lifeBackends runs test on each poller.
func lifeBackends(t *testing.T, test func(t *testing.T, b netpoll.Backend)) {
	for _, b := range []netpoll.Backend{netpoll.Epoll, netpoll.EasyGo} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

func lifeListen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	lifeMust(t, err)
	return l
}

// lifeServe serves until the test ends, and returns the address. What the handlers block on must be
// let go of by then: the server's goroutines are waited for.
func lifeServe(t testing.TB, srv *Server) string {
	t.Helper()
	l := lifeListen(t)
	lifeServeOn(t, srv, l)
	return l.Addr().String()
}

// lifeServeOn is lifeServe for a listener of the caller's. What Serve returns comes on the channel.
func lifeServeOn(t testing.TB, srv *Server, l net.Listener) <-chan error {
	t.Helper()
	if srv.Logger == nil {
		srv.Logger = slog.New(new(lifeLog))
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	// Whoever looks at the server's inside wants it to be open.
	lifeEventually(t, "the server is open", func() bool { return srv.loops() != nil })
	t.Cleanup(func() { lifeEnd(t, srv) })
	return served
}

// lifeEnd ends a server, and sees all its goroutines off.
func lifeEnd(t testing.TB, srv *Server) {
	t.Helper()
	srv.Close()
	done := make(chan struct{})
	go func() { srv.goroutines.Wait(); close(done) }()
	lifeGet(t, done, "the end of the server's goroutines")
	if n := srv.conns.Load(); n != 0 {
		t.Errorf("%d connections are left in the books", n)
	}
	if in, out, win := srv.inbound.used.Load(), srv.outbound.used.Load(), srv.windows.used.Load(); in != 0 || out != 0 || win != 0 {
		t.Errorf("%d inbound and %d outbound bytes and %d of windows are left in the books", in, out, win)
	}
	balanced(t, srv)
}

// lifeGet takes what must come on a channel.
func lifeGet[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(lifeBound):
		t.Fatalf("%s: not in %v\n%s", what, lifeBound, lifeStacks())
	}
	return v
}

// lifeEventually looks until something holds that nothing tells of.
func lifeEventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(lifeBound); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s\n%s", lifeBound, what, lifeStacks())
		}
	}
}

// lifeStacks are the goroutines that have something to do with it.
func lifeStacks() string {
	stacks := allStacks()
	return strings.Join(slices.DeleteFunc(stacks, func(s string) bool {
		return !strings.Contains(s, "stillpool/server.") || strings.Contains(s, "testing.(*T).Run(") || strings.Contains(s, "waitParallel")
	}), "\n\n")
}

// lifeContext ends with the test, or when a test takes too long.
func lifeContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), lifeBound)
	t.Cleanup(cancel)
	return ctx
}

// lifeWhere tells who runs the calling handler: "loop", "pool", or neither.
func lifeWhere() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for {
		f, more := frames.Next()
		switch {
		case strings.HasSuffix(f.Function, "(*loop).run"):
			return "loop"
		case strings.HasSuffix(f.Function, "(*lane).work"):
			return "pool"
		case !more:
			return "neither"
		}
	}
}

// lifeLog keeps what a server logs.
type lifeLog struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *lifeLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *lifeLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lifeLog) WithGroup(string) slog.Handler            { return l }

func (l *lifeLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// find is what was logged under a message, each record by its attributes.
func (l *lifeLog) find(msg string) (found []map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message == msg {
			attrs := map[string]string{}
			r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.String(); return true })
			found = append(found, attrs)
		}
	}
	return found
}

// mentions tells whether something was logged whose message has s in it.
func (l *lifeLog) mentions(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.records, func(r slog.Record) bool { return strings.Contains(r.Message, s) })
}

// lifeLedger notes which events an endpoint's connections had.
type lifeLedger struct {
	ended chan Closing // the cause of each close event

	mu     sync.Mutex
	events map[uint64][]string // by connection
}

func newLifeLedger() *lifeLedger {
	return &lifeLedger{ended: make(chan Closing, 4096), events: map[uint64][]string{}}
}

func (l *lifeLedger) note(c *Conn, event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[c.ID()] = append(l.events[c.ID()], event)
}

// conns is how many connections had events.
func (l *lifeLedger) conns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// over puts the ledger in front of the handlers of o.
func (l *lifeLedger) over(o Options) Options {
	inner := o
	o.OnOpen = func(c *Conn, r *Request) {
		l.note(c, "open")
		if inner.OnOpen != nil {
			inner.OnOpen(c, r)
		}
	}
	o.OnMessage = func(c *Conn, m Message) {
		l.note(c, "message")
		if inner.OnMessage != nil {
			inner.OnMessage(c, m)
		}
	}
	o.OnTick = func(c *Conn) {
		l.note(c, "tick")
		if inner.OnTick != nil {
			inner.OnTick(c)
		}
	}
	o.OnClose = func(c *Conn, why Closing) {
		l.note(c, "close")
		l.ended <- why
		if inner.OnClose != nil {
			inner.OnClose(c, why)
		}
	}
	return o
}

// check is for when the server has ended: each connection had one open event, the first, and one
// close event, the last.
func (l *lifeLedger) check(t testing.TB, conns int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) != conns {
		t.Errorf("%d connections had events, want %d", len(l.events), conns)
	}
	for id, events := range l.events {
		n := len(events)
		if events[0] != "open" || events[n-1] != "close" || lifeCount(events, "open") != 1 || lifeCount(events, "close") != 1 {
			t.Errorf("connection %d had the events %q", id, events)
		}
	}
}

func lifeCount(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// lifeEcho answers every message with itself.
func lifeEcho(c *Conn, m Message) { c.Write(m.Kind, m.Data) }

// lifeClient is a peer. It reads and writes frames one at a time, and hides nothing.
type lifeClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func lifeDial(t testing.TB, addr, path string) *lifeClient {
	t.Helper()
	c, err := lifeTryDial(t, addr, path)
	lifeMust(t, err)
	return c
}

// lifeTryDial is lifeDial for where a refusal is what is expected. An address with a slash is a
// unix socket's.
func lifeTryDial(t testing.TB, addr, path string) (*lifeClient, error) {
	t.Helper()
	d := ws.Dialer{Timeout: lifeBound, NetDial: func(context.Context, string, string) (net.Conn, error) {
		return lifeDialNet(addr)
	}}
	conn, buffered, _, err := d.Dial(t.Context(), "ws://stillpool.test"+path)
	if err != nil {
		return nil, err
	}
	c := newLifeClient(t, conn)
	if buffered != nil { // the server's first frames came with its answer
		c.r = buffered
	}
	return c, nil
}

func lifeDialNet(addr string) (net.Conn, error) {
	if strings.Contains(addr, "/") {
		return net.DialTimeout("unix", addr, lifeBound)
	}
	return net.DialTimeout("tcp", addr, lifeBound)
}

// lifeConnect is a connection on which nothing was said yet.
func lifeConnect(t testing.TB, addr string) *lifeClient {
	t.Helper()
	conn, err := lifeDialNet(addr)
	lifeMust(t, err)
	return newLifeClient(t, conn)
}

func newLifeClient(t testing.TB, conn net.Conn) *lifeClient {
	conn.SetDeadline(time.Now().Add(2 * lifeBound))
	t.Cleanup(func() { conn.Close() })
	return &lifeClient{Conn: conn, t: t, r: bufio.NewReader(conn)}
}

// lifeFrame is a frame as a client sends it.
func lifeFrame(op ws.OpCode, payload string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
}

func (c *lifeClient) raw(p []byte) {
	c.t.Helper()
	if _, err := c.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *lifeClient) text(s string) {
	c.t.Helper()
	c.raw(lifeFrame(ws.OpText, s))
}

// lifeReadFrame reads what the server sent, which is trusted to be of a sane length.
func lifeReadFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

func (c *lifeClient) next() ws.Frame {
	c.t.Helper()
	f, err := lifeReadFrame(c.r)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

// want reads a frame and fails if it is another one.
func (c *lifeClient) want(op ws.OpCode, payload string) {
	c.t.Helper()
	if f := c.next(); f.Header.OpCode != op || string(f.Payload) != payload {
		c.t.Fatalf("got %v %q, want %v %q", f.Header.OpCode, f.Payload, op, payload)
	}
}

func (c *lifeClient) echo(s string) {
	c.t.Helper()
	c.text(s)
	c.want(ws.OpText, s)
}

func (c *lifeClient) ping(s string) {
	c.t.Helper()
	c.raw(lifeFrame(ws.OpPing, s))
	c.want(ws.OpPong, s)
}

// wantClose reads up to the server's close frame. Messages that come before are let be.
func (c *lifeClient) wantClose(code Code, reason string) {
	c.t.Helper()
	f := c.next()
	for f.Header.OpCode == ws.OpText {
		f = c.next()
	}
	want := appendClose(nil, code, reason)
	if got := ws.MustCompileFrame(f); !bytes.Equal(got, want) {
		c.t.Fatalf("got the frame %q, want the close frame %q", got, want)
	}
}

// sayClose sends a close frame.
func (c *lifeClient) sayClose(code Code, reason string) {
	c.t.Helper()
	frame := ws.NewCloseFrame(nil)
	if code != CodeNone {
		frame = ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason))
	}
	c.raw(ws.MustCompileFrame(ws.MaskFrame(frame)))
}

// bye is the whole close handshake, begun here.
func (c *lifeClient) bye() {
	c.t.Helper()
	c.sayClose(CodeNormal, "")
	c.wantClose(CodeNormal, "")
	c.wantEOF()
}

// seenOff is the whole close handshake, begun by the server.
func (c *lifeClient) seenOff(code Code, reason string) {
	c.t.Helper()
	c.wantClose(code, reason)
	c.sayClose(code, "")
	c.wantEOF()
}

func (c *lifeClient) wantEOF() {
	c.t.Helper()
	if p, err := io.ReadAll(c.r); err != nil || len(p) > 0 {
		c.t.Fatalf("got %q and %v, want the end of the stream", p, err)
	}
}

// wantCut accepts any way of ending but a close frame.
func (c *lifeClient) wantCut() {
	c.t.Helper()
	p, err := io.ReadAll(c.r)
	var timeout net.Error
	if len(p) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("got %q and %v, want the connection to be cut", p, err)
	}
}

// reset ends the connection so that the server gets a reset.
func (c *lifeClient) reset() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// lifeUpgrade is the head of a handshake.
func lifeUpgrade(path string, more ...string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: stillpool.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, strings.Join(more, ""))
}

// response reads an HTTP answer with its body, and fails if it has another status.
func (c *lifeClient) response(status int) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	var body []byte
	if status != http.StatusSwitchingProtocols { // after which frames come
		if body, err = io.ReadAll(resp.Body); err != nil {
			c.t.Fatalf("response body: %v", err)
		}
	}
	if resp.StatusCode != status {
		c.t.Fatalf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	return resp, string(body)
}

// upgraded sends a handshake, with frames right behind it, and reads the answer to it.
func (c *lifeClient) upgraded(path string, frames ...[]byte) {
	c.t.Helper()
	c.raw(append([]byte(lifeUpgrade(path)), bytes.Join(frames, nil)...))
	c.response(http.StatusSwitchingProtocols)
}
