//go:build linux

package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// TestCloseEachOther: two handlers, of connections that are both still there, each close the other's
// connection, and then their own, at the same moment.
func TestCloseEachOther(t *testing.T) {
	t.Parallel()
	calls := map[string]func(*Conn){
		"Close": func(c *Conn) { c.Close() }, "CloseWith": func(c *Conn) { c.CloseWith(CodePolicy, "no") },
		"Broadcast": func(c *Conn) { c.Endpoint().Broadcast(PrepareText("word")) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
				h, ledger := lifeHandlers[handler], newLifeLedger()
				var both [2]atomic.Pointer[Conn]
				var count, closed atomic.Int64
				var there, here, done sync.WaitGroup // both are open; both handlers run; both have returned
				there.Add(2)
				here.Add(2)
				done.Add(2)
				var o Options
				h.set(&o, func(c *Conn) {
					if c.Value() == "met" {
						return // a tick after the first
					}
					c.SetValue("met")
					there.Done()
					there.Wait()
					other := both[0].Load()
					if other == c {
						other = both[1].Load()
					}
					here.Done()
					here.Wait()
					defer done.Done()
					call(other)
					call(c)
				})
				open := o.OnOpen
				o.OnOpen = func(c *Conn, r *Request) {
					both[count.Add(1)-1].Store(c)
					if open != nil {
						open(c, r)
					}
				}
				onClose := o.OnClose
				o.OnClose = func(c *Conn, why Closing) {
					closed.Add(1)
					if onClose != nil {
						onClose(c, why)
					}
				}
				srv := &Server{Poller: b, Loops: 1}
				ep := srv.Handle("/ws", ledger.over(o))
				addr := lifeServe(t, srv)
				if where == "pool" {
					lifeSlow(ep)
				}
				peers := []*misPeer{newMisPeer(t, addr, "/ws"), newMisPeer(t, addr, "/ws")}
				for _, p := range peers {
					defer close(p.wanted)
				}
				lifeEventually(t, "both are there", func() bool { return count.Load() == 2 })
				for _, p := range peers {
					switch h.name {
					case "OnMessage":
						p.wanted <- "now"
					case "OnClose":
						p.wanted <- ""
					}
				}
				over := make(chan struct{})
				go func() { done.Wait(); close(over) }()
				lifeGet(t, over, "the handlers")
				lifeMust(t, srv.Shutdown(lifeContext(t)))
				lifeGet(t, peers[0].gone, "the end of a peer")
				lifeGet(t, peers[1].gone, "the end of a peer")
				lifeEnd(t, srv)
				ledger.check(t, 2)
				if st := srv.Stats(); st.Closed != 2 || closed.Load() != 2 || st.Panics != 0 {
					t.Errorf("%d connections are closed, %d close events, %d panics", st.Closed, closed.Load(), st.Panics)
				}
			})
		})
	}
}

// TestShutdownByAGoroutine: a handler that waits for a goroutine of its own that calls Shutdown is not known
// to be inside, so it is waited for as any other is: until the end of the context, and then all are cut off.
func TestShutdownByAGoroutine(t *testing.T) {
	t.Parallel()
	lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
		h, ledger := lifeHandlers[handler], newLifeLedger()
		srv := &Server{Poller: b, Loops: 1}
		ended := make(chan error, 1)
		var once atomic.Bool
		var o Options
		h.set(&o, func(*Conn) {
			if once.Swap(true) {
				return
			}
			answer := make(chan error)
			ctx, cancel := context.WithCancel(context.Background())
			go func() { answer <- srv.Shutdown(ctx) }()
			for !srv.Draining() {
				time.Sleep(time.Millisecond)
			}
			cancel()
			ended <- <-answer
		})
		ep := srv.Handle("/ws", ledger.over(o))
		addr := lifeServe(t, srv)
		if where == "pool" {
			lifeSlow(ep)
		}
		p := newMisPeer(t, addr, "/ws")
		defer close(p.wanted)
		switch h.name {
		case "OnMessage":
			p.wanted <- "now"
		case "OnClose":
			p.wanted <- ""
		}
		if err := lifeGet(t, ended, "Shutdown"); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown answers %v", err)
		}
		lifeGet(t, p.gone, "the end of the peer")
		lifeEnd(t, srv)
		ledger.check(t, 1)
	})
}

// TestAllAtOnceFromInside: many handlers at the same moment end their server, or all of its connections.
func TestAllAtOnceFromInside(t *testing.T) {
	t.Parallel()
	const conns = 300 // which is more than a page of the table
	for name, call := range map[string]func(s *Server, c *Conn) error{
		"Shutdown":     func(s *Server, _ *Conn) error { return s.Shutdown(context.Background()) },
		"Server.Close": func(s *Server, _ *Conn) error { return s.Close() },
		"close all": func(_ *Server, c *Conn) error {
			for other := range c.Endpoint().Conns() {
				other.CloseWith(CodeGoingAway, "all")
			}
			return nil
		},
		"Broadcast": func(_ *Server, c *Conn) error {
			c.Endpoint().Broadcast(PrepareText("word"))
			return nil
		},
		"broadcast nil": func(_ *Server, c *Conn) error {
			c.Endpoint().Broadcast(nil)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
				ledger, srv := newLifeLedger(), &Server{Poller: b}
				var here sync.WaitGroup
				here.Add(conns)
				srv.Handle("/ws", ledger.over(Options{OnMessage: func(c *Conn, _ Message) {
					here.Done()
					here.Wait()
					if err := call(srv, c); err != nil {
						t.Error(err)
					}
				}}))
				addr := lifeServe(t, srv)
				peers := make([]*misPeer, conns)
				for i := range peers {
					peers[i] = newMisPeer(t, addr, "/ws")
					defer close(peers[i].wanted)
				}
				lifeEventually(t, "all are there", func() bool { return ledger.conns() == conns })
				for _, p := range peers {
					p.wanted <- "now"
				}
				done := make(chan struct{})
				go func() { here.Wait(); close(done) }()
				lifeGet(t, done, "all handlers at once")
				lifeMust(t, srv.Shutdown(lifeContext(t)))
				for _, p := range peers {
					lifeGet(t, p.gone, "the end of a peer")
				}
				lifeEnd(t, srv)
				ledger.check(t, conns)
				if st := srv.Stats(); st.Closed != conns {
					t.Errorf("%d are closed, want %d", st.Closed, conns)
				}
			})
		})
	}
}

// misLog is a log that can't write what a handler panicked with.
type misLog struct{ *lifeLog }

func (l misLog) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if _, ok := a.Value.Any().(misText); ok {
			panic("no text")
		}
		return true
	})
	return l.lifeLog.Handle(ctx, r)
}

// TestPanicThatCannotBeLogged is logged without what it is.
func TestPanicThatCannotBeLogged(t *testing.T) {
	t.Parallel()
	lifeEachHandler(t, func(t *testing.T, b netpoll.Backend, handler int, where string) {
		h, ledger, log := lifeHandlers[handler], newLifeLedger(), misLog{new(lifeLog)}
		var o Options
		h.set(&o, func(*Conn) { panic(misText{}) })
		srv := &Server{Poller: b, Loops: 1, Logger: slog.New(log)}
		ep := srv.Handle("/ws", ledger.over(o))
		addr := lifeServe(t, srv)
		if where == "pool" {
			lifeSlow(ep)
		}
		p := newMisPeer(t, addr, "/ws")
		defer close(p.wanted)
		switch h.name {
		case "OnMessage":
			p.wanted <- "now"
		case "OnClose":
			p.wanted <- ""
		}
		lifeGet(t, p.gone, "the end of the peer")
		lifeMust(t, srv.Shutdown(lifeContext(t)))
		lifeEnd(t, srv)
		ledger.check(t, 1)
		logged := log.find("handler panicked")
		if len(logged) != 1 || logged[0]["panic"] != "a server.misText that can't be logged" || srv.Stats().Panics != 1 {
			t.Errorf("logged %v, counted %d", logged, srv.Stats().Panics)
		}
	})
}
