//go:build linux

package server

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// This file has each kind of handler do each thing that a handler should not, or need not expect to get away
// with: to the connection it was called for, to another one, to the server and to itself.

// misdeed is what a handler does.
type misdeed struct {
	name string
	// do gets the connection that it does something with; it is nil in Authorize, which has none yet, where
	// it is the culprit's own.
	do     func(s *misScene, c *Conn)
	breaks bool // the handler does not return
	ends   bool // the server
	heavy  bool // in memory or time, so that not all are done at once
	ofConn bool // it is about a connection, one's own or another
}

var misdeeds = []misdeed{
	{name: "block", do: func(s *misScene, _ *Conn) { <-s.gate }},
	{name: "panic", do: func(*misScene, *Conn) { panic("on purpose") }, breaks: true},
	{name: "panic with nil", do: func(*misScene, *Conn) { panic(nil) }, breaks: true},
	{name: "panic with what panics", do: func(*misScene, *Conn) { panic(misText{}) }, breaks: true},
	{name: "dereference nil", do: func(*misScene, *Conn) { misNil.Store(misNowhere().Load()) }, breaks: true},
	{name: "panic deep down", do: func(*misScene, *Conn) { lifeDeep(100_000, func() { panic("deep down") }) }, breaks: true, heavy: true},
	{name: "Goexit", do: func(*misScene, *Conn) { runtime.Goexit() }, breaks: true},
	{name: "allocate 100 MB", do: func(*misScene, *Conn) { misTouch(min(100<<20, math.MaxInt>>8)) }, heavy: true}, // 8 MB of 32 bits of addresses
	{name: "Close", do: func(_ *misScene, c *Conn) { c.Close() }, ofConn: true},
	{name: "CloseWith", do: func(_ *misScene, c *Conn) { c.CloseWith(CodePolicy, "no") }, ofConn: true},
	{name: "CloseWith and Close", do: func(_ *misScene, c *Conn) { c.CloseWith(CodePolicy, "no"); c.Close(); c.Close() }, ofConn: true},
	{name: "Send", do: func(s *misScene, c *Conn) { c.Send(s.word) }, ofConn: true},
	{name: "Write", do: func(_ *misScene, c *Conn) { c.Write(Text, []byte("word")) }, ofConn: true},
	{name: "Forward", do: func(_ *misScene, c *Conn) { c.Forward(Message{Kind: Text, Data: []byte("word")}) }, ofConn: true},
	{name: "SetEvery", do: func(_ *misScene, c *Conn) { c.SetEvery(time.Hour) }, ofConn: true},
	{name: "SetValue", do: func(_ *misScene, c *Conn) { c.SetValue(c.Value()) }, ofConn: true},
	{name: "Buffered", do: func(_ *misScene, c *Conn) { c.Buffered() }, ofConn: true},
	{name: "Broadcast", do: func(s *misScene, _ *Conn) { s.ep.Broadcast(s.word) }},
	{name: "close all", do: func(s *misScene, _ *Conn) {
		for c := range s.ep.Conns() {
			c.Close()
		}
	}},
	{name: "Stats", do: func(s *misScene, _ *Conn) { s.srv.Stats() }},
	{name: "Healthy", do: func(s *misScene, _ *Conn) {
		if err := s.srv.Healthy(s.ctx); err != nil {
			s.wrong(err)
		}
	}},
	{name: "Server.Close", do: func(s *misScene, _ *Conn) { s.srv.Close() }, ends: true},
	{name: "Shutdown", do: func(s *misScene, _ *Conn) {
		if err := s.srv.Shutdown(s.ctx); err != nil {
			s.wrong(err)
		}
	}, ends: true},
}

// misText is a value that nobody can write into a log.
type misText struct{}

func (misText) Error() string { panic("no text") }

var misNil atomic.Int64

// misNowhere is what a program gets that forgot to set something.
//
//go:noinline
func misNowhere() *atomic.Int64 { return nil }

// misTouch has so many bytes for a moment, of which each page is there.
func misTouch(n int) {
	p := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		p[i] = 1
	}
	runtime.KeepAlive(p)
}

// misManners are who does it: the handler, a goroutine that it waits for, or one that goes on without it.
var misManners = map[string]func(do func()){
	"itself": func(do func()) { do() },
	"by a goroutine": func(do func()) {
		var done sync.WaitGroup
		done.Go(do)
		done.Wait()
	},
	"and leaves it to a goroutine": func(do func()) { go do() },
}

// misScene is a server with three connections: one whose handler misbehaves, one that it may do it to, and
// one that has nothing to do with it.
type misScene struct {
	srv  *Server
	ep   *Endpoint // of the first two
	word *Prepared
	ctx  context.Context
	gate chan struct{} // closed when handlers that block may go on

	misdeed misdeed
	manner  func(do func())
	victim  atomic.Pointer[Conn]
	once    atomic.Bool
	begun   chan struct{} // the misdeed begins
	over    chan struct{} // it is over, however

	mu   sync.Mutex
	errs []error
}

func (s *misScene) wrong(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// handle is what the handler does that misbehaves, the first time that it is called. Later ticks are good.
func (s *misScene) handle(own *Conn, toOther bool) {
	if !s.once.CompareAndSwap(false, true) {
		return
	}
	c := own
	if toOther || c == nil {
		c = s.victim.Load()
	}
	s.manner(func() {
		defer close(s.over)
		close(s.begun)
		s.misdeed.do(s, c)
	})
}

// misKinds are the kinds of handlers: where to put one, and what makes the server call it for a connection to
// "/ws?culprit".
func misHandlers(s *misScene, kind string, toOther bool) Options {
	culprit := func(c *Conn) bool { return c.Value() == "culprit" }
	o := Options{
		OnOpen: func(c *Conn, r *Request) {
			c.SetValue(r.RawQuery())
			if !culprit(c) {
				s.victim.Store(c)
			} else if kind == "OnOpen" {
				s.handle(c, toOther)
			} else if kind == "OnTick" {
				c.SetEvery(time.Millisecond)
			}
		},
		OnMessage: func(c *Conn, m Message) {
			if culprit(c) && kind == "OnMessage" {
				s.handle(c, toOther)
			}
			c.Write(m.Kind, m.Data)
		},
		OnTick: func(c *Conn) { s.handle(c, toOther) },
		OnClose: func(c *Conn, _ Closing) {
			if culprit(c) && kind == "OnClose" {
				s.handle(c, toOther)
			}
		},
	}
	if kind == "Authorize" {
		o.Authorize = func(r *http.Request) (Grant, error) {
			if r.URL.RawQuery == "culprit" {
				s.handle(nil, toOther)
			}
			return Grant{}, nil
		}
	}
	return o
}

var misKinds = []string{"OnOpen", "OnMessage", "OnTick", "OnClose", "Authorize"}

// misPeer is a peer that is good whatever comes: it answers a close frame, and reads to the end.
type misPeer struct {
	wanted chan string // what it is to say
	gone   chan struct{}
}

func newMisPeer(t *testing.T, addr, path string) *misPeer {
	p := &misPeer{wanted: make(chan string, 1), gone: make(chan struct{})}
	go func() {
		defer close(p.gone)
		c, err := lifeTryDial(t, addr, path)
		if err != nil {
			return
		}
		go func() {
			for s := range p.wanted {
				if s == "" {
					c.Write(lifeFrame(ws.OpClose, "\x03\xe8"))
				} else {
					c.Write(lifeFrame(ws.OpText, s))
				}
			}
		}()
		for {
			f, err := lifeReadFrame(c.r)
			if err != nil {
				return
			}
			if f.Header.OpCode == ws.OpClose {
				c.Write(ws.MustCompileFrame(ws.MaskFrame(f)))
				io.Copy(io.Discard, c.r)
				return
			}
		}
	}()
	return p
}

// TestMisbehaviour is every misdeed in every handler: the others get on meanwhile, nothing waits for ever, and
// each connection is closed once.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	heavy := make(chan struct{}, 2)
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for _, m := range misdeeds {
			for _, kind := range misKinds {
				for _, where := range []string{"loop", "pool"} {
					for manner, by := range misManners {
						for _, toOther := range []bool{false, true} {
							switch {
							case m.breaks && manner != "itself": // a goroutine of the program's own ends the program
							case toOther && (!m.ofConn || kind == "Authorize"):
							case kind == "Authorize" && where == "loop": // it never runs there
							case m.name == "Shutdown" && manner == "by a goroutine": // see TestShutdownByAGoroutine
							default:
								name := m.name + " in " + kind + " on the " + where + ", " + manner
								if toOther {
									name += ", to another"
								}
								t.Run(name, func(t *testing.T) {
									t.Parallel()
									if m.heavy {
										heavy <- struct{}{}
										defer func() { <-heavy }()
									}
									s := &misScene{
										misdeed: m, manner: by, word: PrepareText("word"), ctx: lifeContext(t),
										gate: make(chan struct{}), begun: make(chan struct{}), over: make(chan struct{}),
									}
									s.play(t, b, kind, where, toOther)
								})
							}
						}
					}
				}
			}
		}
	})
}

func (s *misScene) play(t *testing.T, b netpoll.Backend, kind, where string, toOther bool) {
	ledger := newLifeLedger()
	s.srv = &Server{Poller: b, Loops: 1}
	s.ep = s.srv.Handle("/ws", ledger.over(misHandlers(s, kind, toOther)))
	s.srv.Handle("/other", ledger.over(Options{OnMessage: lifeEcho}))
	addr := lifeServe(t, s.srv)
	if where == "pool" {
		lifeSlow(s.ep)
	}
	bystander := lifeDial(t, addr, "/other")
	bystander.echo("before")
	victim := newMisPeer(t, addr, "/ws?victim")
	lifeEventually(t, "the victim is there", func() bool { return s.victim.Load() != nil })

	culprit := newMisPeer(t, addr, "/ws?culprit")
	switch kind {
	case "OnMessage":
		culprit.wanted <- "now"
	case "OnClose":
		culprit.wanted <- ""
	}
	lifeGet(t, s.begun, "the misdeed")
	if !s.misdeed.ends {
		bystander.echo("meanwhile")
		bystander.ping("meanwhile")
	} else {
		bystander.Close() // so that it is not waited for
	}
	close(s.gate)
	lifeGet(t, s.over, "the end of the misdeed")
	if s.misdeed.breaks {
		lifeGet(t, culprit.gone, "the end of whose handler broke")
	}
	if kind == "Authorize" && !s.misdeed.breaks && !s.misdeed.ends {
		lifeEventually(t, "the culprit is let in", func() bool { return ledger.conns() == 3 })
	}
	if !s.misdeed.ends {
		bystander.echo("after")
		bystander.bye()
	}
	lifeMust(t, s.srv.Shutdown(lifeContext(t)))
	for _, p := range []*misPeer{victim, culprit} {
		lifeGet(t, p.gone, "the end of a peer")
		close(p.wanted)
	}
	lifeEnd(t, s.srv)
	s.judge(t, kind, ledger)
}

// judge looks at the books when all is over.
func (s *misScene) judge(t *testing.T, kind string, ledger *lifeLedger) {
	st := s.srv.Stats()
	conns, closed := 3, uint64(3)
	if kind == "Authorize" && s.misdeed.breaks {
		conns, closed = 2, 2 // the culprit was turned away
	}
	if kind == "Authorize" && s.misdeed.ends {
		conns, closed = ledger.conns(), st.Closed // or let in just before, and perhaps cut off before its open event
	}
	ledger.check(t, conns)
	if st.Closed != closed || closed < uint64(conns) || closed > 3 {
		t.Errorf("%d connections are counted as closed, want %d", st.Closed, closed)
	}
	want := uint64(0)
	if s.misdeed.breaks {
		want = 1
	}
	if st.Panics != want || len(s.srv.Logger.Handler().(*lifeLog).find("handler panicked")) != int(want) {
		t.Errorf("%d panics are counted, want %d", st.Panics, want)
	}
	if broken := want == 1 && kind != "OnClose" && kind != "Authorize"; (st.ClosedByCause[Panicked] == 1) != broken {
		t.Errorf("closed by cause: %v", st.ClosedByCause)
	}
	if err := errors.Join(s.errs...); err != nil {
		t.Error(err)
	}
}
