//go:build linux

package server

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// lifeBlocker is an endpoint of which one kind of handler blocks, for those connections that ask for
// it by their query.
type lifeBlocker struct {
	srv     *Server
	addr    string
	ep      *Endpoint
	ledger  *lifeLedger
	release chan struct{}
	blocked atomic.Int64 // handlers that block now
	echoed  atomic.Int64 // messages that were answered
	peers   []*lifeClient
}

func newLifeBlocker(t *testing.T, srv *Server, handler string) *lifeBlocker {
	b := &lifeBlocker{srv: srv, ledger: newLifeLedger(), release: make(chan struct{})}
	block := func(c *Conn, in string) {
		if in == handler && c.Value() == "block" {
			b.blocked.Add(1)
			<-b.release
			b.blocked.Add(-1)
		}
	}
	tick := PrepareText("tick")
	b.ep = srv.Handle("/ws", b.ledger.over(Options{
		OnOpen: func(c *Conn, r *Request) {
			c.SetValue(r.RawQuery())
			if r.RawQuery() == "tick" || r.RawQuery() == "block" && handler == "OnTick" {
				c.SetEvery(time.Millisecond)
			}
			block(c, "OnOpen")
		},
		OnMessage: func(c *Conn, m Message) {
			block(c, "OnMessage")
			if string(m.Data) == "leave" {
				c.Close()
				return
			}
			b.echoed.Add(1)
			c.Write(m.Kind, m.Data)
		},
		OnTick: func(c *Conn) {
			block(c, "OnTick")
			if c.Value() == "tick" {
				c.Send(tick)
			}
		},
		OnClose: func(c *Conn, _ Closing) { block(c, "OnClose") },
	}))
	srv.Handle("/other", Options{OnMessage: lifeEcho})
	b.addr = lifeServe(t, srv)
	t.Cleanup(b.letGo)
	return b
}

// letGo may be called again.
func (b *lifeBlocker) letGo() {
	if !isClosed(b.release) {
		close(b.release)
	}
}

// block has n connections' handlers block, and waits until so many do as can. What was said to the
// peers is what is said to each when its handler is let go.
func (b *lifeBlocker) block(t *testing.T, handler string, n, atOnce int) {
	for range n {
		peer := lifeDial(t, b.addr, "/ws?block")
		if handler == "OnMessage" {
			peer.text("blocked")
		}
		if handler == "OnClose" {
			peer.sayClose(CodeNormal, "")
		}
		b.peers = append(b.peers, peer)
	}
	lifeEventually(t, fmt.Sprintf("%d handlers block", atOnce), func() bool { return b.blocked.Load() >= int64(atOnce) })
}

// ticks reads some more ticks than the peer can have had before it was called.
func (b *lifeBlocker) ticks(peer *lifeClient) {
	marker := "between the ticks" // the pong comes behind what was sent before
	peer.raw(lifeFrame(ws.OpPing, marker))
	for f := peer.next(); f.Header.OpCode != ws.OpPong; f = peer.next() {
	}
	for range 5 {
		peer.want(ws.OpText, "tick")
	}
}

func (b *lifeBlocker) closed(t *testing.T, peer *lifeClient) {
	peer.bye()
	if why := lifeGet(t, b.ledger.ended, "the close event"); why.Cause != PeerClosed {
		t.Errorf("closed by %+v", why)
	}
}

// TestLifeBlocked: many handlers that block hurt nobody else, not even on their own endpoint. There
// is no time in it: everybody else is done while all of them still block.
func TestLifeBlocked(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
		for handler, n := range map[string]int{"OnOpen": 50, "OnMessage": 200, "OnTick": 50, "OnClose": 50} {
			t.Run(handler, func(t *testing.T) {
				t.Parallel()
				b := newLifeBlocker(t, &Server{Poller: backend, Loops: 1}, handler)
				before, ticked := lifeDial(t, b.addr, "/ws"), lifeDial(t, b.addr, "/ws?tick")
				other := lifeDial(t, b.addr, "/other")
				before.echo("before")
				other.echo("before")
				b.block(t, handler, n, n)
				after, otherAfter := lifeDial(t, b.addr, "/ws"), lifeDial(t, b.addr, "/other")
				for _, peer := range []*lifeClient{before, after, other, otherAfter} {
					peer.echo("at the same time")
					peer.ping("at the same time")
				}
				b.ticks(ticked)
				for len(b.ledger.ended) > 0 {
					<-b.ledger.ended // those of the blocked close handlers
				}
				b.closed(t, before)
				b.closed(t, after)
				other.bye()
				if now := b.blocked.Load(); now != int64(n) {
					t.Errorf("%d handlers block now, %d did: the others had to wait for some", now, n)
				}
				st := b.srv.Stats()
				if st.Deposed == 0 || st.Handlers.Running+st.TickLane.Running+st.Closes.Running == 0 {
					t.Errorf("the loop was never taken away, and nothing handed over: %+v", st)
				}
				b.letGo()
				if handler == "OnMessage" {
					for _, peer := range b.peers {
						peer.want(ws.OpText, "blocked")
					}
				}
				lifeEnd(t, b.srv)
				b.ledger.check(t, n+3)
			})
		}
	})
}

// TestLifeClosedByWorkers: close handlers do not take the workers of message handlers, though one of
// those found that the connection is over.
func TestLifeClosedByWorkers(t *testing.T) {
	t.Parallel()
	b := newLifeBlocker(t, &Server{Workers: 8}, "OnClose")
	echo := lifeDial(t, b.addr, "/ws")
	lifeSlow(b.ep)
	for range 20 {
		peer := lifeDial(t, b.addr, "/ws?block")
		peer.text("leave")
		peer.wantCut()
	}
	lifeEventually(t, "a close handler blocks and the others wait", func() bool {
		return b.blocked.Load() > 0 && b.srv.Stats().Closes.Waiting == 19
	})
	echo.echo("at the same time")
	b.letGo()
	lifeEnd(t, b.srv)
	b.ledger.check(t, 21)
}

// TestLifeNeverOpened: a connection whose open event waited when everything was cut off has no close
// event either.
func TestLifeNeverOpened(t *testing.T) {
	t.Parallel()
	b := newLifeBlocker(t, &Server{Workers: 1}, "OnOpen")
	lifeSlow(b.ep)
	b.block(t, "OnOpen", 5, 1)
	lifeEventually(t, "the others wait", func() bool { return b.srv.Stats().Handlers.Waiting == 4 })
	b.srv.Close()
	for _, peer := range b.peers[1:] {
		peer.wantCut()
	}
	b.letGo()
	lifeEnd(t, b.srv)
	b.ledger.check(t, 1)
}

// TestLifeOverWorkers: when more handlers block than there are workers, what waits is work of their
// own kind. Ticks, control frames, closing, and endpoints that are not slow go on.
func TestLifeOverWorkers(t *testing.T) {
	t.Parallel()
	const workers, n = 8, 40
	lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
		for handler, lane := range map[string]struct {
			of    func(*Stats) *Lane
			limit int
		}{
			"OnOpen":    {func(s *Stats) *Lane { return &s.Handlers }, workers},
			"OnMessage": {func(s *Stats) *Lane { return &s.Handlers }, workers},
			"OnTick":    {func(s *Stats) *Lane { return &s.TickLane }, workers / 8},
			"OnClose":   {func(s *Stats) *Lane { return &s.Closes }, workers / 8},
		} {
			t.Run(handler, func(t *testing.T) {
				t.Parallel()
				b := newLifeBlocker(t, &Server{Poller: backend, Loops: 1, Workers: workers}, handler)
				echo, pinged, leaves := lifeDial(t, b.addr, "/ws"), lifeDial(t, b.addr, "/ws"), lifeDial(t, b.addr, "/ws")
				ticked, other := lifeDial(t, b.addr, "/ws?tick"), lifeDial(t, b.addr, "/other")
				b.ticks(ticked)
				b.block(t, handler, n, lane.limit)
				load := func() Lane { st := b.srv.Stats(); return *lane.of(&st) }
				// The first blocks on the loop itself, is deposed, and is beside the lane's own.
				lifeEventually(t, "the lane is full", func() bool {
					return load().Running == lane.limit && load().Waiting > 0 && b.blocked.Load() > int64(lane.limit)
				})
				if load().Limit != lane.limit {
					t.Errorf("the lane is %+v", load())
				}
				blocked := b.blocked.Load()

				other.echo("at the same time")
				other.ping("at the same time")
				pinged.ping("at the same time")
				if handler != "OnTick" {
					b.ticks(ticked)
				}
				for len(b.ledger.ended) > 0 {
					<-b.ledger.ended
				}
				if handler != "OnClose" {
					b.closed(t, leaves)
				} else {
					leaves.bye() // its peer is none the wiser
				}
				waits := handler == "OnOpen" || handler == "OnMessage"
				if waits {
					waiting := load().Waiting
					echo.text("later")
					lifeEventually(t, "the message waits", func() bool { return load().Waiting > waiting })
				} else {
					echo.echo("at the same time")
				}
				if b.blocked.Load() != blocked || waits && b.echoed.Load() != 0 {
					t.Errorf("%d handlers blocked, now %d do; %d messages were answered", blocked, b.blocked.Load(), b.echoed.Load())
				}
				b.letGo()
				if waits {
					echo.want(ws.OpText, "later")
				}
				lifeEventually(t, "all have had their open event", func() bool { return b.ledger.conns() == n+4 })
				lifeEnd(t, b.srv)
				b.ledger.check(t, n+4)
			})
		}
	})
}

// lifeOverstay returns when the loop whose handler calls it was replaced.
func lifeOverstay(t testing.TB, srv *Server) {
	deposed := srv.Stats().Deposed
	lifeUntil(t, "the loop is replaced", func() bool { return srv.Stats().Deposed != deposed })
}

// lifeOffloads returns how many times endpoints were offloaded, for whatever reason.
func lifeOffloads(srv *Server) uint64 {
	n := srv.Stats().Offloads
	return sum(n[:])
}

// lifeUntil blocks a handler until something holds.
func lifeUntil(t testing.TB, what string, holds func() bool) {
	for end := time.Now().Add(lifeBound); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("a handler waits in vain until %s", what)
			return
		}
	}
}

// lifeSeries is what a connection's handlers share without a lock. The race detector objects when
// two of them run at once.
type lifeSeries struct {
	next int
	busy bool
}

func (s *lifeSeries) enter(t testing.TB) (leave func()) {
	if s.busy {
		t.Error("two handlers of one connection run at once")
	}
	s.busy = true
	return func() { s.busy = false }
}

// TestLifeOffloaded: an endpoint goes to the pool for a handler that blocks and for one that computes, and
// for messages apart from ticks. What it takes is TestEvidence's; here, that it is noticed at all.
func TestLifeOffloaded(t *testing.T) {
	t.Parallel()
	for name, takesLong := range map[string]func(t testing.TB, srv *Server){
		"blocks": func(t testing.TB, srv *Server) {
			lifeUntil(t, "the endpoint is offloaded", func() bool { return lifeOffloads(srv) > 0 })
		},
		"computes": func(t testing.TB, srv *Server) {
			for end := time.Now().Add(lifeBound); lifeOffloads(srv) == 0; {
				if time.Now().After(end) {
					t.Error("a handler computes and is not offloaded")
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
				srv := &Server{Poller: backend}
				ep := srv.Handle("/ws", Options{OnMessage: func(c *Conn, m Message) {
					takesLong(t, srv)
					c.Write(m.Kind, m.Data)
				}})
				lifeDial(t, lifeServe(t, srv), "/ws").echo("long")
				if ep.slow.until.Load() == 0 || ep.slowTicks.until.Load() != 0 {
					t.Errorf("messages are offloaded until %d, ticks until %d", ep.slow.until.Load(), ep.slowTicks.until.Load())
				}
				if st := srv.Stats(); st.Deposed == 0 {
					t.Errorf("%d replacements", st.Deposed)
				}
			})
		})
	}
}

// TestLifeReplacedAccusesNothing: a replacement in which no handler runs is no evidence, and a handler that
// returned is not out.
func TestLifeReplacedAccusesNothing(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	s := &slowness{lane: new(lane)}
	w := &worker{role: onLoop}
	w.start(s)
	s.replaced(w, srv, share{})
	w.timed(s, time.Time{})
	if s.evidence.out != 0 || w.running.Load() != nil || w.out.Load() != nil {
		t.Errorf("%d handlers are out after it returned", s.evidence.out)
	}
	s.replaced(w, srv, share{}) // the watchdog saw it, and then it returned
	if s.evidence.out != 0 || s.active(0) {
		t.Errorf("%d handlers are out that had returned before", s.evidence.out)
	}
}

// TestLifeQuickOnThePool: where handlers prove quick on the pool, it reads for them. Control frames are
// answered all the same when then all workers block.
func TestLifeQuickOnThePool(t *testing.T) {
	t.Parallel()
	const workers = 8
	lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
		b := newLifeBlocker(t, &Server{Poller: backend, Loops: 1, Workers: workers}, "OnMessage")
		echo, pinged := lifeDial(t, b.addr, "/ws"), lifeDial(t, b.addr, "/ws")
		lifeSlow(b.ep)
		for i := 0; i < 2*quickCalls || !b.ep.slow.quick() && i < 1000; i++ {
			echo.echo("quick")
			pinged.ping("quick")
		}
		if !b.ep.slow.quick() {
			t.Skip("the machine is too slow to tell")
		}
		b.block(t, "OnMessage", 5*workers, workers)
		pinged.ping("at the same time")
		b.closed(t, pinged)
		b.letGo()
		for _, peer := range b.peers {
			peer.want(ws.OpText, "blocked")
		}
		echo.echo("after")
		lifeEnd(t, b.srv)
		b.ledger.check(t, 5*workers+2)
	})
}

// TestLaneKeepsGoroutines: a goroutine of a lane waits for the next job, until the lane has had no work for a
// while, or is closed.
func TestLaneKeepsGoroutines(t *testing.T) {
	t.Parallel()
	var p pool
	srv := new(Server)
	for _, l := range []*lane{&p.handlers, &p.ticks, &p.closes, &p.inflates, &p.questions} {
		l.open(srv, onHandlers, 1, 4)
		l.sweeping = true // so that no timer does
	}
	l := &p.handlers
	ended := &Conn{loop: &loop{srv: srv}, state: stGone}
	serve := func(then func() bool) {
		t.Helper()
		l.submit(ended, stJob, false)
		lifeEventually(t, "the job is done", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.running == 0 && then()
		})
	}
	waits := func() bool { return l.idle == 1 }
	gone := func() {
		t.Helper()
		done := make(chan error)
		go func() { srv.goroutines.Wait(); close(done) }()
		lifeMust(t, lifeGet(t, done, "the end of the goroutines"))
	}
	for range 3 {
		serve(waits)
	}
	l.used = false
	l.sweep()
	gone()
	l.sweeping = true
	serve(waits)
	p.close()
	gone()
	serve(func() bool { return l.idle == 0 })
	gone()
}

// TestLifeOrder: messages come in order and handlers one at a time, while the endpoint is slow and
// not slow by turns, and loops are taken away.
func TestLifeOrder(t *testing.T) {
	t.Parallel()
	const conns, messages = 10, 400
	lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
		srv := &Server{Poller: backend, Loops: 2}
		var ep *Endpoint
		var where struct{ loop, pool atomic.Int64 }
		ledger := newLifeLedger()
		ep = srv.Handle("/ws", ledger.over(Options{
			Every:  time.Millisecond,
			OnOpen: func(c *Conn, _ *Request) { c.SetValue(new(lifeSeries)) },
			OnMessage: func(c *Conn, m Message) {
				s := c.Value().(*lifeSeries)
				defer s.enter(t)()
				if string(m.Data) != strconv.Itoa(s.next) {
					t.Errorf("message %q where %d was to come", m.Data, s.next)
				}
				if s.next++; lifeWhere() == "pool" {
					where.pool.Add(1)
				} else if where.loop.Add(1)%500 == 0 {
					lifeOverstay(t, srv)
				}
				switch rand.N(10) {
				case 0:
					lifeSlow(ep)
				case 1:
					ep.slow.until.Store(0)
					ep.slowTicks.until.Store(0)
				case 2:
					runtime.Gosched()
				}
				c.Write(m.Kind, m.Data)
			},
			OnTick: func(c *Conn) { defer c.Value().(*lifeSeries).enter(t)() },
			OnClose: func(c *Conn, _ Closing) {
				s := c.Value().(*lifeSeries)
				defer s.enter(t)()
				if s.next != messages {
					t.Errorf("closed after message %d of %d", s.next, messages)
				}
			},
		}))
		addr := lifeServe(t, srv)
		done := make(chan error, conns)
		for i := range conns {
			peer := lifeDial(t, addr, "/ws")
			go func() { done <- peer.series(messages, uint64(i)) }()
		}
		for range conns {
			lifeMust(t, lifeGet(t, done, "a series"))
		}
		lifeMust(t, srv.Shutdown(lifeContext(t)))
		ledger.check(t, conns)
		if where.loop.Load() == 0 || where.pool.Load() == 0 {
			t.Errorf("%d messages on the loop, %d on the pool", where.loop.Load(), where.pool.Load())
		}
	})
}

// series sends numbered messages, cut into pieces of any size, and wants them back in order.
func (c *lifeClient) series(n int, seed uint64) error {
	var all []byte
	for i := range n {
		all = append(all, lifeFrame(ws.OpText, strconv.Itoa(i))...)
	}
	all = append(all, lifeFrame(ws.OpClose, "\x03\xe8")...)
	go func() {
		random := rand.New(rand.NewPCG(seed, 0))
		for len(all) > 0 {
			piece := all[:min(len(all), 1+random.IntN(200))]
			if _, err := c.Write(piece); err != nil {
				return // the reader finds out
			}
			all = all[len(piece):]
		}
	}()
	for i := range n {
		f, err := lifeReadFrame(c.r)
		if err != nil || string(f.Payload) != strconv.Itoa(i) {
			return fmt.Errorf("got %q and %v where %d was to come", f.Payload, err, i)
		}
	}
	f, err := lifeReadFrame(c.r)
	if err != nil || f.Header.OpCode != ws.OpClose {
		return fmt.Errorf("at the end came %v %q and %v", f.Header.OpCode, f.Payload, err)
	}
	return nil
}

// TestLifeBackOnTheLoop: an endpoint is handed over while it is slow, and no longer.
func TestLifeBackOnTheLoop(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
		srv := &Server{Poller: backend}
		ep := srv.Handle("/ws", Options{OnMessage: func(c *Conn, m Message) {
			where := lifeWhere()
			if string(m.Data) == "block" && where == "loop" {
				lifeUntil(t, "the endpoint is offloaded", func() bool { return lifeOffloads(srv) > 0 })
			}
			c.WriteText(where)
		}})
		peer := lifeDial(t, lifeServe(t, srv), "/ws")
		ask := func(s string) string {
			peer.text(s)
			return string(peer.next().Payload)
		}
		ask("block")
		if !ep.slow.is(srv.now()) {
			t.Error("it is not noted as slow")
		}
		if where := ask("where"); where != "pool" {
			t.Errorf("a slow endpoint's handler runs on the %s", where)
		}
		lifeEventually(t, "the pool is idle", func() bool { return srv.Stats().Handlers.Running == 0 })
		ep.slow.until.Store(uint32(srv.now()-1) | 1) // its time is over
		lifeEventually(t, "it runs on the loop again", func() bool { return ask("where") == "loop" })
	})
}

// TestLifeSlowness is the mark by itself: when it ends, and that it does not come back when the
// wheel's time comes round.
func TestLifeSlowness(t *testing.T) {
	t.Parallel()
	for _, start := range []wheel.Time{0, 1000, 1<<32 - 1000, 1 << 31} {
		var s slowness
		if s.is(start) {
			t.Error("slow from the beginning")
		}
		s.mark(start, slowFor)
		for _, x := range []struct {
			after wheel.Time
			want  bool
		}{{0, true}, {slowFor / 2, true}, {slowFor - 2, true}, {slowFor + 1, false}, {1, false}} {
			if got := s.is(start + x.after); got != x.want {
				t.Errorf("marked at %d, %d later it is %v", start, x.after, got)
			}
		}
	}
}

// TestLifeSlowAgain: handlers that overstay again soon after they came back to the loop stay away for longer,
// up to a bound, and no longer than at first when they had been good for a while.
func TestLifeSlowAgain(t *testing.T) {
	t.Parallel()
	for _, start := range []wheel.Time{0, 1<<32 - 10000, 1 << 31} {
		var s slowness
		now := start
		for i, want := range []wheel.Time{500, 1000, 2000, 4000, 8000, 8000} {
			s.offload(now, OffloadCPU)
			s.offload(now, OffloadCPU) // on a second loop
			if !s.is(now+want-2) || s.is(now+want+1) {
				t.Errorf("from %d, the %dth time: not handed over for %d ms", start, i+1, want)
			}
			now += want + slowMost/2
		}
		now += 2 * slowMost
		s.offload(now, OffloadCPU)
		if !s.is(now+slowFor-2) || s.is(now+slowFor+1) {
			t.Errorf("from %d: after a while the time is not as long as at first", start)
		}
	}
}

// TestLifeStillSlow: what ran on the pool decides whether handlers stay there when their time is over. Few
// calls that the kernel preempted don't.
func TestLifeStillSlow(t *testing.T) {
	t.Parallel()
	const over = slowFor + 1
	calls := func(n int, of time.Duration, more ...time.Duration) []time.Duration {
		return append(slices.Repeat([]time.Duration{of}, n), more...)
	}
	for name, x := range map[string]struct {
		took        []time.Duration
		running     int // goroutines of the lane, of two
		slow, quick bool
	}{
		"nothing ran":               {nil, 0, false, false},
		"too few quick ones":        {calls(2, slowCall/10), 1, false, false},
		"quick ones":                {calls(quickCalls, slowCall/10), 1, false, true},
		"slow ones":                 {calls(2, slowCall), 0, true, false},
		"half of them are slow":     {calls(20, slowCall, calls(20, 0)...), 0, false, true},
		"more than half are":        {calls(21, slowCall, calls(20, 0)...), 0, true, false},
		"one in fifty is preempted": {calls(49, slowCall/10, 20*time.Millisecond), 0, false, true},
		"one in nine is long":       {calls(80, slowCall/10, calls(10, longCall)...), 0, true, false},
		"none ended, no room":       {nil, 2, true, false},
		"quick ones, no room":       {calls(quickCalls, 0), 2, true, true},
		"none ended, but room":      {nil, 1, false, false},
	} {
		s := slowness{lane: &lane{limit: 2, running: x.running}}
		s.mark(0, slowFor)
		for _, d := range x.took {
			s.took(d)
		}
		if s.quick() != x.quick {
			t.Errorf("%s: they are quick: %v", name, !x.quick)
		}
		if got := s.is(over); got != x.slow {
			t.Errorf("%s: they stay on the pool: %v", name, got)
		}
		s.lane.running = 0
		if x.slow && (!s.is(over+slowFor-2) || s.is(2*over)) {
			t.Errorf("%s: the new time is not as long as the old, or takes what ran before into account", name)
		}
		if kept := s.offloads[OffloadKept].Load(); kept != 0 != x.slow {
			t.Errorf("%s: counted as kept %d times", name, kept)
		}
	}
}

// TestLifeBrokenAndDeposed: a handler that first overstays and then breaks has no loop to lose.
func TestLifeBrokenAndDeposed(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(){"panic": func() { panic("on purpose") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeBackends(t, func(t *testing.T, backend netpoll.Backend) {
				ledger := newLifeLedger()
				srv := &Server{Poller: backend, Loops: 1}
				srv.Handle("/ws", ledger.over(Options{OnMessage: func(c *Conn, m Message) {
					if lifeWhere() == "loop" {
						lifeOverstay(t, srv)
					}
					bad()
				}}))
				srv.Handle("/other", Options{OnMessage: lifeEcho})
				addr := lifeServe(t, srv)
				other := lifeDial(t, addr, "/other")
				for range 3 {
					peer := lifeDial(t, addr, "/ws")
					peer.text("now")
					lifeSeesInternal(peer)
					if why := lifeGet(t, ledger.ended, "the close event"); why != lifeInternal {
						t.Errorf("closed by %+v", why)
					}
					other.echo("after")
				}
				lifeEnd(t, srv)
				ledger.check(t, 3)
			})
		})
	}
}
