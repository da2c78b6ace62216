package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// This file sees to it that a handler that takes long holds up nobody else.
//
// Handlers run on the loop that found their event, because handing each over costs more than most
// of them take. So somebody has to look whether a loop gets on. The watcher is one alarm a loop. It
// is set when a loop begins a batch and finds it unset. A busy loop then pays for one look a period
// and one store for a handler. One that has long waits between its batches puts the alarm off before each,
// because a look costs as much as many a batch; and an idle one is not watched.
//
// When a loop has not got on between two looks, its role goes to another goroutine, together with
// the rest of its batch. The slow handler's goroutine finishes what it is at, and finds that it
// serves no loop any more. And the endpoint whose handler it was is marked slow: for a while its
// handlers run on the pool. Moving the role alone would not do, for each of two hundred blocking
// handlers would again hold the loop for a look or two.

const (
	// lookEvery is the watcher's period. A loop that got no further for two looks is deposed, so a
	// blocking handler costs the others between one and two periods, once. Shorter periods would take
	// a loop that the operating system put aside for a blocked one.
	lookEvery = 4 * time.Millisecond
	// slowFor is how long the handlers of an endpoint stay on the pool after one was slow, in
	// milliseconds, and how long it takes to find out whether they still are.
	slowFor = wheel.Time(500)
	// slowMost is up to how long they stay there when they overstay again within as much time after they
	// came back: each time twice as long. Where one handler in some hundred is slow, the mean of all
	// is not, and holding up the loop for it every second would show in the 99th percentile of everybody.
	slowMost = wheel.Time(8000)
	// slowMean is the mean duration from which handlers on the pool are slow. A few that the operating
	// system put aside don't come up to it; handing over costs some microseconds itself.
	slowMean = 200 * time.Microsecond
	// fewItems is how little of a batch done in a period makes its handlers slow, though none of
	// them holds the loop for long: more than half a millisecond each.
	fewItems = 8
)

// watch is the watcher of one loop.
type watch struct {
	loop  *loop
	shift atomic.Pointer[shift]
	alarm *netpoll.Alarm
	armed atomic.Bool
	// putOff says that the alarm was set to a period after the end of the present or last wait. It belongs
	// to the goroutine that serves the loop.
	putOff bool

	seen   uint64 // progress at the last look
	looked time.Time

	// replacing is held while a shift is deposed, until nothing of it is needed any more.
	replacing sync.Mutex
}

// begin puts a shift in charge of the loop.
func (w *watch) begin(s *shift) {
	w.shift.Store(s)
	w.loop.srv.goroutines.Add(1)
	go w.loop.run(s)
}

// arm starts the looking, if it does not go on already.
func (w *watch) arm() {
	if !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.alarm.Set(lookEvery)
	}
}

// batchStarts has the alarm fire within a period. If the loop was not woken before the end of its wait,
// postpone has seen to that: one system call less for each wake-up of a loop that little is asked of.
func (w *watch) batchStarts(planned bool) {
	if w.putOff && !planned && w.armed.Load() {
		w.alarm.Set(lookEvery)
	}
	w.putOff = false
	w.arm()
}

// postpone keeps the alarm from firing during a wait of d. A wait of less than zero has no end.
func (w *watch) postpone(d time.Duration) {
	if d < 0 {
		w.disarm()
	} else if w.armed.Load() {
		w.alarm.Set(d + lookEvery)
		w.putOff = true
	}
}

// disarm ends the looking until the next arm.
func (w *watch) disarm() {
	if w.armed.CompareAndSwap(true, false) {
		w.alarm.Stop()
	}
}

// run looks when the alarm says so, until it is closed.
func (w *watch) run() {
	defer w.loop.srv.goroutines.Done()
	for w.alarm.Wait() == nil {
		w.look()
	}
}

func (w *watch) look() {
	s := w.shift.Load()
	now := s.next.word.Load()
	if now&(resting|deposed) != 0 {
		w.armed.Store(false)
		// A batch may have begun in between, and seen the watcher armed.
		if w.shift.Load().next.word.Load()&(resting|deposed) == 0 {
			w.arm()
		}
		return
	}
	stuck := now>>batchShift == w.seen>>batchShift && now-w.seen < fewItems
	late := time.Since(w.looked) > 2*lookEvery // then the machine had no time for the loop either
	w.seen, w.looked = now, time.Now()
	if stuck && !late {
		w.depose(s, now)
	}
	w.alarm.Set(lookEvery)
}

// depose puts a new goroutine in charge, if the old one is still where it was seen.
func (w *watch) depose(s *shift, seen uint64) {
	w.replacing.Lock()
	defer w.replacing.Unlock()
	next, ok := s.next.depose(seen)
	if !ok {
		return
	}
	w.loop.stats.deposed.Add(1)
	if handlers := s.running.Load(); handlers != nil {
		handlers.overstayed(w.loop.srv.now())
	}
	w.replace(s, next)
	if next > 0 && next <= len(s.items) && s.items[next-1].conn != nil {
		s.items[next-1].conn.setCork(false) // what was answered before goes out
	}
}

// goexit replaces a goroutine that a handler ended with runtime.Goexit, as testing.T.FailNow does.
func (w *watch) goexit(s *shift) {
	for {
		seen := s.next.word.Load()
		if seen&deposed != 0 {
			break
		}
		if next, ok := s.next.depose(seen); ok {
			w.replace(s, next)
			break
		}
	}
	s.inHand().goexited(&s.worker)
}

// replace puts a new goroutine in charge of the loop, and of what s has not begun.
func (w *watch) replace(s *shift, next int) {
	heir := w.loop.newShift()
	heir.now = s.now
	heir.items = append(heir.items, s.items[min(next, len(s.items)):]...)
	busy := len(heir.items) > 0
	w.begin(heir)
	if busy {
		w.arm()
	}
}

// slowness says whether handlers are handed over to the pool: those of one kind, of one endpoint.
type slowness struct {
	lane  *lane         // where they are handed over to
	until atomic.Uint32 // in the wheel's time; 0 is not at all
	last  atomic.Uint32 // what until was before that
	span  atomic.Uint32 // for how long it was meant, after the last that overstayed
	spent atomic.Int64  // nanoseconds in handlers on the pool, since the last verdict
	calls atomic.Int64  // of them
}

// overstayed hands handlers over because one held its loop: the longer, the sooner that came again.
func (s *slowness) overstayed(now wheel.Time) {
	span := slowFor
	switch last := wheel.Time(s.span.Load()); {
	case last == 0:
	case s.until.Load() != 0: // another loop saw it too
		span = last
	case now.Before(wheel.Time(s.last.Load()) + slowMost):
		span = min(2*last, slowMost)
	}
	s.span.Store(uint32(span))
	s.handOver(now, span)
}

func (s *slowness) mark(now wheel.Time) { s.handOver(now, slowFor) }

func (s *slowness) handOver(now, span wheel.Time) {
	s.spent.Store(0)
	s.calls.Store(0)
	until := uint32(now+span) | 1
	s.last.Store(until)
	s.until.Store(until)
}

// took counts a handler that ran on the pool.
func (s *slowness) took(d time.Duration) {
	s.spent.Add(int64(d))
	s.calls.Add(1)
}

// is tells whether handlers are handed over now. When the time is over, it is those that ran on the
// pool meanwhile that decide whether it begins anew; and they have not even ended where the lane is
// full.
func (s *slowness) is(now wheel.Time) bool {
	until := s.until.Load()
	if until == 0 {
		return false
	}
	if now.Before(wheel.Time(until)) {
		return true
	}
	if s.proved() {
		s.mark(now)
		return true
	}
	s.until.CompareAndSwap(until, 0) // or it would come round again with the wheel's time
	return false
}

// marked tells whether handlers are handed over now, and decides nothing.
func (s *slowness) marked(srv *Server) bool {
	until := s.until.Load()
	return until != 0 && srv.now().Before(wheel.Time(until))
}

func (s *slowness) proved() bool {
	calls := s.calls.Load()
	return calls > 0 && time.Duration(s.spent.Load()/calls) > slowMean || s.lane.full()
}
