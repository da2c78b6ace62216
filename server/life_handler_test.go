//go:build linux

package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeHandlers puts f into each handler in turn, and does what makes the peer of a connection that
// has that handler call it.
var lifeHandlers = []struct {
	name    string
	set     func(o *Options, f func(*Conn))
	trigger func(peer *lifeClient)
}{
	{"OnOpen", func(o *Options, f func(*Conn)) { o.OnOpen = func(c *Conn, _ *Request) { f(c) } },
		func(*lifeClient) {}},
	{"OnMessage", func(o *Options, f func(*Conn)) { o.OnMessage = func(c *Conn, _ Message) { f(c) } },
		func(peer *lifeClient) { peer.text("now") }},
	{"OnTick", func(o *Options, f func(*Conn)) { o.Every, o.OnTick = time.Millisecond, f },
		func(*lifeClient) {}},
	{"OnClose", func(o *Options, f func(*Conn)) { o.OnClose = func(c *Conn, _ Closing) { f(c) } },
		func(peer *lifeClient) { peer.sayClose(CodeNormal, "") }},
}

// lifeEachHandler runs test for each handler, on each poller, and both where handlers run at first
// and where those of a slow endpoint do.
func lifeEachHandler(t *testing.T, test func(t *testing.T, b netpoll.Backend, handler int, where string)) {
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for i, h := range lifeHandlers {
			for _, where := range []string{"loop", "pool"} {
				t.Run(h.name+" on the "+where, func(t *testing.T) {
					t.Parallel()
					test(t, b, i, where)
				})
			}
		}
	})
}

// lifeSlow marks an endpoint slow for as long as a test may take.
func lifeSlow(ep *Endpoint) {
	until := ep.srv.now() + ticksOf(time.Hour/2)
	ep.slow.until.Store(uint32(until) | 1)
	ep.slowTicks.until.Store(uint32(until) | 1)
}

// TestLifePanic: a panic is logged with its stack and costs its own connection, and no other.
func TestLifePanic(t *testing.T) {
	t.Parallel()
	lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
		srv := lifeBreak(t, b, handler, where, lifePanic)
		logged := srv.Logger.Handler().(*lifeLog).find("handler panicked")
		if len(logged) != 1 || srv.Stats().Panics != 1 {
			t.Fatalf("one panic was logged as %v and counted %d times", logged, srv.Stats().Panics)
		}
		r := logged[0]
		if r["handler"] != lifeHandlers[handler].name || r["path"] != "/ws" || r["panic"] != "on purpose" ||
			!strings.Contains(r["stack"], "server.lifePanic") || !strings.HasPrefix(r["remote"], "127.0.0.1:") {
			t.Errorf("it was logged as %v", r)
		}
	})
}

func lifePanic(*Conn) { panic("on purpose") }

// TestLifeGoexit: a handler that ends its goroutine, as testing.T.FailNow does, costs its own
// connection. Its goroutine may have been the one that serves the loop.
func TestLifeGoexit(t *testing.T) {
	t.Parallel()
	lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
		lifeBreak(t, b, handler, where, func(*Conn) { runtime.Goexit() })
	})
}

// lifeBreak has a handler of one connection do something bad, and looks at that connection and at
// another one.
func lifeBreak(t *testing.T, b netpoll.Backend, handler int, where string, bad func(*Conn)) *Server {
	h := lifeHandlers[handler]
	ledger := newLifeLedger()
	places := make(chan string, 1)
	var o Options
	h.set(&o, func(c *Conn) {
		places <- lifeWhere()
		bad(c)
	})
	srv := &Server{Poller: b, Loops: 1, Logger: slog.New(new(lifeLog))}
	ep := srv.Handle("/ws", ledger.over(o))
	srv.Handle("/other", Options{OnMessage: lifeEcho})
	addr := lifeServe(t, srv)
	if where == "pool" {
		lifeSlow(ep)
	}
	other := lifeDial(t, addr, "/other")
	other.echo("before")
	peer := lifeDial(t, addr, "/ws")
	h.trigger(peer)
	// A machine under load may make any handler look slow, so the pool is always right.
	if got := lifeGet(t, places, "the handler"); got != where && got != "pool" {
		t.Errorf("it runs on the %s, want the %s", got, where)
	}
	want := lifeInternal
	if h.name == "OnClose" {
		want = Closing{Cause: PeerClosed, Code: CodeNormal}
		peer.wantClose(CodeNormal, "")
		peer.wantEOF()
	} else {
		peer.seenOff(CodeInternal, "internal error")
	}
	if why := lifeGet(t, ledger.ended, "the close event"); why != want {
		t.Errorf("closed by %+v, want %+v", why, want)
	}
	other.echo("after")
	lifeEventually(t, "the connection is out of the books", func() bool { return ep.Len() == 0 })
	lifeEventually(t, "no worker is held", func() bool {
		st := srv.Stats()
		return st.Handlers.Running == 0 && st.TickLane.Running == 0 && st.Closes.Running == 0
	})
	other.bye()
	lifeMust(t, srv.Shutdown(lifeContext(t)))
	ledger.check(t, 1)
	return srv
}

// TestLifeBrokenInTheMiddle: what came with the message whose handler broke is neither handled nor
// in the way, nor kept.
func TestLifeBrokenInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(){"panic": func() { panic("on purpose") }, "exit": runtime.Goexit} {
		for _, where := range []string{"loop", "pool"} {
			t.Run(name+" on the "+where, func(t *testing.T) {
				t.Parallel()
				lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
					ledger := newLifeLedger()
					srv := &Server{Poller: b}
					ep := srv.Handle("/ws", ledger.over(Options{OnMessage: func(c *Conn, m Message) {
						c.Write(m.Kind, m.Data)
						bad()
					}}))
					addr := lifeServe(t, srv)
					if where == "pool" {
						lifeSlow(ep)
					}
					peer := lifeDial(t, addr, "/ws")
					first, last := ws.NewFrame(ws.OpText, false, []byte("in two ")), ws.NewFrame(ws.OpContinuation, true, []byte("frames"))
					peer.raw(bytes.Join([][]byte{
						ws.MustCompileFrame(ws.MaskFrame(first)), ws.MustCompileFrame(ws.MaskFrame(last)),
						lifeFrame(ws.OpText, "second"), lifeFrame(ws.OpText, "third")[:9],
					}, nil))
					peer.want(ws.OpText, "in two frames")
					peer.wantClose(CodeInternal, "internal error")
					peer.Close() // in the middle of the third
					if why := lifeGet(t, ledger.ended, "the close event"); why != lifeInternal {
						t.Errorf("closed by %+v", why)
					}
					lifeMust(t, srv.Shutdown(lifeContext(t)))
					ledger.check(t, 1)
					if st := srv.Stats(); st.InboundHeld != 0 || st.OutboundHeld != 0 {
						t.Errorf("memory is left in the books: %d inbound, %d outbound", st.InboundHeld, st.OutboundHeld)
					}
				})
			})
		}
	}
}

// TestLifeCallBack calls what there is to call from inside each handler: nothing of it waits for the
// handler that it is called from.
func TestLifeCallBack(t *testing.T) {
	t.Parallel()
	word := PrepareText("word")
	for name, call := range map[string]struct {
		do    func(*Conn) error
		sees  func(peer *lifeClient)
		cause Cause
	}{
		"Close": {func(c *Conn) error { return c.Close() }, (*lifeClient).wantCut, ClosedLocally},
		"CloseWith": {func(c *Conn) error { return c.CloseWith(CodePolicy, "no") },
			func(peer *lifeClient) { peer.seenOff(CodePolicy, "no") }, ClosedLocally},
		"Server.Close":    {func(c *Conn) error { return c.Endpoint().srv.Close() }, (*lifeClient).wantCut, ShutDown},
		"Server.Shutdown": {lifeShutdownIn, func(peer *lifeClient) { peer.seenOff(CodeGoingAway, lifeGoodbye) }, ShutDown},
		"Broadcast and Conns": {func(c *Conn) error { return lifeSpeakToAll(c, word) },
			func(peer *lifeClient) {
				peer.want(ws.OpText, "word")
				peer.sayClose(CodeNormal, "")
				peer.wantClose(CodeNormal, "")
				peer.wantEOF()
			}, PeerClosed},
		"everything else": {lifeUseAll, func(peer *lifeClient) {
			peer.wantClose(CodeNormal, "used")
			peer.sayClose(CodeNormal, "")
			peer.wantEOF()
		}, ClosedLocally},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
				h := lifeHandlers[handler]
				ledger := newLifeLedger()
				returned := make(chan error, 1)
				once := make(chan struct{}, 1)
				var o Options
				h.set(&o, func(c *Conn) {
					select {
					case once <- struct{}{}:
						returned <- call.do(c)
					default: // a tick after the first
					}
				})
				srv := &Server{Poller: b}
				ep := srv.Handle("/ws", ledger.over(o))
				addr := lifeServe(t, srv)
				if where == "pool" {
					lifeSlow(ep)
				}
				peer := lifeDial(t, addr, "/ws")
				h.trigger(peer)
				err := lifeGet(t, returned, "the call")
				if h.name == "OnClose" {
					if err != nil && err != ErrClosed {
						t.Errorf("it answers %v", err)
					}
					return // the connection has ended as it was going to
				}
				lifeMust(t, err)
				call.sees(peer)
				if why := lifeGet(t, ledger.ended, "the close event"); why.Cause != call.cause {
					t.Errorf("closed by %+v", why)
				}
			})
		})
	}
}

func lifeShutdownIn(c *Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), lifeBound)
	defer cancel()
	return c.Endpoint().srv.Shutdown(ctx)
}

func lifeSpeakToAll(c *Conn, p *Prepared) error {
	n := 0
	for other := range c.Endpoint().Conns() {
		if other == c {
			n++
		}
	}
	tally := c.Endpoint().Broadcast(p)
	switch {
	case n == 0 && tally == Tally{}:
		return ErrClosed
	case n == 1 && tally.Sent+tally.Queued == 1:
		return nil
	}
	return errors.New("the caller's connection is not among all")
}

func lifeUseAll(c *Conn) error {
	c.SetValue(c.Value())
	c.Write(Text, nil)
	c.Buffered()
	c.RemoteAddr()
	c.Subprotocol()
	c.SetEvery(time.Hour)
	srv := c.Endpoint().srv
	srv.Stats()
	c.Endpoint().Len()
	srv.Handle("/more", Options{})
	return c.CloseWith(CodeNormal, "used")
}
