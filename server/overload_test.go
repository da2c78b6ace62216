//go:build linux

package server

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// alone is onPollers for tests that keep all processors busy, which is not to be suffered by others.
func alone(t *testing.T, test func(t *testing.T, s *Server)) {
	for _, b := range []netpoll.Backend{netpoll.Epoll, netpoll.EasyGo} {
		t.Run(string(b), func(t *testing.T) { test(t, &Server{Poller: b, Logger: quiet}) })
	}
}

// overloaded is a server on whose connections far more ticks come due than it can run.
type overloaded struct {
	srv   *Server
	addr  string
	ep    *Endpoint
	conns int
	ran   atomic.Int64
}

// overload has a server like that: each of the connections is ticked every millisecond, and each tick
// computes for so long.
func overload(t *testing.T, s *Server, conns int, work time.Duration) *overloaded {
	s.Loops = 1
	o := &overloaded{srv: s, conns: conns}
	o.ep = s.Handle("/", Options{Every: time.Hour, OnTick: func(c *Conn) {
		compute(work)
		c.Value().(*atomic.Int64).Add(1)
		o.ran.Add(1)
	}, OnOpen: func(c *Conn, _ *Request) { c.SetValue(new(atomic.Int64)) }})
	s.Handle("/beside", Options{OnMessage: echo})
	o.addr = serve(t, s)
	for range conns {
		open(t, o.addr, "/")
	}
	await(t, "all are open", func() bool { return o.ep.Len() == conns })
	o.every(t, time.Millisecond)
	return o
}

func (o *overloaded) every(t *testing.T, d time.Duration) {
	for c := range o.ep.Conns() {
		must(t, c.SetEvery(d))
	}
}

func compute(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// ticks are how many each of the connections has had.
func (o *overloaded) ticks() (all []int64) {
	for c := range o.ep.Conns() {
		all = append(all, c.Value().(*atomic.Int64).Load())
	}
	return all
}

// TestOverload: of ticks that come due far too often, each connection has its share, and what is left out
// is counted. Nothing piles up: each has one place in the wheel, and one tick owed at the most. And when
// they come due no more than the server can run, none is left out any more.
func TestOverload(t *testing.T) {
	alone(t, func(t *testing.T, s *Server) {
		const conns, rounds = 600, 10 // more than two batches
		o := overload(t, s, conns, 50*time.Microsecond)
		from := o.ticks()
		before := s.Stats()
		await(t, "ticks are run", func() bool {
			if _, n := s.pool.ticks.load(); n > conns {
				t.Errorf("%d connections wait %d times for a tick", conns, n)
			}
			l := s.loops()[0]
			l.mu.Lock()
			defer l.mu.Unlock()
			if n := l.wheel.Len(); n > conns {
				t.Errorf("%d connections have %d places in the wheel", conns, n)
			}
			return o.ran.Load() >= conns*rounds
		})
		share := o.ticks()
		for i := range share {
			share[i] -= from[i]
		}
		least, most := slices.Min(share), slices.Max(share)
		if 2*least < most {
			t.Errorf("one connection had %d ticks, and another one %d", least, most)
		}
		o.every(t, time.Hour)
		st := s.Stats()
		if st.Skipped == before.Skipped {
			t.Error("no tick was skipped")
		}
		p := open(t, o.addr, "/beside")
		for range 100 {
			p.send(frame(ws.OpText, "on time"))
			p.want(ws.OpText, "on time")
		}
		if now := s.Stats().Skipped; now != st.Skipped {
			t.Errorf("%d ticks were skipped after the load had gone", now-st.Skipped)
		}
	})
}

// TestOverloadBeside: while the server can't run the ticks that come due, a message waits for a few of
// them and not for all that are due, and so do an opening and a closing handshake.
func TestOverloadBeside(t *testing.T) {
	alone(t, func(t *testing.T, s *Server) {
		const conns, times = 1000, 21
		o := overload(t, s, conns, 100*time.Microsecond)
		p := open(t, o.addr, "/beside")
		await(t, "ticks are run", func() bool { return o.ran.Load() >= conns })
		var echoed, closed []int64
		for range times {
			o.ep.slowTicks.until.Store(0) // on the pool they would hold up nobody anyway
			before := o.ran.Load()
			p.send(frame(ws.OpText, "beside"))
			p.want(ws.OpText, "beside")
			echoed = append(echoed, o.ran.Load()-before)
			q := open(t, o.addr, "/beside")
			before = o.ran.Load()
			q.send(closeFrame(CodeNormal, ""))
			q.wantClose(CodeNormal, "")
			q.wantEnd()
			closed = append(closed, o.ran.Load()-before)
		}
		slices.Sort(echoed)
		slices.Sort(closed)
		// It is a batch of them as a rule, or two: who has an answer sends when the loop begins with the next.
		if most := int64(3 * batchDue / 4); echoed[times/2] > most || closed[times/2] > most {
			t.Errorf("half of the messages waited for %d ticks or more, half of the goodbyes for %d", echoed[times/2], closed[times/2])
		}
	})
}

// TestDueBatch: a loop takes less from the wheel at once when that takes long, and more again when it
// does not.
func TestDueBatch(t *testing.T) {
	t.Parallel()
	l := &loop{dueMost: batchDue}
	step := func(full bool, took wheel.Time, want int) {
		t.Helper()
		l.dueFull = full
		if l.fit(took); l.dueMost != want {
			t.Errorf("after a batch that took %d ms, full %v: %d at the most, want %d", took, full, l.dueMost, want)
		}
	}
	step(false, 1000, 256) // it had waited
	step(true, longBatch, 256)
	step(true, longBatch+1, 128)
	step(true, 100, 64)
	step(true, longBatch, 64)
	step(true, longBatch/4, 64)
	step(true, 1, 128)
	step(true, 1, 256)
	step(true, 1, 256)
	for range 10 {
		l.dueFull = true
		l.fit(100)
	}
	step(true, 100, leastDue)
	step(false, 100, 256)
}

// TestLaneComputes: handlers that compute have hardly more goroutines than there are processors, however
// many they may have. Each would make a loop wait that has become ready.
func TestLaneComputes(t *testing.T) {
	const conns = 200
	s := &Server{Logger: quiet, Loops: 1}
	var most atomic.Int64
	var done sync.WaitGroup
	done.Add(conns)
	ep := s.Handle("/", Options{OnMessage: func(*Conn, Message) {
		n, _ := s.pool.handlers.load()
		for old := most.Load(); int64(n) > old && !most.CompareAndSwap(old, int64(n)); old = most.Load() {
		}
		compute(2 * time.Millisecond)
		done.Done()
	}})
	addr := serve(t, s)
	var peers []*peer
	for range conns {
		peers = append(peers, open(t, addr, "/"))
	}
	ep.slow.mark(s.now(), slowFor+wheel.Time(bound/time.Millisecond))
	for _, p := range peers {
		p.send(frame(ws.OpText, "compute"))
	}
	done.Wait()
	if limit := int64(conns / 4); most.Load() > limit {
		t.Errorf("%d goroutines, on %d processors", most.Load(), runtime.GOMAXPROCS(0))
	}
}

// TestLaneGrowsInACrowd: handlers that wait for something have a goroutine each, though others keep all
// processors busy.
func TestLaneGrowsInACrowd(t *testing.T) {
	const conns = 40
	s := &Server{Logger: quiet, Loops: 1}
	release := make(chan struct{})
	var blocked atomic.Int64
	ep := s.Handle("/", Options{OnMessage: func(*Conn, Message) { blocked.Add(1); <-release }})
	addr := serve(t, s)
	var peers []*peer
	for range conns {
		peers = append(peers, open(t, addr, "/"))
	}
	var crowd sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		crowd.Go(func() {
			for blocked.Load() < conns && !isClosed(release) {
			}
		})
	}
	defer crowd.Wait()
	defer close(release)
	ep.slow.mark(s.now(), slowFor+wheel.Time(bound/time.Millisecond))
	for _, p := range peers {
		p.send(frame(ws.OpText, "wait"))
	}
	await(t, "all handlers wait", func() bool { return blocked.Load() == conns })
}
