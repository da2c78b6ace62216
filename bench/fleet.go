package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// goodbyeTime bounds the closing handshakes at the end. A server that does not know them, like the
// bare-write floor, costs no more than this.
const goodbyeTime = time.Second

// fleet is all connections of a run, spread over its loops.
type fleet struct {
	loops []*loop
	began time.Time

	goal    atomic.Int64  // connections that were asked for so far
	tried   atomic.Int64  // of them, how many opened or failed to
	reached chan struct{} // capacity 1: tried has come up to goal
}

// progressPeriod is how often progress is shown.
const progressPeriod = 100 * time.Millisecond

// scenarioOf makes the part of a scenario for the i-th loop.
type scenarioOf func(l *loop, i int) scenario

// newFleet starts the loops; nothing is dialled before open. perConn is how many bytes the scenario
// may leave unsent on a connection.
func newFleet(t target, o Options, perConn int, of scenarioOf) (*fleet, error) {
	f := &fleet{began: time.Now(), reached: make(chan struct{}, 1)}
	for i := range o.Loops {
		l, err := f.newLoop(t, o, share(o.Conns, o.Loops, i))
		if err != nil {
			f.close()
			return nil, err
		}
		l.burst = max(1, share(o.ConnectBurst, o.Loops, i))
		l.maxOut = perConn + maxControl
		if o.OpenTime > 0 {
			l.setPace(float64(len(l.conns)) / o.OpenTime.Seconds())
		}
		l.scenario = of(l, i)
		f.loops = append(f.loops, l)
		go l.run()
	}
	return f, nil
}

// share is the i-th of n parts of total, as even as can be. It never falls when total grows.
func share(total, n, i int) int {
	if i < total%n {
		return total/n + 1
	}
	return total / n
}

func (f *fleet) newLoop(t target, o Options, conns int) (*loop, error) {
	p, err := netpoll.New(netpoll.Epoll)
	if err != nil {
		return nil, err
	}
	return &loop{
		poller: p, target: t, timeout: o.ConnectTimeout, upgrade: newUpgrader(t),
		clock: f.clock, tried: f.count,
		conns: make([]conn, conns), buf: make([]byte, readBuffer),
		failed: map[string]int{}, lost: map[string]int{}, ends: map[string]int{},
		calls: make(chan func(), 1), ended: make(chan struct{}),
	}, nil
}

func (f *fleet) clock() time.Duration { return time.Since(f.began) }

// count is called by the loops.
func (f *fleet) count() {
	if f.tried.Add(1) == f.goal.Load() {
		select {
		case f.reached <- struct{}{}:
		default:
		}
	}
}

// each runs fn on every loop, one after the other.
func (f *fleet) each(fn func(*loop)) {
	for _, l := range f.loops {
		l.do(func() { fn(l) })
	}
}

// open raises the number of connections to n and returns when each of them has opened or failed.
func (f *fleet) open(ctx context.Context, n int, progress func(tried int)) error {
	f.ask(n)
	return f.await(ctx, progress)
}

// ask lets the loops dial until there are n connections.
func (f *fleet) ask(n int) {
	f.goal.Store(int64(n))
	for i, l := range f.loops {
		l.do(func() {
			l.want = share(n, len(f.loops), i)
			if l.pace != nil {
				l.pace.start, l.pace.sent = l.clock(), 0
			}
		})
	}
}

// curtail ends dialling. The scenario of each loop sees to it that the loop wants no more.
func (f *fleet) curtail() {
	n := 0
	f.each(func(l *loop) {
		l.scenario.end(l.clock())
		n += l.want
	})
	f.goal.Store(int64(n))
}

// await returns when each connection that was asked for has opened or failed.
func (f *fleet) await(ctx context.Context, progress func(tried int)) error {
	ticker := time.NewTicker(progressPeriod)
	defer ticker.Stop()
	for f.tried.Load() < f.goal.Load() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.reached:
		case <-ticker.C:
			progress(int(f.tried.Load()))
			if err := f.err(); err != nil {
				return err
			}
		}
	}
	progress(int(f.tried.Load()))
	return nil
}

// err is why a loop ended before it was told to.
func (f *fleet) err() error {
	for _, l := range f.loops {
		select {
		case <-l.ended:
			if l.err == nil {
				return errors.New("bench: an event loop ended early")
			}
			return l.err
		default:
		}
	}
	return nil
}

// census is the state of the fleet at one time.
type census struct {
	opened     int // whatever became of them
	open       int
	failed     map[string]int
	lost       map[string]int
	ends       map[string]int // of stalled ones
	bytesIn    int64
	lastOpened time.Duration
	lastClosed time.Duration
}

func (f *fleet) census() census {
	c := census{failed: map[string]int{}, lost: map[string]int{}, ends: map[string]int{}}
	f.each(func(l *loop) {
		c.opened += l.opened
		c.bytesIn += l.bytesIn
		c.lastOpened = max(c.lastOpened, l.lastOpened)
		c.lastClosed = max(c.lastClosed, l.lastClosed)
		addAll(c.failed, l.failed)
		addAll(c.lost, l.lost)
		addAll(c.ends, l.ends)
	})
	c.open = c.opened - sum(c.lost) - sum(c.ends)
	return c
}

func addAll(to, from map[string]int) {
	for reason, n := range from {
		to[reason] += n
	}
}

// goodbye closes all connections as RFC 6455 says in section 7.1.1: each gets a close frame, and it is
// for the server to close first, so that what TCP keeps of a closed connection for a minute does not
// take the ports of the client. It answers how many the server had not closed in time; those the client
// closes.
func (f *fleet) goodbye(inTime time.Duration) (unclosed int) {
	f.each((*loop).sayGoodbye)
	deadline := time.Now().Add(inTime)
	for {
		unclosed = 0
		f.each(func(l *loop) { unclosed += l.closing })
		if unclosed == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	f.each((*loop).hangUpAll)
	return unclosed
}

// close says goodbye to the server and ends the loops.
func (f *fleet) close() {
	f.goodbye(goodbyeTime)
	f.each(func(l *loop) { l.stopped = true })
	for _, l := range f.loops {
		<-l.ended
	}
}
