package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file is the watchdog: it keeps a handler that takes long from holding up the others of its loop.
//
// Handlers run on the loop that found their event, because moving each to the pool costs more than most
// of them take. The watchdog is one alarm a loop. It is set when a loop begins a batch and finds it
// unset. A busy loop then pays for one look a period and two stores for a handler. A loop that has long
// waits between its batches puts the alarm off before each, because a look costs as much as many a batch;
// and an idle one is not watched.
//
// When a loop has made no progress between two looks, another goroutine replaces its own, and gets the
// rest of the batch. The replaced goroutine finishes its turn and ends. A replacement accuses nothing:
// a loop that the kernel gave no processor looks the same as one whose handler blocks. Whether the
// handlers of an endpoint move to the pool is for evidence.go to decide. Replacing alone would not do:
// each of two hundred blocking handlers would hold the loop for a look or two.

const (
	// lookEvery is the watchdog's period. A loop that made no progress for two looks is replaced, so a
	// blocking handler costs the others between one and two periods, once.
	lookEvery = 4 * time.Millisecond
	// fewItems is how little of a batch done in a period makes its handlers slow, though none of
	// them holds the loop for long: more than half a millisecond each.
	fewItems = 8
)

// watch is the watchdog of one loop.
type watch struct {
	loop  *loop
	shift atomic.Pointer[shift]
	alarm *netpoll.Alarm
	armed atomic.Bool

	seen   uint64 // progress at the last look
	looked time.Time
	thread threadClock

	// replacing is held while a shift is deposed, until nothing of it is needed any more.
	replacing sync.Mutex
}

// begin puts a shift in charge of the loop.
func (w *watch) begin(s *shift) {
	w.shift.Store(s)
	w.loop.srv.goroutines.Add(1)
	go spell(w.loop.srv.number, func() { w.loop.run(s) })
}

// arm starts the looking, if it does not go on already.
func (w *watch) arm() {
	if !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.alarm.Set(lookEvery)
	}
}

// batchStarts has the alarm fire within a period. If the loop was not woken before the end of its wait,
// postpone has seen to that: one system call less for each wake-up of a loop that little is asked of.
func (w *watch) batchStarts(s *shift, planned bool) {
	w.thread.note()
	if s.putOff && !planned && w.armed.Load() {
		w.alarm.Set(lookEvery)
	}
	s.putOff = false
	w.arm()
}

// postpone keeps the alarm from firing during a wait of d. A wait of less than zero has no end.
func (w *watch) postpone(s *shift, d time.Duration) {
	if d < 0 {
		w.disarm()
	} else if w.armed.Load() {
		w.thread.wanted.Store(true) // the wait may change the thread
		w.alarm.Set(d + lookEvery)
		s.putOff = true
	}
}

// disarm ends the looking until the next arm.
func (w *watch) disarm() {
	if w.armed.Load() {
		w.thread.wanted.Store(true)
		w.alarm.Stop()
		w.armed.Store(false) // last: a look meanwhile may then leave an alarm set, and never one that is not
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
	ran := w.thread.look(time.Now())
	if now&(resting|deposed) != 0 {
		w.armed.Store(false)
		// A batch may have begun in between, and seen the watchdog armed.
		if w.shift.Load().next.word.Load()&(resting|deposed) == 0 {
			w.arm()
		}
		return
	}
	stuck := now>>batchShift == w.seen>>batchShift && now-w.seen < fewItems
	late := time.Since(w.looked) > 2*lookEvery // then the machine had no time for the loop either
	w.seen, w.looked = now, time.Now()
	if stuck && !late {
		w.depose(s, now, ran)
	}
	w.alarm.Set(lookEvery)
}

// depose puts a new goroutine in charge, if the old one is still where it was seen. A handler that the
// old one is in is noted as evidence; if it is in none, the server's own work took long.
func (w *watch) depose(s *shift, seen uint64, ran share) {
	w.replacing.Lock()
	defer w.replacing.Unlock()
	next, ok := s.next.depose(seen)
	if !ok {
		return
	}
	w.loop.stats.deposed.Add(1)
	if kind := s.running.Load(); kind != nil {
		kind.replaced(&s.worker, w.loop.srv, ran)
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
