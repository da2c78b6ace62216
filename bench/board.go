package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxNotices bounds the messages for all that are under way.
const maxNotices = 1024

var (
	errForeign  = errors.New("broadcast: a message that was not sent")
	errRepeated = errors.New("broadcast: a message twice, or out of order")
	errGarbled  = errors.New("broadcast: not what was sent")
)

// board is what the loops know together of the messages for all. Any of them may call it.
//
// A message is awaited on the connections that were there when it was sent. On each of them it is, in the
// end, either received or missed: it is missed when a later one comes first, or when the connection is
// lost. So a message is done when as many as awaited it know what became of it.
type board struct {
	payload *payload // its frame is the sender's, the rest is only read
	run     uint32   // in each stamp: the messages of another run are not taken for ours

	mu       sync.Mutex
	present  int // connections
	sent     uint32
	underWay int
	over     bool               // nobody waits any longer
	notices  [maxNotices]notice // by number, in turn

	began, ended time.Duration // of measuring
	broadcasts   int64         // sent, of those that were due while measuring
	missing      int64         // deliveries of them
	first        *hdrhistogram.Histogram
	median       *hdrhistogram.Histogram
	last         *hdrhistogram.Histogram
}

// notice is a message under way.
type notice struct {
	busy     bool
	due      time.Duration
	awaited  int
	received int
	missed   int
	// When the first of those that awaited it had it, half of them, and the last one so far; 0 is never.
	first, median, last time.Duration
}

func newBoard(size int) *board {
	return &board{
		payload: newPayload(size), run: rand.Uint32(), began: math.MaxInt64, ended: math.MaxInt64,
		first: newHistogram(), median: newHistogram(), last: newHistogram(),
	}
}

// join tells of connections that will await what is sent from now on.
func (b *board) join(conns int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present += conns
}

// leave tells that one is lost, which would have received number next.
func (b *board) leave(next uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present--
	b.miss(next, b.sent)
}

// post gives the next message its number, and tells if it counts. There is none while too many are under
// way. Who sends it is one of those that await it.
func (b *board) post(due time.Duration) (number uint32, counts, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := &b.notices[b.sent%maxNotices]
	if n.busy {
		return 0, false, false
	}
	*n = notice{busy: true, due: due, awaited: b.present}
	b.underWay++
	b.sent++
	return b.sent - 1, b.measuring(due), true
}

// receive takes a delivery on a connection that should receive number next. It answers when the message was
// due, and if it counts.
func (b *board) receive(next, number uint32, now time.Duration) (due time.Duration, counts bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case number >= b.sent:
		return 0, false, errForeign
	case number < next:
		return 0, false, errRepeated
	case b.over:
		return 0, false, nil
	}
	b.miss(next, number)
	n := &b.notices[number%maxNotices]
	n.received++
	if n.received == 1 || now < n.first { // loops take their times before they come here
		n.first = now
	}
	n.last = max(n.last, now)
	if n.received == (n.awaited+1)/2 {
		n.median = n.last
	}
	b.settle(n)
	return n.due, b.measuring(n.due), nil
}

// miss tells that a connection won't receive the numbers from first up to end. It awaited all of them, so
// they are under way.
func (b *board) miss(first, end uint32) {
	for ; first < end; first++ {
		n := &b.notices[first%maxNotices]
		n.missed++
		b.settle(n)
	}
}

// settle records a message of which everything is known.
func (b *board) settle(n *notice) {
	if n.received+n.missed == n.awaited {
		b.record(n)
	}
}

func (b *board) record(n *notice) {
	n.busy = false
	b.underWay--
	if !b.measuring(n.due) {
		return
	}
	b.broadcasts++
	b.missing += int64(n.missed)
	for _, t := range []struct {
		known bool
		at    time.Duration
		into  *hdrhistogram.Histogram
	}{{n.first > 0, n.first, b.first}, {n.median > 0, n.median, b.median}, {n.last > 0, n.last, b.last}} {
		if t.known {
			record(t.into, t.at-n.due)
		}
	}
}

func (b *board) measuring(t time.Duration) bool { return t >= b.began && t < b.ended }

func (b *board) begin(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.began = now
}

func (b *board) end(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = now
}

func (b *board) pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.underWay
}

// giveUp is called when nobody waits any longer. What did not come is missing, and the times of its message
// count as what they are at the least; so do those of messages that were due and never sent.
func (b *board) giveUp(now time.Duration, unsent pace, count int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for i := range b.notices {
		n := &b.notices[i]
		if !n.busy {
			continue
		}
		n.missed = n.awaited - n.received
		n.last = now
		if n.median == 0 {
			n.median = now
		}
		if n.first == 0 {
			n.first = now
		}
		b.record(n)
	}
	for ; count > 0; count-- {
		for _, h := range []*hdrhistogram.Histogram{b.first, b.median, b.last} {
			record(h, now-unsent.due())
		}
		unsent.sent++
	}
}

// posted is how many messages there were, the numbers of which begin with 0.
func (b *board) posted() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}
