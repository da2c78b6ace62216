package server

import (
	"sync"
	"sync/atomic"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// shift is what a goroutine that serves a loop has in hand: a batch of work, of which next is the
// index of the item to be begun. The watcher looks at next from outside, and by changing it takes
// away what was not begun.
type shift struct {
	worker
	loop   *loop
	items  []item
	bulk   []item // events of connections that read much in their last turn, while a batch is taken
	events [batchEvents]netpoll.Event
	due    [batchDue]wheel.ID

	sparse bool // the loop has waited for more than a millisecond
	putOff bool // the watchdog's alarm was set to a period after the end of the current or last wait
	next   progress

	fetched uint32 // means nothing: it is what keeps fetch from being optimised away
}

// item is one thing to do for a connection, or for an acceptor.
type item struct {
	conn   *Conn
	accept *acceptor
	what   what
	ready  netpoll.Ready
	placed wheel.Time // of what is due: when its place came up
}

type what uint8

const (
	itemDue what = iota
	itemEvent
	itemBulk
	itemResume
	itemAccept
)

// shifts are pooled because a goroutine that was deposed leaves one behind.
var shifts = sync.Pool{New: func() any {
	return &shift{worker: worker{role: onLoop, buf: make([]byte, readBuffer)}}
}}

func (l *loop) newShift() *shift {
	s := shifts.Get().(*shift)
	s.loop, s.srv = l, l.srv
	return s
}

// recycle gives a shift back after its goroutine was deposed: its loop's watcher has another one now.
func (s *shift) recycle() {
	// What it did not begin is taken from it before it is anybody else's.
	s.loop.watch.replacing.Lock()
	defer s.loop.watch.replacing.Unlock()
	clear(s.items)
	s.items, s.req, s.tickOf, s.putOff = s.items[:0], Request{}, 0, false
	s.next.start() // of a batch of nothing, in no goroutine's hands
	shifts.Put(s)
}

// work serves the batch and reports whether this goroutine still serves the loop.
func (s *shift) work() bool {
	for {
		i := s.next.begin()
		if i >= len(s.items) {
			return s.next.rest()
		}
		it := &s.items[i]
		switch it.what {
		case itemDue:
			it.conn.comeUp(&s.worker, it.placed)
		case itemEvent:
			it.conn.event(&s.worker, it.ready)
		case itemBulk:
			it.conn.bulkEvent(&s.worker, it.ready)
		case itemResume:
			it.conn.resume(&s.worker, stQueued)
		case itemAccept:
			it.accept.run(s.loop)
		}
	}
}

// takeFrom takes the first n connections of a queue, or all of them.
func (s *shift) takeFrom(queue *[]*Conn, n int) {
	q := *queue
	n = min(n, len(q))
	for _, c := range q[:n] {
		s.items = append(s.items, item{conn: c, what: itemResume})
	}
	clear(q[:n]) // what was taken must not be kept alive by the array
	if *queue = q[n:]; len(*queue) == 0 {
		*queue = nil
	}
}

// inHand is the connection whose item was begun last, or nil.
func (s *shift) inHand() *Conn {
	if i := int(s.next.word.Load() & (deposed - 1)); i > 0 && i <= len(s.items) {
		return s.items[i-1].conn
	}
	return nil
}

// fetch touches the records of a batch before the first of them is served. After a second of rest they
// are in no cache, and misses that don't wait for each other overlap.
func (s *shift) fetch() {
	for i := range s.items {
		if c := s.items[i].conn; c != nil && c.loop == s.loop {
			s.fetched += c.slot // never changed, as loop is, and both ends of what is needed first
		}
	}
}

// progress is how far a shift is with its batch: the number of the batch and the index of the next
// item in one word, so that the watcher sees both change together.
type progress struct{ word atomic.Uint64 }

const (
	batchShift = 32
	resting    = 1 << 29 // the batch is done; the goroutine waits for the next
	deposed    = 1 << 30 // another goroutine has the loop
	indexMask  = 1<<batchShift - 1
)

// begin converts an index with both flags to an int, which must stay positive in 32 bits too.
const _ int32 = resting | deposed

// begin takes the next item. It answers one past every batch when there is none, or none any more.
func (p *progress) begin() int { return int((p.word.Add(1) - 1) & indexMask) }

// start begins a batch.
func (p *progress) start() { p.word.Store((p.word.Load()>>batchShift + 1) << batchShift) }

// rest ends a batch, and tells whether the loop is still this goroutine's.
func (p *progress) rest() bool {
	for {
		old := p.word.Load()
		if old&deposed != 0 {
			return false
		}
		if p.word.CompareAndSwap(old, old&^indexMask|resting) {
			return true
		}
	}
}

// depose takes the loop away from a goroutine that is where seen says, and tells the index of the
// first item that it did not begin.
func (p *progress) depose(seen uint64) (int, bool) {
	return int(seen & indexMask), p.word.CompareAndSwap(seen, seen|deposed)
}
