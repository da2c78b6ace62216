package soak

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// answerTime is for the server's process to answer an order, beside what the order takes.
const answerTime = 30 * time.Second

// soaking is a run.
type soaking struct {
	options  Options
	began    time.Time
	judge    *judge
	server   *child
	crowd    *crowd
	progress *progress

	mu     sync.Mutex
	result Result
	last   state
}

// Run soaks a server until the time is over or ctx ends. What was seen until then comes with an error, too;
// whether the server was at fault is in the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &soaking{options: o, judge: newJudge()}
	s.progress = newProgress(o)
	defer s.progress.end()
	if s.server, err = startChild(o.Command, s.judge); err != nil {
		return nil, err
	}
	first, err := s.server.ask(order{Seed: o.Seed}, answerTime)
	if err != nil {
		_ = s.server.end(answerTime)
		return nil, err
	}
	s.began = time.Now()
	s.crowd = &crowd{
		options: o, book: newBook(o.Seed), addr: first.Addr, judge: s.judge, did: newTally(names()), decks: newDecks(o.Seed, o.things, o.goings),
	}
	err = s.tides(ctx)
	if ended := s.server.end(answerTime); ended != nil && err == nil {
		s.judge.found("the server did not end in order", "%v", ended)
	}
	return s.conclude(ctx), err
}

// tides lets the clients come and go, and all leave, until the time is over. Leaving does not count.
func (s *soaking) tides(ctx context.Context) error {
	sampling, stop := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() { s.sample(sampling) })
	defer sampler.Wait()
	defer stop()
	n := max(1, int(math.Round(float64(s.options.Duration)/float64(s.options.Tide))))
	for range n {
		if ctx.Err() != nil {
			break
		}
		s.tide(ctx, s.options.Duration/time.Duration(n))
		if err := s.ebb(); err != nil {
			return err
		}
	}
	return nil
}

// tide returns when the last client has left.
func (s *soaking) tide(ctx context.Context, d time.Duration) {
	tide, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var all sync.WaitGroup
	for range s.options.Conns {
		all.Go(func() {
			time.Sleep(time.Duration(rand.Int64N(int64(s.options.Pause) + 1))) // not all at once
			s.crowd.comeAndGo(tide)
		})
	}
	all.Wait()
}

// ebb holds the server to what it was before the first connection.
func (s *soaking) ebb() error {
	now, err := s.server.ask(order{Settle: s.options.Patience}, s.options.Patience+answerTime)
	if err != nil {
		return err
	}
	p := s.point(now)
	s.mu.Lock()
	s.result.Ebbs = append(s.result.Ebbs, p)
	n := len(s.result.Ebbs)
	s.mu.Unlock()
	s.judge.rest()
	for _, left := range []struct {
		n    int64
		what string
	}{
		{now.Opens - now.Closes, "opens without a close"},
		{int64(now.Conns), "connections that nobody has"},
		{now.Held, "bytes held for nobody"},
		{int64(now.Working), "goroutines at work for nobody"},
		{int64(now.MoreGoroutines), "more goroutines than before the first connection"},
		{int64(now.MoreDescriptors), "more descriptors than before the first connection"},
	} {
		if left.n > 0 || left.n < 0 && left.what == "opens without a close" {
			s.judge.found(left.what, "%d after tide %d", left.n, n)
		}
	}
	s.progress.ebb(n, p, s.judge)
	return nil
}

// sample draws the curve.
func (s *soaking) sample(ctx context.Context) {
	each := time.NewTicker(s.options.Interval)
	defer each.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-each.C:
		}
		now, err := s.server.ask(order{}, s.options.Patience+answerTime)
		if err != nil {
			return // who leads the tides hears of it too
		}
		p := s.point(now)
		s.mu.Lock()
		s.result.Curve = append(s.result.Curve, p)
		s.mu.Unlock()
		s.progress.update(p)
	}
}

func (s *soaking) point(now state) Point {
	rss, descriptors := s.server.weight()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now
	return Point{
		Second: time.Since(s.began).Seconds(), Clients: s.crowd.open.Load(), RSSBytes: rss, HeapBytes: now.Heap,
		Descriptors: descriptors, Goroutines: now.Goroutines, Opens: now.Opens, In: now.In, Out: now.Out,
	}
}

func (s *soaking) conclude(ctx context.Context) *Result {
	r := &s.result
	r.Options, r.Machine, r.Seconds = s.options, bench.ThisMachine(), time.Since(s.began).Seconds()
	r.Interrupted = ctx.Err() != nil
	r.Opens, r.Closes, r.Judged, r.Forgotten = s.last.Opens, s.last.Closes, s.judge.judged, s.judge.forgotten
	r.Said, r.ServerHeard = s.crowd.said.Load(), s.last.In
	r.Accepted, r.Refused, r.Dropped, r.ClientsHeard = s.last.Out, s.last.Refused, s.last.Dropped, s.crowd.heard.Load()
	r.Did = s.crowd.did.counts()
	r.Did.add(s.last.Did)
	r.Ends = s.judge.ends.counts()
	r.Found, r.First = s.judge.all()
	r.Flat = flat(r.Ebbs)
	for _, f := range r.Flat {
		if f.Leaks() {
			r.Leaks = append(r.Leaks, fmt.Sprintf("%s grew by %s from ebb to ebb", f.What, bench.Size(float64(f.Growth))))
		}
	}
	return r
}
