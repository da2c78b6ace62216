//go:build linux

package server

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestMessageTimeout: what is half received for too long, be it a byte of a header, ends the
// connection with 1008. What goes on beside it makes no difference, and nor does a trickle.
func TestMessageTimeout(t *testing.T) {
	for name, half := range map[string][]byte{
		"one byte of a header":   {0x81},
		"a header":               headerOf(ws.OpText, true, 100),
		"half a payload":         cat(headerOf(ws.OpBinary, true, 100), strings.Repeat("x", 50)),
		"a fragment":             fragment(ws.OpText, false, "x"),
		"half a ping":            cat(headerOf(ws.OpPing, true, 100), "x"),
		"behind a message":       cat(frame(ws.OpText, "x"), []byte{0x81}),
		"a ping in a message":    cat(fragment(ws.OpText, false, "x"), frame(ws.OpPong, "")),
		"half a long one":        half(200 << 10),
		"the end of a handshake": nil,
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const timeout = 30 * time.Millisecond
				j := newJournal()
				s.Handle("/", Options{MessageTimeout: timeout, OnClose: func(c *Conn, why Closing) { j <- event{what: "close", conn: c, why: why} }})
				addr := serve(t, s)
				start := time.Now()
				var p *peer
				if half == nil {
					p = dial(t, addr)
					p.send(upgradeTo("/"), []byte{0x81})
					p.upgraded()
				} else {
					p = open(t, addr, "/")
					p.send(half)
				}
				p.wantClose(CodePolicy, errSlowMessage.Reason)
				if took := time.Since(start); took < timeout-2*time.Millisecond { // the unit of the wheel, twice
					t.Errorf("closed after %v", took)
				}
				p.wantEnd()
				must(t, p.conn.Close())
				j.wantClose(t, Closing{Cause: BadInput, Code: CodePolicy, Reason: errSlowMessage.Reason, Err: errSlowMessage})
			})
		})
	}
}

// TestMessageTimeoutBegins with each message anew, and ends with it.
func TestMessageTimeoutBegins(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := met(t, s, Options{MessageTimeout: time.Hour})
		began := func() (since uint32, half bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return uint32(c.began), c.state.has(stHalf)
		}
		p.send(fragment(ws.OpText, false, "x"))
		await(t, "half a message is noted", func() bool { _, half := began(); return half })
		first, _ := began()
		await(t, "time goes on", func() bool { return uint32(s.now()) > first+1 })
		p.send(cont(false, "x"))
		p.send(frame(ws.OpPing, ""))
		p.want(ws.OpPong, "")
		if now, half := began(); now != first || !half {
			t.Errorf("in the same message: began at %d and then at %d, half %v", first, now, half)
		}
		p.send(cat(cont(true, "x"), fragment(ws.OpText, false, "y")))
		j.want(t, "message")
		await(t, "the next one begins later", func() bool { now, half := began(); return half && now > first })
		p.send(cont(true, "y"))
		j.want(t, "message")
		await(t, "nothing is half received", func() bool { _, half := began(); return !half })
	})
}

// TestMessageTimeoutOfThePeerOnly: what took long on this side does not count, be it the handler of the
// message itself, one before it, a tick, or that the connection is held up.
func TestMessageTimeoutOfThePeerOnly(t *testing.T) {
	const timeout = 30 * time.Millisecond
	second := frame(ws.OpText, "second")
	onPollers(t, func(t *testing.T, s *Server) {
		later := func() { // more than the timeout passes
			end := s.now() + 3*ticksOf(timeout)
			await(t, "time goes on", func() bool { return end.Before(s.now()) })
		}
		ticks := make(chan bool)
		o := Options{MessageTimeout: timeout, OnMessage: func(c *Conn, m Message) { later(); c.Write(m.Kind, m.Data) }}
		loop, pool := s.Handle("/loop", o), s.Handle("/pool", o)
		s.Handle("/tick", Options{MessageTimeout: timeout, OnMessage: echo, Every: 10 * time.Millisecond,
			OnTick: func(*Conn) {
				select {
				case ticks <- true:
					later()
				default:
				}
			}})
		addr := serve(t, s)
		for _, ep := range []*Endpoint{loop, pool} {
			p := open(t, addr, ep.path)
			if ep == pool {
				pool.slow.mark(s.now(), slowFor)
			}
			p.send(fragment(ws.OpText, false, "x"))
			p.send(cat(cont(true, "y"), second[:5]))
			p.want(ws.OpText, "xy")
			p.send(second[5:])
			p.want(ws.OpText, "second")
		}
		p := open(t, addr, "/tick")
		p.send(second[:5])
		receive(t, "a tick", ticks)
		p.send(second[5:])
		p.want(ws.OpText, "second")
	})
}

// TestMessageTimeoutHeldUp: nor does the time in which the peer is not read.
func TestMessageTimeoutHeldUp(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = 30 * time.Millisecond
		j := newJournal()
		s.Handle("/", j.keep(Options{MessageTimeout: timeout, WriteTimeout: -1, SendBuffer: 4096, Overflow: Refuse}))
		p := openWith(t, serve(t, s), "/", 4096)
		c := j.want(t, "open").conn
		message := frame(ws.OpText, "in time")
		p.send(message[:5])
		for outcome := Sent; outcome != Refused; {
			outcome, _ = c.Write(Binary, make([]byte, 64<<10))
		}
		p.send(message[5:])
		end := s.now() + 3*ticksOf(timeout)
		await(t, "time goes on", func() bool { return end.Before(s.now()) })
		// The journal would have the close event if the message were held against its timeout.
		go io.Copy(io.Discard, p.conn)
		j.want(t, "message")
	})
}

// TestIdleIsNotHeldUp: a peer that is not read, because it does not read, can't be heard; the idle
// timeout waits until it takes what waits for it.
func TestIdleIsNotHeldUp(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = 40 * time.Millisecond
		j := newJournal()
		// The ticks have its place in the wheel come up all the time.
		s.Handle("/", j.keep(Options{IdleTimeout: timeout, WriteTimeout: -1, SendBuffer: 4096, Overflow: Refuse,
			Every: time.Millisecond, OnTick: func(*Conn) {}}))
		p := openWith(t, serve(t, s), "/", 4096)
		c := j.want(t, "open").conn
		for outcome := Sent; outcome != Refused; {
			outcome, _ = c.Write(Binary, make([]byte, 64<<10))
		}
		deadline := s.now() + 3*ticksOf(timeout)
		await(t, "the timeout is over", func() bool { return deadline.Before(s.now()) })
		closing := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stCloseSent)
		}
		if closing() {
			t.Fatal("closed while it was held up")
		}
		// It reads on: from when it last took something, the timeout begins anew.
		for c.Buffered() > 0 {
			p.frame()
			if now := s.now(); closing() {
				t.Fatalf("closed though it reads, and %d bytes wait", c.Buffered())
			} else {
				await(t, "time goes on", func() bool { return s.now() > now+2 })
			}
		}
		for {
			if h, data := p.frame(); h.OpCode == ws.OpClose {
				if !strings.HasSuffix(string(data), "idle timeout") {
					t.Errorf("closed with %q", data)
				}
				break
			}
		}
	})
}
