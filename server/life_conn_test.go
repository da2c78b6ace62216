//go:build linux

package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeHandle is a connection as both ends see it.
func lifeHandle(t *testing.T, o Options) (*Server, *Conn, *lifeClient) {
	handles := make(chan *Conn, 1)
	o.OnOpen = func(c *Conn, _ *Request) { handles <- c }
	srv := new(Server)
	srv.Handle("/ws", o)
	peer := lifeDial(t, lifeServe(t, srv), "/ws")
	return srv, lifeGet(t, handles, "the open event"), peer
}

func TestLifeCloseWithRefuses(t *testing.T) {
	t.Parallel()
	_, c, peer := lifeHandle(t, Options{})
	for _, x := range []struct {
		code   Code
		reason string
		want   error
	}{
		{0, "", ErrBadCode}, {999, "", ErrBadCode}, {1004, "", ErrBadCode}, {CodeNone, "", ErrBadCode},
		{CodeAbnormal, "", ErrBadCode}, {1015, "", ErrBadCode}, {1016, "", ErrBadCode}, {2999, "", ErrBadCode},
		{5000, "", ErrBadCode}, {65535, "", ErrBadCode},
		{CodeNormal, strings.Repeat("x", 124), ErrReasonTooLong},
		{CodeNormal, "\xff", ErrInvalidUTF8},
		{CodeNormal, strings.Repeat("é", 61) + "\xc3", ErrInvalidUTF8},
	} {
		if err := c.CloseWith(x.code, x.reason); err != x.want {
			t.Errorf("CloseWith(%d, %q): %v, want %v", x.code, x.reason, err, x.want)
		}
	}
	peer.ping("none of them was sent")
	long := strings.Repeat("x", 123)
	lifeMust(t, c.CloseWith(4999, long))
	peer.seenOff(4999, long)
}

func TestLifeSetEveryRefuses(t *testing.T) {
	t.Parallel()
	_, c, peer := lifeHandle(t, Options{OnTick: func(c *Conn) { c.WriteText("tick") }})
	for _, d := range []time.Duration{-1, -time.Hour, 1, time.Millisecond - 1, maxTimer + 1, 1 << 62} {
		if err := c.SetEvery(d); err == nil {
			t.Errorf("SetEvery(%v) is taken", d)
		}
	}
	peer.ping("no tick before this")
	for _, d := range []time.Duration{maxTimer, 0, time.Millisecond} {
		lifeMust(t, c.SetEvery(d))
	}
	peer.want(ws.OpText, "tick")
	lifeMust(t, c.SetEvery(0))
	peer.raw(lifeFrame(ws.OpPing, "the last tick is before this, or was under way"))
	for f := peer.next(); f.Header.OpCode != ws.OpPong; f = peer.next() {
	}
}

func TestLifeWriteRefuses(t *testing.T) {
	t.Parallel()
	_, c, peer := lifeHandle(t, Options{})
	for _, bad := range []string{"\xff", "a\xc3", "\xed\xa0\x80"} {
		_, text := c.WriteText(bad)
		outcome, write := c.Write(Text, []byte(bad))
		if text != ErrInvalidUTF8 || write != ErrInvalidUTF8 || outcome != Refused {
			t.Errorf("%q: %v, %v and %v", bad, outcome, text, write)
		}
		if _, err := Prepare(Text, []byte(bad)); err != ErrInvalidUTF8 {
			t.Errorf("Prepare %q: %v", bad, err)
		}
	}
	if outcome, err := c.Write(Binary, []byte("\xff")); outcome == Refused || err != nil {
		t.Errorf("binary: %v, %v", outcome, err)
	}
	peer.want(ws.OpBinary, "\xff")
	lifePanics(t, "PrepareText", func() { PrepareText("\xff") })
}

func lifePanics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

func TestLifeHandlePanics(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	srv.Handle("/taken", Options{})
	for what, bad := range map[string]struct {
		path string
		Options
	}{
		"no slash":              {path: "ws"},
		"no path":               {path: ""},
		"a path twice":          {path: "/taken"},
		"a negative size":       {"/1", Options{MaxMessage: -1}},
		"a negative backlog":    {"/2", Options{Backlog: -1}},
		"a negative buffer":     {"/3", Options{SendBuffer: -1}},
		"a negative interval":   {"/4", Options{Every: -time.Second}},
		"a short interval":      {"/5", Options{Every: time.Microsecond}},
		"a long interval":       {"/6", Options{Every: maxTimer + 1}},
		"a negative idle time":  {"/7", Options{IdleTimeout: -1}},
		"a long idle time":      {"/8", Options{IdleTimeout: maxTimer + 1}},
		"a long write time":     {"/9", Options{WriteTimeout: maxTimer + 1}},
		"a long message time":   {"/12", Options{MessageTimeout: maxTimer + 1}},
		"a huge message":        {"/13", Options{MaxMessage: maxMaxMessage + 1}},
		"a negative least":      {"/14", Options{Compression: Compression{MinSize: -1}}},
		"a small window":        {"/15", Options{Compression: Compression{WindowBits: 7}}},
		"a large window":        {"/16", Options{Compression: Compression{WindowBits: 16}}},
		"a negative level":      {"/17", Options{Compression: Compression{Level: -1}}},
		"a high level":          {"/18", Options{Compression: Compression{Level: 10}}},
		"a bad origin":          {"/10", Options{Origins: []string{"https://*"}}},
		"a bad subprotocol":     {"/11", Options{Subprotocols: []string{"chat", "a b"}}},
		"an empty subprotocol":  {"/12", Options{Subprotocols: []string{""}}},
		"an origin with a path": {"/13", Options{Origins: []string{"https://a.test/b"}}},
	} {
		lifePanics(t, what, func() { srv.Handle(bad.path, bad.Options) })
	}
	ep := srv.Handle("/fine", Options{Every: time.Millisecond, IdleTimeout: maxTimer, WriteTimeout: -1})
	if ep.Path() != "/fine" || ep.Len() != 0 {
		t.Errorf("the endpoint is %q with %d connections", ep.Path(), ep.Len())
	}
	for range ep.Conns() {
		t.Error("there are connections before the server serves")
	}
	if tally := ep.Broadcast(PrepareText("x")); tally != (Tally{}) {
		t.Errorf("a broadcast to nobody: %+v", tally)
	}
	if len(*srv.endpoints.Load()) != 2 {
		t.Error("a refused endpoint is there")
	}
}

// TestLifeHandleWhileServing: an endpoint may come late.
func TestLifeHandleWhileServing(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	addr := lifeServe(t, srv)
	if _, err := lifeTryDial(t, addr, "/late"); !errors.Is(err, ws.StatusError(404)) {
		t.Errorf("before: %v", err)
	}
	srv.Handle("/late", Options{OnMessage: lifeEcho})
	lifeDial(t, addr, "/late").echo("after")
}

func TestLifeConns(t *testing.T) {
	t.Parallel()
	const n = 20
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		ledger := newLifeLedger()
		srv := &Server{Poller: b, Loops: 3}
		handles := make(chan *Conn, n)
		ep := srv.Handle("/ws", ledger.over(Options{OnOpen: func(c *Conn, _ *Request) { handles <- c }}))
		srv.Handle("/other", Options{})
		addr := lifeServe(t, srv)
		want := map[*Conn]bool{}
		byAddr := map[string]*Conn{}
		ids := map[uint64]bool{}
		var peers []*lifeClient
		for range n {
			peers = append(peers, lifeDial(t, addr, "/ws"))
			c := lifeGet(t, handles, "the open event")
			want[c], ids[c.ID()], byAddr[c.RemoteAddr().String()] = true, true, c
			if c.Endpoint() != ep {
				t.Error("it belongs to another endpoint")
			}
		}
		lifeConnect(t, addr) // not open
		lifeDial(t, addr, "/other")
		if len(ids) != n || ep.Len() != n {
			t.Errorf("%d ids and %d connections, want %d", len(ids), ep.Len(), n)
		}
		for c := range ep.Conns() {
			if !want[c] {
				t.Errorf("connection %d comes twice, or should not", c.ID())
			}
			delete(want, c)
		}
		if len(want) > 0 {
			t.Errorf("%d connections do not come", len(want))
		}
		for range ep.Conns() {
			break // an iteration may end early
		}
		if tally := ep.Broadcast(PrepareText("all")); tally != (Tally{Sent: n}) {
			t.Errorf("broadcast: %+v", tally)
		}
		for _, peer := range peers {
			peer.want(ws.OpText, "all")
		}
		leaving := byAddr[peers[0].LocalAddr().String()]
		lifeMust(t, leaving.CloseWith(CodeNormal, ""))
		for c := range ep.Conns() {
			if c == leaving {
				t.Error("a connection that is closing comes")
			}
		}
		peers[0].seenOff(CodeNormal, "")
		lifeGet(t, ledger.ended, "the close event")
		lifeEventually(t, "it is out of the books", func() bool { return ep.Len() == n-1 })
		if tally := ep.Broadcast(PrepareText("rest")); tally != (Tally{Sent: n - 1}) {
			t.Errorf("broadcast: %+v", tally)
		}
	})
}

// TestLifeBroadcastOutcomes counts what becomes of a message: sent, queued and refused.
func TestLifeBroadcastOutcomes(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	handles := make(chan *Conn, 1)
	ep := srv.Handle("/ws", Options{SendBuffer: 4096, Backlog: 1 << 20, Overflow: Refuse,
		OnOpen: func(c *Conn, _ *Request) { handles <- c }})
	addr := lifeServe(t, srv)
	lifeDial(t, addr, "/ws")
	lifeGet(t, handles, "the open event")
	lifeDial(t, addr, "/ws")
	queued := lifeGet(t, handles, "the open event")
	for outcome := Sent; outcome != Queued; {
		var err error
		outcome, err = queued.Write(Binary, make([]byte, 100<<10))
		lifeMust(t, err)
	}
	lifeDial(t, addr, "/ws")
	full := lifeGet(t, handles, "the open event")
	lifeEventually(t, "each has its own outcome", func() bool {
		lifeFlood(full) // the kernel may have taken some more of it
		for err := error(nil); err == nil; _, err = full.WriteText("x") {
		}
		return ep.Broadcast(PrepareText("x")) == Tally{Sent: 1, Queued: 1, Refused: 1}
	})
}

// TestLifeConnsWhileTheyComeAndGo: who is there all the time comes in every iteration, once.
func TestLifeConnsWhileTheyComeAndGo(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		const steady, rounds = 10, 30
		ledger := newLifeLedger()
		srv := &Server{Poller: b, Loops: 2}
		opened := make(chan *Conn, steady)
		ep := srv.Handle("/ws", ledger.over(Options{OnOpen: func(c *Conn, r *Request) {
			if c.SetValue(r.RawQuery()); r.RawQuery() == "steady" {
				opened <- c
			}
		}}))
		addr := lifeServe(t, srv)
		var peers []*lifeClient
		for range steady {
			peers = append(peers, lifeDial(t, addr, "/ws?steady"))
			lifeGet(t, opened, "the open event")
		}
		var passing sync.WaitGroup
		for i := range 3 {
			passing.Go(func() {
				for range rounds {
					peer, err := lifeTryDial(t, addr, "/ws?passing")
					if err != nil {
						t.Errorf("a passing connection: %v", err)
						return
					}
					if i == 0 {
						peer.reset()
					}
					peer.Close()
				}
			})
		}
		word := PrepareText("word")
		gone := make(chan struct{})
		go func() { passing.Wait(); close(gone) }()
		for said := 0; said < 5 || !isClosed(gone); said++ {
			seen := map[*Conn]int{}
			for c := range ep.Conns() {
				if c.Value() == "steady" {
					seen[c]++
				}
			}
			for _, n := range seen {
				if n != 1 || len(seen) != steady {
					t.Fatalf("%d steady connections come, one of them %d times", len(seen), n)
				}
			}
			if tally := ep.Broadcast(word); tally.Sent+tally.Queued < steady {
				t.Fatalf("broadcast: %+v", tally)
			}
			for _, peer := range peers {
				peer.want(ws.OpText, "word")
			}
		}
		for _, peer := range peers {
			peer.bye()
		}
		lifeMust(t, srv.Shutdown(lifeContext(t)))
		ledger.check(t, len(ledger.events))
	})
}

// TestLifeRequest: what the open event says of the handshake.
func TestLifeRequest(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		srv := &Server{Poller: b}
		got := make(chan string, 1)
		ep := srv.Handle("/a path", Options{Subprotocols: []string{"chat"}, OnOpen: func(_ *Conn, r *Request) {
			got <- lifeDescribe(r)
		}})
		addr := lifeServe(t, srv)
		for _, where := range []string{"loop", "pool"} {
			if where == "pool" {
				lifeSlow(ep)
			}
			peer := lifeConnect(t, addr)
			peer.raw([]byte(lifeRequest))
			resp, _ := peer.response(101)
			if sub := resp.Header.Get("Sec-WebSocket-Protocol"); sub != "chat" {
				t.Errorf("subprotocol %q", sub)
			}
			want := lifeDescription(peer.LocalAddr().String(), addr)
			if s := lifeGet(t, got, "the open event"); s != want {
				t.Errorf("on the %s the request is\n%s, want\n%s", where, s, want)
			}
		}
	})
}

const lifeRequest = "GET /a%20path?x=1&y=%41&x=2&bad=%zz HTTP/1.1\r\nHost: stillpool.test:81\r\nConnection: keep-alive, Upgrade\r\n" +
	"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"X-Many: one\r\nx-many: two\r\nCookie: a=b\r\nSec-WebSocket-Protocol: soap, chat\r\n\r\n"

// lifeDescribe says everything that a Request tells.
func lifeDescribe(r *Request) string {
	return fmt.Sprintf("path %s ? %s, x %q, y %q, bad %v\nhost %s %s %q\nheaders %q %q %q %q\nprotocol %s of %q\nfrom %v to %v",
		r.Path(), r.RawQuery(), r.Query()["x"], r.Query().Get("y"), r.Query().Has("bad"),
		r.Host(), r.Header("Host"), r.Headers("host"),
		r.Header("COOKIE"), r.Headers("X-Many"), r.Header("X-None"), r.Headers("X-None"),
		r.Subprotocol(), r.Header("sec-websocket-protocol"),
		r.RemoteAddr(), r.LocalAddr())
}

// lifeDescription is that of lifeRequest.
func lifeDescription(from, to string) string {
	return `path /a path ? x=1&y=%41&x=2&bad=%zz, x ["1" "2"], y "A", bad false
host stillpool.test:81 stillpool.test:81 ["stillpool.test:81"]
headers "a=b" ["one" "two"] "" []
protocol chat of "soap, chat"
from ` + from + " to " + to
}

// TestLifeUnixAddresses: a unix socket's peer has no address.
func TestLifeUnixAddresses(t *testing.T) {
	t.Parallel()
	got := make(chan []netip.AddrPort, 1)
	srv := new(Server)
	srv.Handle("/ws", Options{OnOpen: func(c *Conn, r *Request) {
		got <- []netip.AddrPort{c.RemoteAddr(), r.RemoteAddr(), r.LocalAddr()}
	}})
	l := lifeUnix(t)
	lifeServeOn(t, srv, l)
	lifeDial(t, l.Addr().String(), "/ws")
	if all := lifeGet(t, got, "the open event"); slices.ContainsFunc(all, netip.AddrPort.IsValid) {
		t.Errorf("addresses %v", all)
	}
}

// TestLifeStatsAtAnyTime is for the race detector: Stats may be called while the server opens.
func TestLifeStatsAtAnyTime(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	ep := srv.Handle("/ws", Options{})
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for range 2 {
		looking.Go(func() {
			for !isClosed(stop) {
				srv.Stats()
				ep.Broadcast(PrepareText("x"))
			}
		})
	}
	addr := lifeServe(t, srv)
	lifeDial(t, addr, "/ws").want(ws.OpText, "x")
	close(stop)
	looking.Wait()
}
