package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

const (
	// slowFor is the time that the handlers of an endpoint stay on the pool, in milliseconds. Then what they
	// took there decides whether they stay.
	slowFor = wheel.Time(500)
	// slowMost is the most that they stay there. Each time that they are offloaded again within as much
	// time after they came back, they stay twice as long. Where one handler in some hundred is slow, most of the
	// others are not, and holding up the loop for it every second would show in the 99th percentile.
	slowMost = wheel.Time(8000)
	// slowCall is the duration from which a call on the pool is slow, if half of them are. Moving a call
	// there costs some microseconds itself.
	slowCall = 200 * time.Microsecond
	// longCall is the duration from which a call on the pool is slow if one in longShare is. A call that
	// the kernel preempts takes as long, but those are one in fifty: they move a mean, and not this.
	longCall  = time.Millisecond
	longShare = 25
	// quickCalls is the number of calls on the pool that show that handlers are quick.
	quickCalls = 16
)

// slowness is whether handlers are offloaded to the pool: those of one kind, of one endpoint.
type slowness struct {
	lane  *lane         // of the pool, where they run
	until atomic.Uint32 // in the wheel's time; 0 is not at all
	last  atomic.Uint32 // what until was before that
	span  atomic.Uint32 // for how long it was meant, after the last verdict on a replaced handler

	calls, slow, long atomic.Int64 // on the pool, since the last verdict: all, from slowCall, from longCall
	inside            atomic.Int64 // calls on the pool that have not returned
	offloads          [OffloadReasons]atomic.Uint64

	mu       sync.Mutex // a leaf
	evidence evidence
}

// outCall is a handler that still runs though its loop was replaced.
type outCall struct {
	kind  *slowness
	srv   *Server
	timer *time.Timer
	over  bool // it returned, or was out for stillOut
}

// replaced notes that w's loop was replaced while w was in a handler of this kind.
func (s *slowness) replaced(w *worker, srv *Server, ran share) {
	o := &outCall{kind: s, srv: srv}
	s.mu.Lock()
	if why, enough := s.evidence.replaced(time.Now(), ran); enough {
		s.offload(srv.now(), why)
	}
	o.timer = time.AfterFunc(stillOut, o.overdue)
	w.out.Store(o)
	s.mu.Unlock()
	// The handler may have returned before w.out was there to be seen.
	if w.running.Load() != s {
		o.returned()
	}
}

func (o *outCall) returned() {
	o.kind.mu.Lock()
	defer o.kind.mu.Unlock()
	if !o.over {
		o.over = true
		o.timer.Stop()
		o.kind.evidence.returned()
	}
}

func (o *outCall) overdue() {
	o.kind.mu.Lock()
	defer o.kind.mu.Unlock()
	if o.over {
		return
	}
	o.over = true
	if why, enough := o.kind.evidence.overdue(); enough {
		o.kind.offload(o.srv.now(), why)
	}
}

// offload moves handlers to the pool: the longer, the sooner after the last time. s.mu must be held.
func (s *slowness) offload(now wheel.Time, why OffloadReason) {
	if s.active(now) {
		return
	}
	span := slowFor
	if last := wheel.Time(s.span.Load()); last != 0 && now.Before(wheel.Time(s.last.Load())+slowMost) {
		span = min(2*last, slowMost)
	}
	s.span.Store(uint32(span))
	s.offloads[why].Add(1)
	s.mark(now, span)
}

// mark moves handlers to the pool for span, and begins to count their calls there.
func (s *slowness) mark(now, span wheel.Time) {
	s.calls.Store(0)
	s.slow.Store(0)
	s.long.Store(0)
	until := uint32(now+span) | 1
	s.last.Store(until)
	s.until.Store(until)
}

// took counts a handler that ran on the pool.
func (s *slowness) took(d time.Duration) {
	s.calls.Add(1)
	if d >= slowCall {
		s.slow.Add(1)
	}
	if d >= longCall {
		s.long.Add(1)
	}
}

// is reports whether handlers are offloaded at now. When their time is over, those that ran on the pool
// meanwhile decide whether it begins anew.
func (s *slowness) is(now wheel.Time) bool {
	until := s.until.Load()
	switch {
	case until == 0:
		return false
	case ahead(now, until):
		return true
	case s.stillSlow():
		s.keep(now, until)
		return true
	}
	s.until.CompareAndSwap(until, 0) // or it would come round again with the wheel's time
	return false
}

// keep leaves handlers on the pool for another slowFor, unless another goroutine decided that already.
func (s *slowness) keep(now wheel.Time, until uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.Load() == until {
		s.offloads[OffloadKept].Add(1)
		s.mark(now, slowFor)
	}
}

// active reports whether handlers are offloaded at now, and decides nothing.
func (s *slowness) active(now wheel.Time) bool {
	until := s.until.Load()
	return until != 0 && ahead(now, until)
}

// ahead reports whether until is to come, within an hour. An until of weeks ago, when the wheel's time has gone
// half round since, is not.
func ahead(now wheel.Time, until uint32) bool {
	const hour = wheel.Time(3_600_000)
	return wheel.Time(until)-now-1 < hour
}

// marked is active at the present. A server that has not started has no time, and marks nothing.
func (s *slowness) marked(srv *Server) bool { return s.until.Load() != 0 && s.active(srv.now()) }

// stillSlow reports whether the calls on the pool were slow, or have not even ended: where the lane is full.
func (s *slowness) stillSlow() bool {
	return s.slowCalls() || s.calls.Load() == 0 && s.inside.Load() > 0 || s.lane.full()
}

func (s *slowness) slowCalls() bool {
	calls := s.calls.Load()
	return calls > 0 && (2*s.slow.Load() > calls || longShare*s.long.Load() > calls)
}

// quick reports whether the calls on the pool have shown that the handlers are quick.
func (s *slowness) quick() bool { return s.calls.Load() >= quickCalls && !s.slowCalls() }
