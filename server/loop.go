package server

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// loop is one poller, one wheel and the connections that wait on them. One goroutine at a time
// serves it; which one changes when a handler overstays, see watch.go.
type loop struct {
	srv  *Server
	poll netpoll.Poller

	mu    sync.Mutex // a leaf: nothing else is locked while it is held
	table table
	wheel *wheel.Wheel
	grid  tickGrid
	queue []*Conn // connections for which something is to be done, in order
	bulk  []*Conn // connections that had their share and have more to read, in order
	// read holds the slots of connections that read bulkFrom bytes or more in their last turn.
	read slotSet
	// sleeping is whether the loop waits in the poller, and until when if sleepEnds.
	sleeping, sleepEnds bool
	until               wheel.Time
	acceptors           []*acceptor
	dueMost             int  // taken from the wheel at once: less where handlers take long
	dueFull             bool // as many were, the last time

	beat  atomic.Pointer[beat] // what the loop was asked and did not answer yet, see health.go
	watch watch
	stats counters
	ranks ranks
}

const (
	batchEvents = 256 // taken from the kernel at once
	batchDue    = 256 // taken from the wheel at once, at the most
	leastDue    = 8   // and at the least
	batchQueue  = 64  // taken from the queue at once
	batchBulk   = 4   // taken from the bulk connections that wait at once

	// longBatch is the time, in milliseconds, from which a batch is too long that was full of what was
	// due: events wait for as much as two of them. It takes handlers of more than 30 µs to get there.
	longBatch = wheel.Time(8)

	listenerToken netpoll.Token = 1 << 63 // of an acceptor; the rest is its index
)

func newLoop(s *Server) (*loop, error) {
	poll, err := netpoll.New(s.Poller)
	if err != nil {
		return nil, err
	}
	l := &loop{srv: s, poll: poll, wheel: wheel.New(s.now()), dueMost: batchDue}
	l.grid.adjust()
	l.watch.loop = l
	if l.watch.alarm, err = netpoll.NewAlarm(); err != nil {
		poll.Close()
		return nil, err
	}
	return l, nil
}

// close ends the goroutines of a loop that has no connections any more, or never had any.
func (l *loop) close() {
	l.watch.alarm.Close()
	l.poll.Close()
}

// start puts the first goroutine in charge.
func (l *loop) start() {
	l.srv.goroutines.Add(1)
	go l.watch.run()
	l.watch.begin(l.newShift())
}

// addAcceptor makes a listener known to the loop, and returns its token.
func (l *loop) addAcceptor(a *acceptor) netpoll.Token {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acceptors = append(l.acceptors, a)
	return listenerToken | netpoll.Token(len(l.acceptors)-1)
}

// run serves the loop until it is closed or somebody else was put in charge of it.
func (l *loop) run(s *shift) {
	defer l.srv.goroutines.Done()
	returned := false
	defer func() {
		if !returned {
			l.watch.goexit(s)
		}
	}()
	for s.work() {
		if !l.gather(s) {
			returned = true
			return
		}
	}
	returned = true
	s.recycle()
}

// gather waits for work and takes a batch of it. What is due by the clock goes first, because it
// has a time to be held against.
func (l *loop) gather(s *shift) bool {
	wait, wake := l.fallAsleep()
	if s.sparse {
		l.watch.postpone(s, wait)
	}
	n, err := l.poll.Wait(s.events[:], wait)
	if err != nil {
		if !errors.Is(err, netpoll.ErrClosed) {
			l.srv.log().Error("event loop ends", "error", err)
			go l.srv.Close()
		}
		return false
	}
	last := s.now
	s.now = wheelTime(l.srv.clock.look(wake))
	planned := s.sparse && !s.now.Before(l.until) // mu is for the readers of until: this goroutine writes it
	s.sparse = s.now-last > 1
	s.items, s.batchRead = s.items[:0], 0
	l.mu.Lock()
	l.sleeping = false
	l.fit(s.now - last)
	due := s.due[:l.wheel.Advance(s.now, s.due[:l.dueMost])]
	l.dueFull = len(due) == l.dueMost
	for _, slot := range due {
		if c := l.table.get(slot); c != nil {
			s.items = append(s.items, item{conn: c, what: itemDue, placed: l.wheel.LastDue(slot)})
		}
	}
	l.take(s, s.events[:n])
	l.mu.Unlock()
	s.fetch()
	if b := l.beat.Load(); b != nil {
		l.answer(b)
	}
	s.next.start()
	if len(s.items) > 0 {
		l.watch.batchStarts(s, planned)
	}
	return true
}

// fit changes how much is taken from the wheel at once by how long the last batch took. If it was full
// nothing was waited for since. Ticks that the machine can't carry are full batches one after the other,
// and all else that a loop does has to wait for the ticks of a batch to end. The lock is held.
func (l *loop) fit(took wheel.Time) {
	switch {
	case !l.dueFull:
		l.dueMost = batchDue
	case took > longBatch:
		l.dueMost = max(l.dueMost/2, leastDue)
	case took < longBatch/4:
		l.dueMost = min(2*l.dueMost, batchDue)
	}
}

// take adds events and what waits to a batch, small messages before bulk. The lock is held.
func (l *loop) take(s *shift, events []netpoll.Event) {
	l.takeEvents(s, events)
	l.takeQueues(s)
	s.items = append(s.items, s.bulk...)
	clear(s.bulk)
	s.bulk = s.bulk[:0]
}

// takeEvents finds whose events they are. One whose connection is gone, though its slot may have a
// new one, is dropped here. Connections that read much in their last turn are put aside in s.bulk. The
// lock is held.
func (l *loop) takeEvents(s *shift, events []netpoll.Event) {
	for _, ev := range events {
		if ev.Token&listenerToken != 0 {
			if i := int(ev.Token &^ listenerToken); i < len(l.acceptors) {
				s.items = append(s.items, item{accept: l.acceptors[i], what: itemAccept})
			}
			continue
		}
		c := l.table.get(uint32(ev.Token & slotMask))
		switch {
		case c == nil || c.token() != ev.Token:
		case ev.Ready&netpoll.Readable != 0 && l.read.remove(c.slot):
			s.bulk = append(s.bulk, item{conn: c, what: itemBulk, ready: ev.Ready})
		default:
			s.items = append(s.items, item{conn: c, what: itemEvent, ready: ev.Ready})
		}
	}
}

// takeQueues takes the first of those that wait for another turn. Bulk goes behind the rest, and a few
// of it in each batch, so neither waits for all of the other. The lock is held.
func (l *loop) takeQueues(s *shift) {
	s.takeFrom(&l.queue, batchQueue)
	s.takeFrom(&l.bulk, batchBulk)
	for _, a := range l.acceptors {
		if a.again.CompareAndSwap(true, false) {
			s.items = append(s.items, item{accept: a, what: itemAccept})
		}
	}
}

// fallAsleep returns how long the loop may wait, and until when by the server's clock. It notes that the loop
// sleeps, so that new work wakes it.
func (l *loop) fallAsleep() (wait, wake time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue)+len(l.bulk) > 0 || l.acceptAgain() {
		return 0, never
	}
	l.sleeping = true
	l.until, l.sleepEnds = l.wheel.Next()
	if !l.sleepEnds {
		return -1, never
	}
	now := l.srv.clock.now()
	wait = max(0, -sinceAt(now, l.until))
	return wait, now + wait
}

func (l *loop) acceptAgain() bool {
	for _, a := range l.acceptors {
		if a.again.Load() {
			return true
		}
	}
	return false
}

// enqueue lets c have another turn behind those that wait already. Any goroutine may call it.
func (l *loop) enqueue(c *Conn) {
	l.mu.Lock()
	l.queue = append(l.queue, c)
	l.wakeIf(l.sleeping)
}

// enqueueBulk is enqueue for a connection that had its share. Any goroutine may call it.
func (l *loop) enqueueBulk(c *Conn) {
	l.mu.Lock()
	l.bulk = append(l.bulk, c)
	l.wakeIf(l.sleeping)
}

// markBulk notes that c read much in its turn. Any goroutine may call it.
func (l *loop) markBulk(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read.add(c.slot)
}

// waiting is how many connections wait for another turn.
func (l *loop) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) + len(l.bulk)
}

// rouse ends the loop's sleep, for those who left word elsewhere. Any goroutine may call it.
func (l *loop) rouse() {
	l.mu.Lock()
	l.wakeIf(l.sleeping)
}

// yield lets the loops have their turn in the midst of long work of the server's own. While every
// processor of Go's is busy nobody asks the kernel what is ready, for up to ten milliseconds; so those
// loops that sleep are made to. Any goroutine may call it, without any lock.
func (s *Server) yield() {
	for _, l := range s.loops() {
		l.rouse()
	}
	runtime.Gosched()
}

// sooner makes sure that the place at slot comes up at due or before. Any goroutine may call it.
func (l *loop) sooner(slot uint32, due wheel.Time) {
	l.mu.Lock()
	l.wheel.Sooner(slot, due)
	l.wakeIf(l.sleeping && (!l.sleepEnds || due.Before(l.until)))
}

// wakeIf ends the lock, and the loop's sleep if it must be ended. One call wakes it.
func (l *loop) wakeIf(wake bool) {
	if wake {
		l.sleeping = false
	}
	l.mu.Unlock()
	if wake {
		l.poll.Wake()
	}
}

// add makes c known to the loop, which may serve it, and end it, before add returns. When it fails,
// c is as good as finished, but for its descriptor.
func (l *loop) add(c *Conn) error {
	l.mu.Lock()
	c.slot = l.table.add(c)
	l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.has(stGone) {
		return nil // a shutdown was quicker
	}
	c.placeSooner()
	err := l.poll.Add(int(c.fd), c.token(), netpoll.Read)
	if err != nil {
		c.state |= stGone | stDead
		if c.concluded() {
			l.stats.closing.Add(-1)
		}
		l.remove(c)
	}
	return err
}

// remove forgets c. Its descriptor is still open, so no other connection can have its events.
func (l *loop) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.remove(c.slot)
	l.wheel.Remove(c.slot)
}

// each calls f for every connection of the loop, page by page and without the lock.
func (l *loop) each(f func(*Conn) bool) bool {
	conns, ok := l.page(0, nil)
	for i := 1; ok; i++ {
		for _, c := range conns {
			if !f(c) {
				return false
			}
		}
		conns, ok = l.page(i, conns[:0])
	}
	return true
}

// page copies out the connections of the table's i-th page, and tells whether there is one.
func (l *loop) page(i int, dst []*Conn) ([]*Conn, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i >= len(l.table.pages) {
		return dst, false
	}
	return l.table.page(i, dst), true
}
