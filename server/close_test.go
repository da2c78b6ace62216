//go:build linux

package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// met is an endpoint whose connections echo and are written down, and one that is open on it.
func met(t *testing.T, s *Server, o Options) (p *peer, c *Conn, j journal) {
	t.Helper()
	j = newJournal()
	if o.OnMessage == nil {
		o.OnMessage = echo
	}
	s.Handle("/", j.keep(o))
	p = open(t, serve(t, s), "/")
	return p, j.want(t, "open").conn, j
}

// gone checks that a handle answers as that of a closed connection.
func gone(t *testing.T, c *Conn) {
	t.Helper()
	for what, do := range map[string]func() error{
		"Send":      func() error { _, err := c.Send(PrepareText("late")); return err },
		"Write":     func() error { _, err := c.Write(Binary, []byte("late")); return err },
		"WriteText": func() error { _, err := c.WriteText("late"); return err },
		"long":      func() error { _, err := c.Write(Binary, make([]byte, 100_000)); return err },
		"CloseWith": func() error { return c.CloseWith(CodeNormal, "") },
		"SetEvery":  func() error { return c.SetEvery(time.Second) },
	} {
		if err := do(); err != ErrClosed {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

// TestCloseByPeer: the server answers with the code that it got and no reason, and closes the TCP
// connection (section 7.1.1: "the server MUST close the connection first"). What the peer said is
// told to the handler.
func TestCloseByPeer(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{OnMessage: echo}))
		addr := serve(t, s)
		for _, c := range []struct {
			code   Code
			reason string
		}{
			{1000, ""}, {1000, "bye"}, {1001, "tab closed"}, {1003, ""}, {1007, ""}, {1012, ""}, {1014, ""}, {3000, ""},
			{4999, strings.Repeat("€", 41)}, {CodeNone, ""},
		} {
			t.Run(fmt.Sprint(uint16(c.code)), func(t *testing.T) {
				p := open(t, addr, "/")
				conn := j.want(t, "open").conn
				p.send(frame(ws.OpText, "before"), closeFrame(c.code, c.reason))
				p.want(ws.OpText, "before")
				p.wantClose(c.code, "")
				p.wantEnd()
				j.want(t, "message")
				j.wantClose(t, Closing{Cause: PeerClosed, Code: c.code, Reason: c.reason})
				gone(t, conn)
			})
		}
	})
}

// TestCloseUnlawful: a close frame that must not be sent is a violation like others.
func TestCloseUnlawful(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{}))
		addr := serve(t, s)
		for _, c := range []struct {
			name, payload string
			want          *ProtocolError
		}{
			{"half a code", "\x03", errCloseTooShort},
			{"999", "\x03\xe7", errCloseCode},
			{"1004", "\x03\xec", errCloseCode},
			{"1005", "\x03\xed", errCloseCode},
			{"1006", "\x03\xee", errCloseCode},
			{"1015", "\x03\xf7", errCloseCode},
			{"2999", "\x0b\xb7", errCloseCode},
			{"5000", "\x13\x88", errCloseCode},
			{"65535", "\xff\xff", errCloseCode},
			{"reason not UTF-8", "\x03\xe8\xff", errInvalidUTF8},
		} {
			p := open(t, addr, "/")
			j.want(t, "open")
			p.send(frame(ws.OpClose, c.payload))
			p.wantClose(c.want.Code, c.want.Reason)
			p.wantEnd()
			must(t, p.conn.Close())
			j.wantClose(t, Closing{Cause: BadInput, Code: c.want.Code, Reason: c.want.Reason, Err: c.want})
		}
	})
}

// TestCloseByServer: the close handshake from this side, with each thing that the peer may do.
func TestCloseByServer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(p *peer)
		err    error
	}{
		{"the peer echoes", func(p *peer) { p.send(closeFrame(4000, "")); p.wantEnd() }, nil},
		{"the peer says another code", func(p *peer) { p.send(closeFrame(1000, "fine")); p.wantEnd() }, nil},
		{"the peer says no code", func(p *peer) { p.send(closeFrame(CodeNone, "")); p.wantEnd() }, nil},
		{"the peer had more to say", func(p *peer) {
			p.send(frame(ws.OpText, "ignored"), frame(ws.OpPing, "ignored"), closeFrame(4000, ""))
			p.wantEnd()
		}, nil},
		{"the peer ends the stream", func(p *peer) { must(p.t, p.conn.CloseWrite()); p.wantEnd() }, nil},
		{"the peer resets", func(p *peer) { must(p.t, p.conn.SetLinger(0)); must(p.t, p.conn.Close()) }, nil},
		{"the peer breaks the protocol", func(p *peer) { p.send([]byte("GET")); p.wantEnd(); must(p.t, p.conn.Close()) }, nil},
		{"the peer says nothing", func(p *peer) { p.wantEnd() }, ErrCloseTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				if c.err == ErrCloseTimeout {
					s.CloseTimeout = 30 * time.Millisecond
				}
				p, conn, j := met(t, s, Options{})
				must(t, conn.CloseWith(4000, "enough"))
				gone(t, conn)
				p.wantClose(4000, "enough")
				c.answer(p)
				j.wantClose(t, Closing{Cause: ClosedLocally, Code: 4000, Reason: "enough", Err: c.err})
				gone(t, conn)
				if err := conn.Close(); err != ErrClosed {
					t.Errorf("Close: %v, want ErrClosed", err)
				}
			})
		})
	}
}

// TestCloseInsideHandlers: a handler may close its own connection, and what it sent before goes out
// before.
func TestCloseInsideHandlers(t *testing.T) {
	bye := func(c *Conn) {
		c.WriteText("last")
		if err := c.CloseWith(CodeNormal, "bye"); err != nil {
			panic(err)
		}
		if _, err := c.WriteText("later"); err != ErrClosed {
			panic(err)
		}
	}
	for name, o := range map[string]Options{
		"open":    {OnOpen: func(c *Conn, _ *Request) { bye(c) }},
		"message": {OnMessage: func(c *Conn, _ Message) { bye(c) }},
		"tick":    {OnTick: bye, Every: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				ended := make(chan Closing, 1)
				o := o
				o.OnClose = func(_ *Conn, why Closing) { ended <- why }
				s.Handle("/", o)
				p := dial(t, serve(t, s))
				// Two messages: the second is behind the close.
				p.send(upgradeTo("/"), frame(ws.OpText, "one"), frame(ws.OpText, "two"))
				p.upgraded()
				p.want(ws.OpText, "last")
				p.wantClose(CodeNormal, "bye")
				p.send(closeFrame(CodeNormal, ""))
				p.wantEnd()
				if why := receive(t, "the close event", ended); why.Cause != ClosedLocally || s.Stats().Panics > 0 {
					t.Errorf("%+v, %d panics", why, s.Stats().Panics)
				}
			})
		})
	}
}

// TestCloseThenData: section 5.5.1, "after sending a Close frame, the peer MUST NOT send any more
// data frames". It is ignored, also if it is none, and does not turn the end into a reset.
func TestCloseThenData(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, _, j := met(t, s, Options{})
		p.send(closeFrame(1000, ""), frame(ws.OpText, "late"), []byte("\xff\xff garbage"), make([]byte, 100_000))
		p.wantClose(1000, "")
		p.wantEnd()
		j.wantClose(t, Closing{Cause: PeerClosed, Code: 1000})
		if st := s.Stats(); st.MessagesIn != 0 || st.BadInput != 0 {
			t.Errorf("%d messages and %d violations are counted behind the close frame", st.MessagesIn, st.BadInput)
		}
	})
}

// TestCloseBehindBacklog: the answer to a close frame goes out behind the message that has begun, and the connection
// is open until it is out. What the peer sends meanwhile is ignored.
func TestCloseBehindBacklog(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := slowPeer(t, s, Options{})
		const size = 100_000
		for i := range 2 {
			_, err := c.Write(Binary, numbered(i, size))
			must(t, err)
		}
		p.send(closeFrame(1001, ""))
		await(t, "the close frame is taken", func() bool { return c.snapshot().has(stCloseTaken) })
		gone(t, c)
		before := s.Stats().BytesIn
		p.send([]byte("garbage"), frame(ws.OpText, "late"))
		await(t, "more is read", func() bool { return s.Stats().BytesIn > before })
		p.wantNumbered(0, size)
		p.wantClose(1001, "")
		p.wantEnd()
		j.wantClose(t, Closing{Cause: PeerClosed, Code: 1001})
		if st := s.Stats(); st.MessagesIn != 0 || st.BadInput != 0 {
			t.Errorf("%d messages and %d violations are counted behind the close frame", st.MessagesIn, st.BadInput)
		}
	})
}

// TestCloseErrors: what breaks the protocol or a limit is told by code and reason, what came before
// it is answered first, and the words arrive though the peer sends on.
func TestCloseErrors(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{OnMessage: echo, MaxMessage: 1000}))
		addr := serve(t, s)
		for _, c := range []struct {
			wrong []byte
			want  *ProtocolError
		}{
			{bits("1 100 0001 | 1 0000000"), errReservedBits},
			{bits("1 000 0011 | 1 0000000"), errReservedOpcode},
			{bits("1 000 0001 | 0 0000000"), errUnmasked},
			{bits("1 000 0010 | 1 1111110 | 00000000 00000001"), errLengthNotMinimal},
			{bits("1 000 0010 | 1 1111111 | 11111111"), errLengthNegative},
			{bits("1 000 1001 | 1 1111110"), errControlTooLong},
			{bits("0 000 1001"), errFragmentedControl},
			{cont(true, "x"), errUnexpectedCont},
			{cat(fragment(ws.OpText, false, "x"), frame(ws.OpText, "y")), errUnfinished},
			{frame(ws.OpText, "\xc0\xaf"), errInvalidUTF8},
			{cat(fragment(ws.OpText, false, "\xc3"), cont(true, "\xc3")), errInvalidUTF8},
			{headerOf(ws.OpBinary, true, 1001), errTooBig},
			{cat(fragment(ws.OpBinary, false, strings.Repeat("x", 1000)), cont(true, "x")), errTooBig},
		} {
			t.Run(c.want.Reason, func(t *testing.T) {
				p := open(t, addr, "/")
				conn := j.want(t, "open").conn
				p.send(frame(ws.OpText, "first"), c.wrong, make([]byte, 70_000))
				p.send(make([]byte, 30_000))
				p.want(ws.OpText, "first")
				p.wantClose(c.want.Code, c.want.Reason)
				p.send(frame(ws.OpText, "nobody reads this"), closeFrame(c.want.Code, ""))
				p.wantEnd()
				must(t, p.conn.Close())
				j.want(t, "message")
				j.wantClose(t, Closing{Cause: BadInput, Code: c.want.Code, Reason: c.want.Reason, Err: c.want})
				gone(t, conn)
			})
		}
		await(t, "all are counted", func() bool { return s.Stats().BadInput == 13 })
	})
}

// TestCloseLingersBounded: a peer that goes on sending for ever after the last words is cut off.
func TestCloseLingersBounded(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, _, j := met(t, s, Options{})
		p.send([]byte("GET"))
		p.wantClose(CodeProtocolError, errReservedBits.Reason)
		var err error
		for sent := 0; err == nil; sent += 64 << 10 {
			if _, err = p.conn.Write(make([]byte, 64<<10)); sent > 64<<20 {
				t.Fatal("64 MiB are read after the last words")
			}
		}
		j.wantClose(t, Closing{Cause: BadInput, Code: CodeProtocolError, Reason: errReservedBits.Reason, Err: errReservedBits})
	})
}

// TestCloseAtOnce: Close without a handshake.
func TestCloseAtOnce(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := met(t, s, Options{})
		must(t, c.Close())
		gone(t, c)
		p.wantEnd()
		j.wantClose(t, Closing{Cause: ClosedLocally, Code: CodeAbnormal})
		if err := c.Close(); err != ErrClosed {
			t.Errorf("the second Close: %v, want ErrClosed", err)
		}
	})
}

// TestCloseGone: a peer that ends the stream or resets it has not closed.
func TestCloseGone(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, _, j := met(t, s, Options{})
		p.send(frame(ws.OpText, "before"))
		must(t, p.conn.CloseWrite())
		p.want(ws.OpText, "before") // HangUp alone ends nothing
		p.wantEnd()
		j.want(t, "message")
		j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal})
		p = open(t, p.conn.RemoteAddr().String(), "/")
		j.want(t, "open")
		must(t, p.conn.SetLinger(0))
		must(t, p.conn.Close())
		j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal, Err: unix.ECONNRESET})
	})
}

// TestCloseDataWithEnd: data and the end of the stream that come together, while a handler runs, are
// both seen.
func TestCloseDataWithEnd(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		release := make(chan bool)
		p, c, j := met(t, s, Options{OnMessage: func(c *Conn, m Message) {
			if string(m.Data) == "first" {
				receive(t, "the release", release)
			}
			echo(c, m)
		}})
		p.send(frame(ws.OpText, "first"))
		await(t, "the handler runs", func() bool { return s.Stats().MessagesIn == 1 })
		p.send(frame(ws.OpText, "last"))
		must(t, p.conn.CloseWrite())
		await(t, "both are there", func() bool { return c.snapshot().has(stHangUp) })
		close(release)
		p.want(ws.OpText, "first")
		p.want(ws.OpText, "last")
		p.wantEnd()
		j.want(t, "message")
		j.want(t, "message")
		j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal})
	})
}

// TestCloseArguments: what must not be sent is an error, and the connection stays open.
func TestCloseArguments(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := met(t, s, Options{})
		for _, code := range []Code{0, 999, 1004, CodeNone, CodeAbnormal, 1015, 2999, 5000} {
			if err := c.CloseWith(code, ""); err != ErrBadCode {
				t.Errorf("%d: %v, want ErrBadCode", uint16(code), err)
			}
		}
		if err := c.CloseWith(1000, strings.Repeat("x", 124)); err != ErrReasonTooLong {
			t.Errorf("124 bytes of reason: %v", err)
		}
		if err := c.CloseWith(1000, "\xff"); err != ErrInvalidUTF8 {
			t.Errorf("a reason that is not UTF-8: %v", err)
		}
		if _, err := c.Write(Text, []byte("\xff")); err != ErrInvalidUTF8 {
			t.Errorf("a text that is not UTF-8: %v", err)
		}
		p.send(frame(ws.OpText, "still open"))
		p.want(ws.OpText, "still open")
		j.want(t, "message")
		must(t, c.CloseWith(1000, strings.Repeat("x", 123)))
		p.wantClose(1000, strings.Repeat("x", 123))
		p.send(closeFrame(1000, ""))
		p.wantEnd()
		j.want(t, "close")
	})
}

// TestCloseIsTheLastFrame: with many senders and ticks all the time, nothing comes behind the close
// frame, and it comes once.
func TestCloseIsTheLastFrame(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		woo := PrepareText("tick")
		p, c, j := met(t, s, Options{Every: time.Millisecond, OnTick: func(c *Conn) { c.Send(woo) }})
		var senders sync.WaitGroup
		for i := range 4 {
			senders.Go(func() {
				for n := 0; ; n++ {
					if _, err := c.WriteText(fmt.Sprint("sender ", i)); err != nil {
						if err != ErrClosed {
							t.Errorf("sender %d: %v", i, err)
						}
						return
					}
					if n == 50 {
						c.CloseWith(4000+Code(i), "")
					}
				}
			})
		}
		h, _ := p.frame()
		for h.OpCode != ws.OpClose {
			h, _ = p.frame()
		}
		senders.Wait()
		p.send(closeFrame(1000, ""))
		p.wantEnd()
		if why := j.want(t, "close").why; why.Cause != ClosedLocally || why.Code < 4000 || why.Code > 4003 {
			t.Errorf("closed by %v with %v", why.Cause, why.Code)
		}
	})
}

// TestCloseIdle: a peer that says nothing for the timeout, and not for less, is closed with 1001.
func TestCloseIdle(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = 30 * time.Millisecond
		p, c, j := met(t, s, Options{IdleTimeout: timeout})
		p.wantClose(CodeGoingAway, "idle timeout")
		closed := s.now()
		c.mu.Lock()
		heard := c.heard
		c.mu.Unlock()
		if closed.Before(heard + ticksOf(timeout)) {
			t.Errorf("closed at %d, heard of at %d", closed, heard)
		}
		p.send(closeFrame(CodeGoingAway, ""))
		p.wantEnd()
		j.wantClose(t, Closing{Cause: Idle, Code: CodeGoingAway, Reason: "idle timeout"})
	})
}

// TestCloseIdleHeard: whatever comes is a sign of life, a pong too.
func TestCloseIdleHeard(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, _ := met(t, s, Options{IdleTimeout: time.Hour})
		for _, sign := range [][]byte{frame(ws.OpPong, ""), frame(ws.OpText, "x"), headerOf(ws.OpText, true, 9), []byte("x")} {
			now := s.now()
			await(t, "time goes on", func() bool { return s.now() > now })
			p.send(sign)
			await(t, "it is heard of", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return now.Before(c.heard)
			})
		}
	})
}

// TestCloseIdleDoesNotSpin: once an idle connection is told so, its place in the wheel is the end of
// the close handshake, and no longer the time at which it was idle.
func TestCloseIdleDoesNotSpin(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.CloseTimeout = time.Hour
		p, c, _ := met(t, s, Options{IdleTimeout: 20 * time.Millisecond})
		p.wantClose(CodeGoingAway, "idle timeout")
		await(t, "the place is the end of the close handshake", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.loop.mu.Lock()
			defer c.loop.mu.Unlock()
			due, ok := c.loop.wheel.Due(c.slot)
			return ok && due == c.at
		})
	})
}

// TestInvariant4Storm: every connection is closed exactly once, and that is its last event; every
// one that was opened has it. Clients connect, send, half-send, close and reset at random.
func TestInvariant4Storm(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		var mu sync.Mutex
		events := map[*Conn]string{} // o, m, t, c
		var opened, closed atomic.Int64
		note := func(c *Conn, what string) {
			mu.Lock()
			defer mu.Unlock()
			if past := events[c]; strings.Contains(past, "c") || (what == "o") != (past == "") {
				t.Errorf("connection %d: %q after %q", c.ID(), what, past)
			}
			if past := events[c]; len(past) < 20 || what == "c" {
				events[c] = past + what
			}
		}
		s.HandshakeTimeout, s.CloseTimeout = 50*time.Millisecond, 50*time.Millisecond
		s.Handle("/", Options{
			Every:    3 * time.Millisecond,
			OnOpen:   func(c *Conn, _ *Request) { note(c, "o"); opened.Add(1) },
			OnTick:   func(c *Conn) { note(c, "t"); c.WriteText("tick") },
			OnClose:  func(c *Conn, _ Closing) { note(c, "c"); closed.Add(1) },
			Overflow: CloseSlow,
			OnMessage: func(c *Conn, m Message) {
				note(c, "m")
				switch string(m.Data) {
				case "close":
					c.CloseWith(1000, "as you like")
				case "cut":
					c.Close()
				default:
					echo(c, m)
				}
			},
		})
		addr := serve(t, s)
		var clients sync.WaitGroup
		var came atomic.Int64
		for i := range uint64(16) {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(i, 7))
				for range 50 {
					storm(t, addr, random)
					came.Add(1)
				}
			})
		}
		clients.Wait()
		await(t, "all have come and gone", func() bool {
			st := s.Stats()
			return st.Conns == 0 && int64(st.Accepted) == came.Load()
		})
		st := s.Stats()
		if opened.Load() != closed.Load() || int64(st.Closed) != closed.Load() {
			t.Errorf("%d came, %d opened, %d closed, %d counted as closed", came.Load(), opened.Load(), closed.Load(), st.Closed)
		}
		if opened.Load() == 0 || opened.Load() == came.Load() {
			t.Errorf("%d of %d were opened: no storm", opened.Load(), came.Load())
		}
		mu.Lock()
		defer mu.Unlock()
		for c, past := range events {
			if !strings.HasSuffix(past, "c") {
				t.Errorf("connection %d had %q and no close event", c.ID(), past)
			}
			gone(t, c)
		}
	})
}

// storm is a client that behaves as it likes.
func storm(t *testing.T, addr string, random *rand.Rand) {
	p := dial(t, addr)
	defer p.conn.Close()
	tape := cat(upgradeTo("/"), frame(ws.OpText, "hello"), fragment(ws.OpText, false, "he"), frame(ws.OpPing, "p"),
		cont(true, "llo"), frame(ws.OpBinary, strings.Repeat("x", 300)))
	for range random.IntN(3) {
		tape = append(tape, [][]byte{frame(ws.OpText, "close"), frame(ws.OpText, "cut"), closeFrame(1000, ""),
			[]byte("garbage"), frame(ws.OpText, "\xff"), frame(ws.OpText, "more")}[random.IntN(6)]...)
	}
	if random.IntN(3) == 0 {
		tape = tape[:random.IntN(len(tape))]
	}
	// The server may be gone in the middle of it, so errors are nothing.
	for _, piece := range cutBy(tape, []byte{byte(random.IntN(256)), byte(random.IntN(256))}) {
		p.conn.Write(piece)
	}
	buf := make([]byte, 512)
	for range random.IntN(4) {
		p.conn.SetReadDeadline(time.Now().Add(time.Duration(random.IntN(5)) * time.Millisecond))
		p.conn.Read(buf)
	}
	switch random.IntN(4) {
	case 0:
		p.conn.CloseWrite()
		p.conn.SetReadDeadline(time.Now().Add(bound))
		for {
			if _, err := p.conn.Read(buf); err != nil {
				var timeout interface{ Timeout() bool }
				if errors.As(err, &timeout) && timeout.Timeout() {
					t.Error("a connection whose peer has half closed it is not ended")
				}
				return
			}
		}
	case 1:
		p.conn.SetLinger(0)
	}
}
