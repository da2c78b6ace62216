package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newTestBoard awaits messages on so many connections, and measures all of them.
func newTestBoard(conns int) *board {
	b := newBoard(stampSize)
	b.join(conns)
	b.begin(0)
	return b
}

func wantBoard(t *testing.T, b *board, broadcasts, missing int64, underWay int) {
	t.Helper()
	if b.broadcasts != broadcasts || b.missing != missing || b.pending() != underWay {
		t.Errorf("%d messages, %d deliveries missing, %d under way; want %d, %d and %d",
			b.broadcasts, b.missing, b.pending(), broadcasts, missing, underWay)
	}
}

// received takes a delivery that must be right.
func (b *board) received(t *testing.T, next, number uint32, now time.Duration) {
	t.Helper()
	if _, _, err := b.receive(next, number, now); err != nil {
		t.Errorf("number %d where %d was next: %v", number, next, err)
	}
}

func TestBoardTimes(t *testing.T) {
	for _, c := range []struct {
		arrivals            []time.Duration
		first, median, last time.Duration
	}{
		{[]time.Duration{12}, 2, 2, 2},
		{[]time.Duration{12, 15}, 2, 2, 5},
		{[]time.Duration{12, 15, 20}, 2, 5, 10},
		{[]time.Duration{12, 15, 20, 30}, 2, 5, 20},
		{[]time.Duration{12, 15, 20, 18}, 2, 5, 10}, // of another loop, which came to the board later
	} {
		b := newTestBoard(len(c.arrivals))
		b.post(10 * ms)
		for _, at := range c.arrivals {
			b.received(t, 0, 0, at*ms)
		}
		wantBoard(t, b, 1, 0, 0)
		wantHistogram(t, "first", b.first, c.first*ms)
		wantHistogram(t, "median", b.median, c.median*ms)
		wantHistogram(t, "last", b.last, c.last*ms)
	}
}

func TestBoardCountsOnlyWhatWasDueWhileMeasuring(t *testing.T) {
	b := newTestBoard(1)
	b.began = 100 * ms
	for i, due := range []time.Duration{99 * ms, 100 * ms, 199 * ms} {
		if _, counts, _ := b.post(due); counts != (i > 0) {
			t.Errorf("a message due at %v counts: %v", due, counts)
		}
	}
	b.end(200 * ms)
	for i := range uint32(3) {
		if _, counts, _ := b.receive(i, i, 300*ms); counts != (i > 0) {
			t.Errorf("message %d counts: %v", i, counts)
		}
	}
	wantBoard(t, b, 2, 0, 0)
	wantHistogram(t, "last", b.last, 200*ms, 101*ms)
}

func TestBoardRefuses(t *testing.T) {
	b := newTestBoard(2)
	b.post(10 * ms)
	b.post(20 * ms)
	b.received(t, 0, 0, 30*ms)
	for _, c := range []struct {
		next, number uint32
		want         error
	}{{1, 0, errRepeated}, {2, 1, errRepeated}, {1, 2, errForeign}, {0, 1 << 31, errForeign}} {
		if _, _, err := b.receive(c.next, c.number, 30*ms); err != c.want {
			t.Errorf("number %d where %d was next: %v, want %v", c.number, c.next, err, c.want)
		}
	}
	wantBoard(t, b, 0, 0, 2) // none of that changed anything
}

// TestBoardMisses has three connections: one receives everything, one passes over the second message and is
// lost then, one gets nothing until the end.
func TestBoardMisses(t *testing.T) {
	b := newTestBoard(3)
	for i := range uint32(4) {
		b.post(time.Duration(i+1) * 10 * ms)
		b.received(t, i, i, 100*ms)
	}
	b.received(t, 0, 0, 110*ms)
	b.received(t, 1, 2, 120*ms)
	b.leave(3)
	wantBoard(t, b, 0, 0, 4)
	b.giveUp(200*ms, pace{start: 140 * ms, rate: 100}, 2)
	wantBoard(t, b, 4, 2+4, 0)
	wantHistogram(t, "first", b.first, 90*ms, 80*ms, 70*ms, 60*ms, 60*ms, 50*ms)
	// Half of three are two. The second message and the last reached one, so half have waited for it until
	// the end.
	wantHistogram(t, "median", b.median, 100*ms, 180*ms, 90*ms, 160*ms, 60*ms, 50*ms)
	wantHistogram(t, "last", b.last, 190*ms, 180*ms, 170*ms, 160*ms, 60*ms, 50*ms)

	if _, counts, err := b.receive(0, 3, 210*ms); counts || err != nil {
		t.Errorf("what is missing counts when it comes: %v", err)
	}
	b.leave(0)
	wantBoard(t, b, 4, 2+4, 0)
}

// TestBoardIsBounded posts as many messages as may be under way. The next one must wait for the first.
func TestBoardIsBounded(t *testing.T) {
	b := newTestBoard(1)
	for i := range maxNotices {
		if _, _, ok := b.post(time.Duration(i+1) * ms); !ok {
			t.Fatalf("message %d is one too many", i)
		}
	}
	if _, _, ok := b.post(time.Minute); ok {
		t.Errorf("more than %d are under way", maxNotices)
	}
	b.received(t, 0, 0, time.Minute)
	if number, _, ok := b.post(time.Minute); !ok || number != maxNotices {
		t.Errorf("number %d, %v", number, ok)
	}
	wantBoard(t, b, 1, 0, maxNotices)
}

// TestBoardOfModelServers lets servers of which everything is known deliver, pass over and lose at random,
// with messages under way all the time.
func TestBoardOfModelServers(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		conns := make([]uint32, 1+rnd.IntN(9)) // the next number of each
		left := make([]bool, len(conns))
		b := newTestBoard(len(conns))
		var model modelBoard
		now := ms
		for range 600 {
			now += time.Duration(rnd.IntN(20)) * ms
			i := rnd.IntN(len(conns))
			switch {
			case rnd.IntN(4) == 0 && b.present > 0: // or nobody could send
				if _, _, ok := b.post(now); ok {
					model.post(now, left)
				}
			case left[i]:
			case rnd.IntN(200) == 0:
				left[i] = true
				b.leave(conns[i])
			case conns[i] < b.sent:
				number := conns[i] + uint32(rnd.IntN(int(b.sent-conns[i])))
				if rnd.IntN(3) > 0 {
					number = conns[i]
				}
				b.received(t, conns[i], number, now)
				model.notices[number].arrivals = append(model.notices[number].arrivals, now)
				conns[i] = number + 1
			}
		}
		b.giveUp(now, pace{}, 0)
		model.check(t, b, conns, left, now)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// modelBoard keeps everything, and works it out at the end.
type modelBoard struct{ notices []modelNotice }

type modelNotice struct {
	due      time.Duration
	awaited  int
	arrivals []time.Duration
}

func (m *modelBoard) post(due time.Duration, left []bool) {
	awaited := 0
	for _, gone := range left {
		if !gone {
			awaited++
		}
	}
	m.notices = append(m.notices, modelNotice{due: due, awaited: awaited})
}

func (m *modelBoard) check(t *testing.T, b *board, conns []uint32, left []bool, end time.Duration) {
	t.Helper()
	first, median, last := newHistogram(), newHistogram(), newHistogram()
	var missing int64
	for number, n := range m.notices {
		missing += int64(n.awaited - len(n.arrivals))
		waiting := false // somebody still was, at the end
		for i, next := range conns {
			waiting = waiting || !left[i] && next <= uint32(number)
		}
		note := func(h *hdrhistogram.Histogram, place int) {
			switch {
			case place <= len(n.arrivals):
				record(h, n.arrivals[place-1]-n.due)
			case waiting:
				record(h, end-n.due)
			}
		}
		note(first, 1)
		note(median, max(1, (n.awaited+1)/2))
		if k := len(n.arrivals); waiting {
			note(last, k+1)
		} else if k > 0 {
			note(last, k)
		}
	}
	wantBoard(t, b, int64(len(m.notices)), missing, 0)
	for _, x := range []struct {
		name      string
		got, want *hdrhistogram.Histogram
	}{{"first", b.first, first}, {"median", b.median, median}, {"last", b.last, last}} {
		if !x.got.Equals(x.want) {
			t.Errorf("%s: %d times, %v; want %d, %v", x.name,
				x.got.TotalCount(), percentilesOf(x.got), x.want.TotalCount(), percentilesOf(x.want))
		}
	}
}
