//go:build linux

package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server/wheel"
)

// drained begins a Shutdown and returns when each of its connections has its share of the time, or is
// told already.
func drained(t *testing.T, s *Server, ctx context.Context, conns int) <-chan error {
	t.Helper()
	done := lifeShut(s, ctx)
	await(t, "the shares are given", func() bool {
		n := 0
		s.everyConn(func(c *Conn) {
			if c.parting() || c.state.has(stCloseSent) {
				n++
			}
		})
		return n == conns
	})
	return done
}

// partNow makes c's share of the time one that is over.
func partNow(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share = 1
	c.placeSooner()
}

// TestGoodbyesAreSpread: each part of the time has its share of goodbyes, each connection's place in the
// wheel comes up by then, and before then it is told nothing.
func TestGoodbyesAreSpread(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const conns, parts = 256, 16
		s.DrainTime = time.Hour
		ep := s.Handle("/", Options{})
		addr := serve(t, s)
		for range conns {
			open(t, addr, "/")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := drained(t, s, ctx, conns)
		start, window := s.goodbyes.start, s.goodbyes.window
		if window != ticksOf(time.Hour) {
			t.Errorf("the time is %d ms", window)
		}
		var share [parts]int
		for _, l := range s.loops() {
			l.each(func(c *Conn) bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				l.mu.Lock()
				defer l.mu.Unlock()
				due := c.partsAt()
				place, ok := l.wheel.Due(c.slot)
				if told := c.state.has(stCloseSent); told && s.now().Before(due) {
					t.Errorf("told before its time")
				} else if !told && (!ok || due.Before(place)) && !due.Before(start) {
					t.Errorf("due at %d, the place comes up at %d, %v", due, place, ok)
				}
				share[uint64(c.share)*parts>>16]++
				if off := int32(due - start - wheel.Time(uint64(window)*uint64(c.share)>>16)); off > 0 || off <= -int32(s.goodbyes.grain) {
					t.Errorf("due %d ms from its share", off)
				}
				return true
			})
		}
		for i, n := range share {
			if n < conns/parts-4 || n > conns/parts+4 {
				t.Errorf("part %d of the time has %d of %d goodbyes: %v", i, n, conns, share)
			}
		}
		if n := ep.Len(); s.Stats().Parting > n {
			t.Errorf("%d are to be told, of %d", s.Stats().Parting, n)
		}
		cancel()
		if err := receive(t, "the end of Shutdown", done); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// TestDraining: until a connection is told goodbye it is served as ever, others are told when to come,
// and plain requests have their answers. It is told once, and not before Draining.
func TestDraining(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.DrainTime, s.DrainCode, s.DrainReason = maxTimer, CodeRestart, "moving"
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
		ticks, early := make(chan bool), make(chan bool, 10)
		j := newJournal()
		ep := s.Handle("/", j.keep(Options{OnMessage: echo, Every: 10 * time.Millisecond, OnTick: func(c *Conn) {
			select {
			case ticks <- true:
			default:
			}
		}, OnClose: func(*Conn, Closing) { early <- !s.Draining() }}))
		addr := serve(t, s)
		mounted := httptest.NewServer(ep)
		defer mounted.Close()
		first, second, third := open(t, addr, "/"), open(t, addr, "/"), open(t, addr, "/")
		var conns []*Conn
		for range 3 {
			conns = append(conns, j.want(t, "open").conn)
		}
		if s.Draining() {
			t.Error("draining before Shutdown")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := drained(t, s, ctx, 3)
		wantStay := func(p *peer) {
			t.Helper()
			p.send(frame(ws.OpText, "still here"))
			p.want(ws.OpText, "still here")
			j.want(t, "message")
		}
		wantStay(first)
		receive(t, "a tick", ticks)

		least := int(maxTimer.Seconds()) - int(bound.Seconds())
		for name, at := range map[string]string{"its own port": addr, "mounted": strings.TrimPrefix(mounted.URL, "http://")} {
			late := dial(t, at)
			late.send(upgradeTo("/"))
			after, err := strconv.Atoi(late.refusedAfter())
			if err != nil || after < least || after > least*5/4+2*int(bound.Seconds()) {
				t.Errorf("%s: Retry-After is %d, %v; want %d and up to a quarter more", name, after, err, least)
			}
		}
		plain := dial(t, addr)
		plain.send(headOf("GET /health HTTP/1.1", "Host: a"))
		if head := plain.answer(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("a plain request: %q", head)
		}
		must(t, plain.conn.Close())

		byConn := map[*Conn]*peer{conns[0]: first, conns[1]: second, conns[2]: third}
		bye := Closing{Cause: ShutDown, Code: CodeRestart, Reason: "moving"}
		partNow(conns[1])
		byConn[conns[1]].wantClose(CodeRestart, "moving")
		byConn[conns[1]].send(closeFrame(CodeRestart, ""))
		byConn[conns[1]].wantEnd()
		j.wantClose(t, bye)
		wantStay(byConn[conns[0]])
		byConn[conns[2]].send(closeFrame(CodeNormal, "")) // one that leaves by itself need not be told
		j.wantClose(t, Closing{Cause: PeerClosed, Code: CodeNormal})
		await(t, "one is left", func() bool { return s.Stats().Parting == 1 })
		lifeStillBusy(t, done, "the last one")
		partNow(conns[0])
		byConn[conns[0]].wantClose(CodeRestart, "moving")
		byConn[conns[0]].send(closeFrame(CodeRestart, ""))
		must(t, receive(t, "the end of Shutdown, long before its time", done))
		j.wantClose(t, bye)
		for range 3 {
			if <-early {
				t.Error("closed before Draining")
			}
		}
		if len(j) > 0 {
			t.Errorf("another event: %+v", <-j)
		}
	})
}

// refusedAfter reads a 503, and returns its Retry-After.
func (p *peer) refusedAfter() string {
	p.t.Helper()
	head := p.answer()
	_, after, _ := strings.Cut(head, "\r\nRetry-After: ")
	after, _, _ = strings.Cut(after, "\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 503 ") {
		p.t.Errorf("answered %q", head)
	}
	return after
}

// TestDrainEndsAtOnce: at the end of its context all who are left are told, and cut off.
func TestDrainEndsAtOnce(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.DrainTime = maxTimer
		j := newJournal()
		s.Handle("/", j.keep(Options{}))
		addr := serve(t, s)
		var peers []*peer
		for range 5 {
			peers = append(peers, open(t, addr, "/"))
			j.want(t, "open")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := drained(t, s, ctx, len(peers))
		lifeStillBusy(t, done, "the connections")
		cancel()
		if err := receive(t, "the end of Shutdown", done); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		for _, p := range peers {
			p.wantClose(CodeGoingAway, lifeGoodbye)
			p.wantEnd()
			j.wantClose(t, goingAway)
		}
	})
}

// TestDrain is the whole of it, by the clock: nobody is told before its slot, everybody once.
func TestDrain(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const conns = 100
		s.DrainTime = 200 * time.Millisecond
		type end struct {
			conn *Conn
			why  Closing
		}
		ends := make(chan end, 2*conns)
		// The ticks have each place come up before its time.
		s.Handle("/", Options{Every: 5 * time.Millisecond, OnTick: func(*Conn) {}, OnClose: func(c *Conn, why Closing) {
			if s.now().Before(c.partsAt()) {
				t.Errorf("told at %d, due at %d", s.now(), c.partsAt())
			}
			ends <- end{c, why}
		}})
		addr := serve(t, s)
		var peers []*peer
		for range conns {
			peers = append(peers, open(t, addr, "/"))
		}
		await(t, "all are open", func() bool { return s.Stats().Conns == conns })
		done := lifeShut(s, lifeContext(t))
		for _, p := range peers {
			go func() {
				if h, _, err := p.tryFrame(); err == nil && h.OpCode == ws.OpClose {
					p.conn.Write(closeFrame(CodeGoingAway, ""))
				}
			}()
		}
		must(t, receive(t, "the end of Shutdown", done))
		seen := map[*Conn]bool{}
		for range conns {
			e := receive(t, "a close event", ends)
			if seen[e.conn] || e.why != goingAway {
				t.Errorf("closed by %+v, before as well: %v", e.why, seen[e.conn])
			}
			seen[e.conn] = true
		}
		if len(ends) > 0 {
			t.Error("closed twice")
		}
	})
}

// TestDrainDelay: while it lasts the server is not ready, and that is all; then come the goodbyes.
func TestDrainDelay(t *testing.T) {
	for name, end := range map[string]func(*Server, context.CancelFunc){
		"its time is over": func(s *Server, _ context.CancelFunc) { s.goodbyes.delay.Reset(0) },
		"the context ends": func(_ *Server, cancel context.CancelFunc) { cancel() },
		"the server ends":  func(s *Server, _ context.CancelFunc) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				s.DrainDelay, s.CloseTimeout = maxTimer, 10*time.Millisecond
				j := newJournal()
				s.Handle("/", j.keep(Options{OnMessage: echo}))
				addr := serve(t, s)
				open(t, addr, "/")
				j.want(t, "open")
				ctx, cancel := context.WithCancel(t.Context()) // without a deadline, which would shorten the delay
				defer cancel()
				done := lifeShut(s, ctx)
				await(t, "it is not ready any more", func() bool { return s.Ready() == ErrServerClosed })
				p := open(t, addr, "/")
				j.want(t, "open")
				p.send(frame(ws.OpText, "late"))
				p.want(ws.OpText, "late")
				lifeStillBusy(t, done, "the delay")
				if s.Draining() {
					t.Error("it drains already")
				}
				end(s, cancel)
				if receive(t, "the end of Shutdown", done); !s.Draining() {
					t.Error("it does not drain")
				}
			})
		})
	}
}

// TestDrainNobody: with nobody to tell, it takes no time.
func TestDrainNobody(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*Server){
		"never served": func(*Server) {},
		"nobody came":  func(s *Server) { serve(t, s) },
		"half a handshake": func(s *Server) {
			p := dial(t, serve(t, s))
			p.send([]byte("GET / HTTP/1.1\r\n"))
			await(t, "it is there", func() bool { return s.Stats().Conns == 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{DrainTime: maxTimer, Logger: quiet}
			begin(s)
			must(t, s.Shutdown(lifeContext(t)))
		})
	}
}

// TestDrainedMounted: whoever comes to an endpoint in somebody else's http.Server when its own server has
// ended is told that, and when to come again.
func TestDrainedMounted(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		addr := lifeMount(t, s, "/ws", s.Handle("/ws", Options{}), lifeListen(t))
		must(t, s.start())
		must(t, s.Close())
		for n := range uint64(3) {
			p := dial(t, addr)
			p.send(upgradeTo("/ws"))
			if after := p.refusedAfter(); after != "1" {
				t.Errorf("told to come again after %q", after)
			}
			wantReasons(t, s, map[RefusalReason]uint64{RefusedDraining: n + 1})
		}
	})
}

// TestDrainedMeanwhile: a handshake that Close has refused so far may be asked when to come again while
// Shutdown works that out.
func TestDrainedMeanwhile(t *testing.T) {
	t.Parallel()
	s := &Server{DrainTime: time.Minute, Logger: quiet}
	serve(t, s)
	asked := make(chan *refusal)
	go func() { asked <- s.comeBackLater() }()
	s.spreadGoodbyes(s.DrainTime)
	receive(t, "the refusal", asked)
}

// TestDrainWithin: a deadline leaves the last ones time to answer.
func TestDrainWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ drain, deadline, least, most time.Duration }{
		{0, 0, 0, 0},
		{time.Hour, 0, time.Hour, time.Hour},
		{time.Minute, time.Hour, time.Minute, time.Minute},
		{time.Hour, 10 * time.Minute, 9 * time.Minute, 10*time.Minute - defaultCloseTimeout},
		{time.Hour, 8 * time.Second, 0, 6 * time.Second}, // a quarter is less than CloseTimeout
		{time.Hour, -time.Second, 0, 0},
	} {
		ctx, cancel := context.Background(), func() {}
		if c.deadline != 0 {
			ctx, cancel = context.WithTimeout(ctx, c.deadline)
		}
		if got := new(Server).within(ctx, c.drain); got < c.least || got > c.most {
			t.Errorf("%v with a deadline in %v: %v, want %v to %v", c.drain, c.deadline, got, c.least, c.most)
		}
		cancel()
	}
}

// TestDrainCheck: what can't be said or held is found before anything is served.
func TestDrainCheck(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*Server{
		"a negative delay":      {DrainDelay: -1},
		"a delay too long":      {DrainDelay: maxTimer + 1},
		"a negative time":       {DrainTime: -1},
		"a time too long":       {DrainTime: maxTimer + 1},
		"an unlawful code":      {DrainCode: CodeAbnormal},
		"a reason too long":     {DrainReason: strings.Repeat("x", 124)},
		"a reason not in UTF-8": {DrainReason: "\xff"},
	} {
		if err := s.Serve(lifeListen(t)); err == nil || err == ErrServerClosed {
			t.Errorf("%s: served, %v", name, err)
		}
	}
}
