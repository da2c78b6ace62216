//go:build linux

package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// This file is the vocabulary of the tests: a server for the time of a test, a peer that speaks in
// frames or in raw bytes, and a journal of what the handlers were called with.

// bound is how long a test waits for what must come; only a failure takes that long.
const bound = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// onPollers runs test with a server on each of the pollers.
func onPollers(t *testing.T, test func(t *testing.T, s *Server)) {
	t.Parallel()
	for _, b := range []netpoll.Backend{netpoll.Epoll, netpoll.EasyGo} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			test(t, &Server{Poller: b, Logger: quiet})
		})
	}
}

// serve runs s on a free port for the time of the test, and holds it at its end against what every
// server must keep: that nothing is left of any connection.
func serve(t testing.TB, s *Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	await(t, "the server is open", func() bool { return s.loops() != nil })
	t.Cleanup(func() {
		s.Close()
		if err := receive(t, "the end of Serve", served); err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		gone := make(chan struct{})
		go func() { s.goroutines.Wait(); close(gone) }()
		receive(t, "the end of the server's goroutines", gone)
		nothingLeft(t, s)
	})
	return l.Addr().String()
}

func nothingLeft(t testing.TB, s *Server) {
	st := s.Stats()
	if st.Conns != 0 || st.InboundHeld != 0 || st.OutboundHeld != 0 || st.WindowsHeld != 0 {
		t.Errorf("left at the end: %d connections, %d B inbound, %d B outbound, %d B of windows",
			st.Conns, st.InboundHeld, st.OutboundHeld, st.WindowsHeld)
	}
	if told, addresses := s.told.Load(), s.addresses.len(); st.Handshaking != 0 || told != 0 || addresses != 0 {
		t.Errorf("left at the end: %d handshakes, %d to be told, %d addresses", st.Handshaking, told, addresses)
	}
	for _, l := range s.loops() {
		if l.table.n != 0 || l.wheel.Len() != 0 {
			t.Errorf("left in a loop: %d connections, %d places in the wheel", l.table.n, l.wheel.Len())
		}
	}
	balanced(t, s)
	if all := s.endpoints.Load(); all != nil {
		for path, ep := range *all {
			if ep.Len() != 0 {
				t.Errorf("endpoint %s has %d connections left", path, ep.Len())
			}
		}
	}
}

// receive takes from a channel what must come.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(bound):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// await looks until something holds that must come to hold.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(start) > bound {
			t.Fatalf("%s: did not come to hold", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is a client's end of a connection. Its reads and writes fail the test, and after bound.
type peer struct {
	t    testing.TB
	conn *net.TCPConn
	in   *bufio.Reader
	to   io.Writer // conn, or a unix socket in its place

	pongs []string // that must come before the next echo
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	return dialBy(t, addr, nil)
}

// dialWith bounds what the kernel holds for the peer to read, if buffer is not 0.
func dialWith(t testing.TB, addr string, buffer int) *peer {
	t.Helper()
	return dialBy(t, addr, func(c syscall.RawConn) (err error) {
		if buffer > 0 {
			c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			})
		}
		return err
	})
}

// dialAfter has a descriptor when it calls before, and connects it then.
func dialAfter(t testing.TB, addr string, before func()) *peer {
	t.Helper()
	return dialBy(t, addr, func(syscall.RawConn) error { before(); return nil })
}

func dialBy(t testing.TB, addr string, control func(syscall.RawConn) error) *peer {
	t.Helper()
	d := net.Dialer{Timeout: bound}
	if control != nil {
		d.Control = func(_, _ string, c syscall.RawConn) error { return control(c) }
	}
	conn, err := d.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	return &peer{t: t, conn: conn.(*net.TCPConn), in: bufio.NewReader(conn), to: conn}
}

// dialFrom is dial from an address of the test's choice.
func dialFrom(t testing.TB, addr, from string) *peer {
	t.Helper()
	return dialBy(t, addr, func(c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			ip := net.ParseIP(from).To4()
			err = syscall.Bind(int(fd), &syscall.SockaddrInet4{Addr: [4]byte(ip)})
		})
		return err
	})
}

// dialBoth is dial or, later, a connection that net/http has and keeps alive, if the server has a
// Handler.
func dialBoth(t testing.TB, addr string, later bool) *peer {
	t.Helper()
	p := dial(t, addr)
	if later {
		p.send(headOf("HEAD / HTTP/1.1", "Host: a"))
		p.answer()
	}
	return p
}

// open dials and upgrades.
func open(t testing.TB, addr, path string, headers ...string) *peer {
	t.Helper()
	return openWith(t, addr, path, 0, headers...)
}

func openWith(t testing.TB, addr, path string, buffer int, headers ...string) *peer {
	t.Helper()
	p := dialWith(t, addr, buffer)
	p.send(upgradeTo(path, headers...))
	p.upgraded()
	return p
}

// upgradeTo is the head of a lawful handshake, with the example's key of section 1.3.
func upgradeTo(path string, headers ...string) []byte {
	return headOf("GET "+path+" HTTP/1.1", append(handshakeLines("example.com"), headers...)...)
}

func handshakeLines(host string) []string {
	return []string{"Host: " + host, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
}

// headOf ends each line as HTTP does.
func headOf(line string, headers ...string) []byte {
	return []byte(strings.Join(append([]string{line}, headers...), "\r\n") + "\r\n\r\n")
}

func (p *peer) send(parts ...[]byte) {
	p.t.Helper()
	if _, err := p.to.Write(bytes.Join(parts, nil)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// answer reads the head of an HTTP answer.
func (p *peer) answer() string {
	p.t.Helper()
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := p.in.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			p.t.Fatalf("answer %q: %v", head.String(), err)
		}
	}
	return head.String()
}

// upgraded reads the answer to upgradeTo, and returns its head.
func (p *peer) upgraded() string {
	p.t.Helper()
	answer := p.answer()
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
		p.t.Fatalf("not upgraded: %q", answer)
	}
	return answer
}

// frame reads a frame from the server, which masks nothing (section 5.1) and here uses no
// extension.
func (p *peer) frame() (ws.Header, []byte) {
	p.t.Helper()
	h, data, err := p.tryFrame()
	if err != nil {
		p.t.Fatalf("frame: %v", err)
	}
	return h, data
}

func (p *peer) tryFrame() (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(p.in)
	if err != nil {
		return h, nil, err
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		return h, nil, err
	}
	if !h.Fin {
		return h, nil, errors.New("the server fragments")
	}
	data := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, data)
	return h, data, err
}

// want reads a frame that must be this one.
func (p *peer) want(op ws.OpCode, payload string) {
	p.t.Helper()
	if h, data := p.frame(); h.OpCode != op || string(data) != payload {
		p.t.Fatalf("came %s, want %s", drawn(h.OpCode, string(data)), drawn(op, payload))
	}
}

// wantClose reads a close frame, which must say so.
func (p *peer) wantClose(code Code, reason string) {
	p.t.Helper()
	p.want(ws.OpClose, string(appendClose(nil, code, reason)[2:]))
}

// wantEnd reads the end of the stream: an orderly one, and nothing before it.
func (p *peer) wantEnd() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.in); len(rest) > 0 || err != nil {
		p.t.Fatalf("instead of the end of the stream came %q, %v", rest, err)
	}
}

// drawn is a frame for a person.
func drawn(op ws.OpCode, payload string) string {
	if len(payload) > 100 {
		payload = fmt.Sprintf("%s… (%d B)", payload[:50], len(payload))
	}
	return fmt.Sprintf("opcode %x with %q", byte(op), payload)
}

var maskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d} // of the examples of section 5.7

// frame is a whole frame from a client.
func frame(op ws.OpCode, payload string) []byte { return fragment(op, true, payload) }

// fragment is a frame from a client, the last of its message or not.
func fragment(op ws.OpCode, fin bool, payload string) []byte {
	f := ws.NewFrame(op, fin, []byte(payload))
	return ws.MustCompileFrame(ws.MaskFrameWith(f, maskKey))
}

// closeFrame is a client's close frame.
func closeFrame(code Code, reason string) []byte {
	return frame(ws.OpClose, string(appendClose(nil, code, reason)[2:]))
}

// cat joins bytes, and strings as they are.
func cat(parts ...any) (all []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			all = append(all, p...)
		case [4]byte:
			all = append(all, p[:]...)
		case string:
			all = append(all, p...)
		case byte:
			all = append(all, p)
		default:
			panic(fmt.Sprintf("cat: %T", p))
		}
	}
	return all
}

// bits reads octets as RFC 6455 section 5.2 draws them: ones and zeros, and anything between them
// for the eye.
func bits(drawing string) (octets []byte) {
	n := 0
	for _, c := range drawing {
		if c != '0' && c != '1' {
			continue
		}
		if n%8 == 0 {
			octets = append(octets, 0)
		}
		octets[n/8] = octets[n/8]<<1 | byte(c-'0')
		n++
	}
	if n%8 != 0 {
		panic(fmt.Sprintf("bits: %q is no whole number of octets", drawing))
	}
	return octets
}

// everySplit gives a stream whole, byte by byte, and in two parts for each place between two bytes.
func everySplit(stream []byte, feed func(how string, chunks [][]byte)) {
	feed("whole", [][]byte{stream})
	var single [][]byte
	for i := range stream {
		single = append(single, stream[i:i+1])
	}
	feed("byte by byte", single)
	for i := 1; i < len(stream); i++ {
		feed(fmt.Sprintf("split at %d", i), [][]byte{stream[:i], stream[i:]})
	}
}

// cutBy splits a stream at places that come out of cuts: each byte is the length of a piece, and the
// last one goes on for ever.
func cutBy(stream, cuts []byte) (chunks [][]byte) {
	for len(stream) > 0 {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[0]))
			if len(cuts) > 1 {
				cuts = cuts[1:]
			}
		}
		chunks = append(chunks, stream[:n])
		stream = stream[n:]
	}
	return chunks
}

// event is a call of a handler.
type event struct {
	what string // open, message, tick or close
	conn *Conn
	data string
	why  Closing
}

// journal is what happened to the connections of an endpoint. Whoever does not read it in time holds
// up the handlers.
type journal chan event

func newJournal() journal { return make(journal, 1<<10) }

// keep has the journal written by the handlers of o, after what they do already.
func (j journal) keep(o Options) Options {
	then := o
	o.OnOpen = func(c *Conn, r *Request) {
		if then.OnOpen != nil {
			then.OnOpen(c, r)
		}
		j <- event{what: "open", conn: c}
	}
	o.OnMessage = func(c *Conn, m Message) {
		data := string(m.Data)
		if then.OnMessage != nil {
			then.OnMessage(c, m)
		}
		j <- event{what: "message", conn: c, data: data}
	}
	o.OnClose = func(c *Conn, why Closing) {
		if then.OnClose != nil {
			then.OnClose(c, why)
		}
		j <- event{what: "close", conn: c, why: why}
	}
	return o
}

// want takes the next event, which must be of this sort.
func (j journal) want(t testing.TB, what string) event {
	t.Helper()
	e := receive(t, "the "+what+" event", j)
	if e.what != what {
		t.Fatalf("came the %s event (%q, %+v), want %s", e.what, e.data, e.why, what)
	}
	return e
}

// wantClose takes the close event, which must say so.
func (j journal) wantClose(t testing.TB, want Closing) {
	t.Helper()
	why := j.want(t, "close").why
	if why.Cause != want.Cause || why.Code != want.Code || why.Reason != want.Reason || !errors.Is(why.Err, want.Err) {
		t.Fatalf("closed by %v with %v %q, error %v\nwant %v with %v %q, error %v", why.Cause, why.Code,
			why.Reason, why.Err, want.Cause, want.Code, want.Reason, want.Err)
	}
}

// quietly runs f with the connection's lock while nobody has its turn, so that f may look at all of
// it.
func quietly(t testing.TB, c *Conn, f func()) {
	t.Helper()
	await(t, "a moment without a turn", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state.has(stTurn | stTickOwed | stQueued | stJob) {
			return false
		}
		f()
		return true
	})
}

// echo answers each message with itself.
func echo(c *Conn, m Message) { c.Write(m.Kind, m.Data) }
