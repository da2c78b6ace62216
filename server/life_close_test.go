//go:build linux

package server

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// lifeEnding is a way for a connection to end.
type lifeEnding struct {
	timeout time.Duration // of the close handshake
	opts    Options
	// act has the connection, its peer and the server; afterwards the connection is ending.
	act  func(t *testing.T, srv *Server, c *Conn, peer *lifeClient)
	want Closing // but for Err
	err  error   // that Closing.Err is, by errors.Is
}

// lifeHandling is an ending that begins in a message handler.
func lifeHandling(f func(*Conn), then func(*lifeClient), want Closing, err error) lifeEnding {
	return lifeEnding{
		opts: Options{OnMessage: func(c *Conn, _ Message) { f(c) }},
		act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
			peer.text("now")
			then(peer)
		},
		want: want,
		err:  err,
	}
}

var lifeInternal = Closing{Cause: Panicked, Code: CodeInternal, Reason: "internal error"}

func lifeSeesInternal(p *lifeClient) { p.seenOff(CodeInternal, "internal error") }

// lifeFlood sends to a peer that does not read until something gives.
func lifeFlood(c *Conn) {
	chunk := make([]byte, 64<<10)
	for range 1000 {
		if _, err := c.Write(Binary, chunk); err != nil {
			return
		}
	}
	panic("there is room without end")
}

func lifeEndings() map[string]lifeEnding {
	return map[string]lifeEnding{
		"peer closes": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.sayClose(4321, "had enough")
				peer.wantClose(4321, "")
				peer.wantEOF()
			},
			want: Closing{Cause: PeerClosed, Code: 4321, Reason: "had enough"},
		},
		"peer closes without a code": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.sayClose(CodeNone, "")
				peer.wantClose(CodeNone, "")
				peer.wantEOF()
			},
			want: Closing{Cause: PeerClosed, Code: CodeNone},
		},
		"peer closes and is gone": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.sayClose(CodeGoingAway, "tab closed")
				peer.Close()
			},
			want: Closing{Cause: PeerClosed, Code: CodeGoingAway, Reason: "tab closed"},
		},
		"peer is gone": {
			act:  func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) { peer.Close() },
			want: Closing{Cause: PeerGone, Code: CodeAbnormal},
		},
		"peer is gone in a frame": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.raw(lifeFrame(ws.OpText, "hello")[:8])
				peer.Close()
			},
			want: Closing{Cause: PeerGone, Code: CodeAbnormal},
		},
		"peer resets": {
			act:  func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) { peer.reset() },
			want: Closing{Cause: PeerGone, Code: CodeAbnormal},
			err:  syscall.ECONNRESET,
		},
		"CloseWith": {
			act: func(t *testing.T, _ *Server, c *Conn, peer *lifeClient) {
				lifeMust(t, c.CloseWith(4000, "done"))
				peer.seenOff(4000, "done")
			},
			want: Closing{Cause: ClosedLocally, Code: 4000, Reason: "done"},
		},
		"CloseWith and no answer": {
			timeout: 20 * time.Millisecond,
			act: func(t *testing.T, _ *Server, c *Conn, peer *lifeClient) {
				lifeMust(t, c.CloseWith(CodeNormal, ""))
				peer.wantClose(CodeNormal, "")
				peer.wantCut()
			},
			want: Closing{Cause: ClosedLocally, Code: CodeNormal},
			err:  ErrCloseTimeout,
		},
		"CloseWith and another close at once": {
			act: func(t *testing.T, _ *Server, c *Conn, peer *lifeClient) {
				lifeMust(t, c.CloseWith(CodeNormal, ""))
				if err := c.CloseWith(CodePolicy, ""); err != ErrClosed {
					t.Errorf("a second CloseWith: %v", err)
				}
				peer.sayClose(4999, "me too")
				peer.wantClose(CodeNormal, "")
				peer.wantEOF()
			},
			want: Closing{Cause: ClosedLocally, Code: CodeNormal},
		},
		"Close": {
			act: func(t *testing.T, _ *Server, c *Conn, peer *lifeClient) {
				lifeMust(t, c.Close())
				if err := c.Close(); err != ErrClosed {
					t.Errorf("a second Close: %v", err)
				}
				peer.wantCut()
			},
			want: Closing{Cause: ClosedLocally, Code: CodeAbnormal},
		},
		"protocol error": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.raw([]byte{0x81, 0x02, 'h', 'i'})
				peer.wantClose(errUnmasked.Code, errUnmasked.Reason)
				peer.wantEOF()
				peer.Close()
			},
			want: Closing{Cause: BadInput, Code: CodeProtocolError, Reason: errUnmasked.Reason},
			err:  errUnmasked,
		},
		"bad text": {
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.text("\xff")
				peer.wantClose(CodeInvalidPayload, errInvalidUTF8.Reason)
				peer.wantEOF()
				peer.Close()
			},
			want: Closing{Cause: BadInput, Code: CodeInvalidPayload, Reason: errInvalidUTF8.Reason},
			err:  errInvalidUTF8,
		},
		"too long": {
			opts: Options{MaxMessage: 10},
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.text("more than ten")
				peer.wantClose(CodeTooBig, errTooBig.Reason)
				peer.wantEOF()
				peer.Close()
			},
			want: Closing{Cause: BadInput, Code: CodeTooBig, Reason: errTooBig.Reason},
			err:  errTooBig,
		},
		"too slow a reader": {
			timeout: 20 * time.Millisecond,
			opts:    Options{SendBuffer: 4096, Backlog: 100_000},
			act:     func(_ *testing.T, _ *Server, c *Conn, _ *lifeClient) { lifeFlood(c) },
			want:    Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full"},
			err:     ErrBacklogFull,
		},
		"too slow a reader who comes round": {
			opts: Options{SendBuffer: 4096, Backlog: 100_000},
			act: func(_ *testing.T, _ *Server, c *Conn, peer *lifeClient) {
				lifeFlood(c)
				f := peer.next()
				for f.Header.OpCode == ws.OpBinary {
					f = peer.next()
				}
				if code, _ := ws.ParseCloseFrameData(f.Payload); code != 1013 {
					peer.t.Errorf("close code %d", code)
				}
				peer.sayClose(CodeTryAgain, "")
				peer.wantEOF()
			},
			want: Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full"},
			err:  ErrBacklogFull,
		},
		"write timeout": {
			opts: Options{SendBuffer: 4096, WriteTimeout: 20 * time.Millisecond, Overflow: Refuse},
			act:  func(_ *testing.T, _ *Server, c *Conn, _ *lifeClient) { lifeFlood(c) },
			want: Closing{Cause: TooSlow, Code: CodeAbnormal},
			err:  ErrWriteTimeout,
		},
		"idle": {
			opts: Options{IdleTimeout: 20 * time.Millisecond},
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.seenOff(CodeGoingAway, "idle timeout")
			},
			want: Closing{Cause: Idle, Code: CodeGoingAway, Reason: "idle timeout"},
		},
		"panic": lifeHandling(func(*Conn) { panic("on purpose") }, lifeSeesInternal, lifeInternal, nil),
		"exit":  lifeHandling(func(*Conn) { runtime.Goexit() }, lifeSeesInternal, lifeInternal, nil),
		"panic and no answer": {
			timeout: 20 * time.Millisecond,
			opts:    Options{OnMessage: func(*Conn, Message) { panic("on purpose") }},
			act: func(_ *testing.T, _ *Server, _ *Conn, peer *lifeClient) {
				peer.text("now")
				peer.wantClose(CodeInternal, "internal error")
				peer.wantCut()
			},
			want: lifeInternal,
			err:  ErrCloseTimeout,
		},
		"CloseWith in a handler": lifeHandling(func(c *Conn) { c.CloseWith(CodePolicy, "not that") },
			func(p *lifeClient) { p.seenOff(CodePolicy, "not that") },
			Closing{Cause: ClosedLocally, Code: CodePolicy, Reason: "not that"}, nil),
		"Close in a handler": lifeHandling(func(c *Conn) { c.Close() }, (*lifeClient).wantCut,
			Closing{Cause: ClosedLocally, Code: CodeAbnormal}, nil),
		"Shutdown": {
			act: func(t *testing.T, srv *Server, _ *Conn, peer *lifeClient) {
				done := lifeShut(srv, lifeContext(t))
				peer.seenOff(CodeGoingAway, lifeGoodbye)
				lifeMust(t, lifeGet(t, done, "Shutdown"))
			},
			want: goingAway,
		},
		"Server.Close": {
			act: func(_ *testing.T, srv *Server, _ *Conn, peer *lifeClient) {
				srv.Close()
				peer.wantCut()
			},
			want: Closing{Cause: ShutDown, Code: CodeAbnormal},
		},
	}
}

// TestLifeEndings: however a connection ends, it has one close event, the last of all, and it says
// why.
func TestLifeEndings(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for name, e := range lifeEndings() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				lifeRunEnding(t, &Server{Poller: b, CloseTimeout: e.timeout}, e)
			})
		}
	})
}

func lifeRunEnding(t *testing.T, srv *Server, e lifeEnding) {
	ledger := newLifeLedger()
	handles := make(chan *Conn, 1)
	e.opts.OnOpen = func(c *Conn, _ *Request) { handles <- c }
	e.opts.OnClose = func(c *Conn, _ Closing) {
		if _, err := c.WriteText("too late"); err != ErrClosed {
			t.Errorf("a send in the close event: %v", err)
		}
	}
	ep := srv.Handle("/ws", ledger.over(e.opts))
	addr := lifeServe(t, srv)
	peer := lifeDial(t, addr, "/ws")
	peer.Conn.(*net.TCPConn).SetReadBuffer(4096)
	c := lifeGet(t, handles, "the open event")
	e.act(t, srv, c, peer)
	why := lifeGet(t, ledger.ended, "the close event")
	err := why.Err
	if why.Err = nil; why != e.want {
		t.Errorf("closed by %+v, want %+v", why, e.want)
	}
	if !errors.Is(err, e.err) {
		t.Errorf("the error is %v, want %v", err, e.err)
	}
	lifeDead(t, c, peer.LocalAddr().String())
	lifeEnd(t, srv)
	ledger.check(t, 1)
	if st := srv.Stats(); ep.Len() != 0 || st.Accepted != 1 || st.Closed != 1 {
		t.Errorf("the books: %d open, %+v", ep.Len(), st)
	}
}

// lifeDead: a handle to a closed connection is safe for ever.
func lifeDead(t *testing.T, c *Conn, remote string) {
	t.Helper()
	_, send := c.Send(PrepareText("x"))
	_, write := c.Write(Binary, nil)
	_, text := c.WriteText("x")
	for name, err := range map[string]error{
		"Send": send, "Write": write, "WriteText": text,
		"SetEvery":  c.SetEvery(time.Second),
		"CloseWith": c.CloseWith(CodeNormal, ""),
		"Close":     c.Close(),
	} {
		if err != ErrClosed {
			t.Errorf("%s of a closed connection: %v", name, err)
		}
	}
	if c.RemoteAddr().String() != remote || c.ID() == 0 || c.Endpoint().Path() != "/ws" || c.Buffered() != 0 {
		t.Errorf("the closed connection is %v, %d of %q with %d bytes, but was from %v",
			c.RemoteAddr(), c.ID(), c.Endpoint().Path(), c.Buffered(), remote)
	}
	c.SetValue("kept")
	if c.Value() != "kept" {
		t.Errorf("its value is %v", c.Value())
	}
}

// TestLifeIdle: whatever comes from the peer, it is not idle. The time is moved, not waited for.
func TestLifeIdle(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		const timeout = time.Hour
		handles := make(chan *Conn, 1)
		srv := &Server{Poller: b}
		srv.Handle("/ws", Options{IdleTimeout: timeout, OnOpen: func(c *Conn, _ *Request) { handles <- c }})
		peer := lifeDial(t, lifeServe(t, srv), "/ws")
		c := lifeGet(t, handles, "the open event")
		text := lifeFrame(ws.OpText, "in two pieces")
		for _, input := range [][]byte{lifeFrame(ws.OpPong, ""), text[:1], text[1:], {0x89}, {0x80, 0, 0, 0, 0}} {
			long := c.silentFor(2 * timeout)
			peer.raw(input)
			lifeEventually(t, "something is heard", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.heard == long {
					return false
				}
				c.expire(srv.now()) // at once, so that no look comes when the next silence has begun
				return true
			})
		}
		peer.want(ws.OpPong, "")
		peer.ping("still here")
		c.silentFor(timeout)
		c.loop.sooner(c.slot, srv.now())
		peer.seenOff(CodeGoingAway, "idle timeout")
	})
}

// silentFor makes it so long since something was heard.
func (c *Conn) silentFor(d time.Duration) wheel.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = c.loop.srv.now() - ticksOf(d)
	return c.heard
}

// TestLifeIdleTicked: what goes to the peer is no sign of life from it.
func TestLifeIdleTicked(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	tick := PrepareText("tick")
	srv.Handle("/ws", Options{IdleTimeout: 30 * time.Millisecond, Every: time.Millisecond,
		OnTick: func(c *Conn) { c.Send(tick) }})
	lifeDial(t, lifeServe(t, srv), "/ws").seenOff(CodeGoingAway, "idle timeout")
}
