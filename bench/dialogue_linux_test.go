package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// stage is the echo scenario on connections whose other end is in the test, at a time that the test
// sets.
type stage struct {
	*echoed
	t     *testing.T
	now   time.Duration
	peers []int
}

func newStage(t *testing.T, o EchoOptions) *stage {
	s := &stage{t: t}
	o.Loops = 1
	l := &loop{clock: func() time.Duration { return s.now }, maxOut: 1 << 20, conns: make([]conn, o.Conns)}
	for i := range l.conns {
		ours, theirs := socketPair(t)
		l.conns[i] = conn{index: uint32(i), fd: int32(ours), state: open}
		s.peers = append(s.peers, theirs)
	}
	s.echoed = newEchoed(l, o, 0)
	l.scenario = s
	s.start(0)
	s.begin(0)
	return s
}

// received is what the server has of a connection.
func (s *stage) received(i int) int {
	var buf [4096]byte
	n, _ := unix.Read(s.peers[i], buf[:])
	return bytes.Count(buf[:max(n, 0)], s.payload.frame[:2])
}

// reply is the answer to the oldest message of a connection.
func (s *stage) reply(i int) {
	s.t.Helper()
	p := bytes.Clone(s.payload.plain)
	stamp := stampOf(uint32(i), s.dialogues[i].answered)
	copy(p, stamp[:])
	if err := s.piece(&s.loop.conns[i], piece{op: ws.OpBinary, data: p, last: true}, s.now); err != nil {
		s.t.Fatal(err)
	}
}

// TestRateCountsFromWhenDue stalls the server for a third of a second: the messages that were due
// meanwhile are late from when they were due, not from when they could be sent.
func TestRateCountsFromWhenDue(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 1, Pipeline: 1, Rate: 10})
	s.step(s.now)
	s.now = 350 * ms // 100, 200 and 300 ms were due
	s.step(s.now)
	s.reply(0)
	for range 3 {
		s.step(s.now)
		s.now += 10 * ms
		s.reply(0)
	}
	if wait := s.step(s.now); wait != 400*ms-s.now {
		t.Errorf("at %v the next message is due in %v", s.now, wait)
	}
	wantTimes(t, "latency", percentilesOf(s.latency), 350*ms, s.latency.TotalCount(), 4)
	wantTimes(t, "send delay", percentilesOf(s.delay), 250*ms, s.delay.TotalCount(), 4)

	s.now = 800 * ms // 500, 600, 700 and 800 are due, 400 is under way
	s.step(s.now)
	s.end(s.now)
	if s.unsent != 3 || s.pending() != 1 {
		t.Errorf("%d were never sent and %d are under way, want 3 and 1", s.unsent, s.pending())
	}
}

// TestPhasesAreApart measures twice on the same connections. What was left without an answer the first
// time is missing then, and not the second time.
func TestPhasesAreApart(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 2}, Size: 16, Inflight: 2, Pipeline: 1, Rate: 10})
	s.step(s.now)
	s.now = 350 * ms
	s.step(s.now)
	s.reply(0)
	s.now = 400 * ms
	s.end(s.now) // sends what was due at 200
	s.reply(1)
	if s.missing() != 1 || s.unsent != 1 || s.messages != 1 || s.latency.TotalCount() != 2 {
		t.Errorf("first: %d missing, %d unsent, %d messages, %d times", s.missing(), s.unsent, s.messages, s.latency.TotalCount())
	}
	s.now = 1_000 * ms
	s.step(s.now)
	if s.inflight != 1 {
		t.Error("it sends after the end")
	}
	s.resume(s.now)
	s.begin(s.now)
	s.step(s.now)
	s.now += 30 * ms
	s.reply(1)
	s.now += 20 * ms
	s.end(s.now)
	if s.missing() != 0 || s.unsent != 0 || s.messages != 1 {
		t.Errorf("then: %d missing, %d unsent, %d messages", s.missing(), s.unsent, s.messages)
	}
	wantTimes(t, "latency", percentilesOf(s.latency), 30*ms, s.latency.TotalCount(), 1)
}

// TestWaitingCounts has one message under way and two that were never sent.
func TestWaitingCounts(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 1, Pipeline: 1, Rate: 10})
	s.step(s.now)
	s.now = 300 * ms // 100 and 200 were due
	s.end(s.now)
	s.countWaiting(s.now)
	want := newHistogram()
	for _, waited := range []time.Duration{300, 200, 100} {
		record(want, waited*ms)
	}
	if !s.latency.Equals(want) {
		t.Errorf("latency is %v, want %v", percentilesOf(s.latency), percentilesOf(want))
	}
}

// TestClientIsToldFromItsServer sends two messages late: one because the only connection was taken, one
// because the client did not get round to it.
func TestClientIsToldFromItsServer(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 1, Pipeline: 1, Rate: 10})
	s.step(s.now)
	s.now = 350 * ms
	s.reply(0)
	s.step(s.now) // was due at 100
	wantTimes(t, "of the client", percentilesOf(s.own), 0, s.own.TotalCount(), 2)
	s.reply(0)
	s.now = 370 * ms
	s.step(s.now) // was due at 200, and could be sent since 350
	wantTimes(t, "of the client", percentilesOf(s.own), 20*ms, s.own.TotalCount(), 3)
	wantTimes(t, "in all", percentilesOf(s.delay), 250*ms, s.delay.TotalCount(), 3)
}

func wantTimes(t *testing.T, name string, p Percentiles, most time.Duration, n, want int64) {
	t.Helper()
	if got := time.Duration(p.Max) * time.Microsecond; got.Round(ms) != most || n != want {
		t.Errorf("%s: %d messages, %v at most, want %d and %v", name, n, got, want, most)
	}
}

// TestPipelinedAnswersBelongToTheirMessages sends three messages on one connection, 100 ms apart.
func TestPipelinedAnswersBelongToTheirMessages(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 3, Pipeline: 3, Rate: 10})
	for range 3 {
		s.step(s.now)
		s.now += 100 * ms
	}
	want := newHistogram()
	for i := range 3 {
		s.reply(0)
		record(want, s.now-time.Duration(i)*100*ms)
	}
	if !s.latency.Equals(want) {
		t.Errorf("latency is %v, want %v", percentilesOf(s.latency), percentilesOf(want))
	}
}

// TestAllConnectionsTakeTurns keeps two messages under way over five connections.
func TestAllConnectionsTakeTurns(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 5}, Size: 16, Inflight: 2, Pipeline: 1})
	s.step(s.now)
	for i := range 20 {
		if s.inflight != 2 {
			t.Fatalf("%d messages under way, want 2", s.inflight)
		}
		if n := s.received(i % 5); n != 1 {
			t.Fatalf("message %d: connection %d has sent %d, want 1", i, i%5, n)
		}
		s.reply(i % 5)
		s.step(s.now)
	}
}

func TestLostConnectionGivesItsPlaceToAnother(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 3}, Size: 16, Inflight: 2, Pipeline: 1})
	s.step(s.now)
	s.loop.conns[0].state = closed
	s.lost(&s.loop.conns[0], s.now)
	s.step(s.now)
	if s.inflight != 2 || s.received(2) != 1 || s.unanswered != 1 {
		t.Errorf("%d under way, %d unanswered", s.inflight, s.unanswered)
	}
}

// TestLostAtARateCounts loses a connection with a message under way, at a fixed rate and without.
func TestLostAtARateCounts(t *testing.T) {
	for rate, want := range map[float64][]time.Duration{10: {50 * ms}, 0: nil} {
		s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 1, Pipeline: 1, Rate: rate})
		s.step(s.now)
		s.now = 50 * ms
		s.loop.conns[0].state = closed
		s.lost(&s.loop.conns[0], s.now)
		wantHistogram(t, "latency", s.latency, want...)
	}
}

func TestAnswerThatNobodyAskedFor(t *testing.T) {
	s := newStage(t, EchoOptions{Options: Options{Conns: 1}, Size: 16, Inflight: 1, Pipeline: 1})
	if err := s.piece(&s.loop.conns[0], piece{op: ws.OpBinary, last: true}, 0); err != errUnasked {
		t.Errorf("got %v", err)
	}
}

// TestPayloadIsKnownAgain compares every prefix, split and changed byte.
func TestPayloadIsKnownAgain(t *testing.T) {
	for _, size := range []int{1, 7, 8, 9, 40} {
		p := newPayload(size)
		h, err := ws.ReadHeader(bytes.NewReader(p.message(3, 5)))
		if err != nil || !h.Masked || h.Length != int64(size) {
			t.Fatalf("size %d: %+v, %v", size, h, err)
		}
		sent := bytes.Clone(p.message(3, 5)[ws.HeaderSize(h):])
		ws.Cipher(sent, h.Mask, 0)
		for i := range sent {
			if !p.matches(3, 5, 0, sent[:i]) || !p.matches(3, 5, i, sent[i:]) {
				t.Errorf("size %d split at %d is not known", size, i)
			}
			sent[i] ^= 1
			if p.matches(3, 5, 0, sent) {
				t.Errorf("size %d changed at %d is taken for the same", size, i)
			}
			sent[i] ^= 1
		}
		if p.matches(3, 5, 0, append(sent, 0)) || p.matches(3, 6, 0, sent) || size > 4 && p.matches(2, 5, 0, sent) {
			t.Errorf("size %d: a longer message, or one of another number or connection, is taken for the same", size)
		}
	}
}
