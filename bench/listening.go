package bench

import (
	"encoding/binary"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gobwas/ws"
)

// retryTime is how long a sender waits that has too many messages under way, if nothing comes from the
// server: what frees a place may have come to another loop.
const retryTime = 10 * time.Millisecond

// listening is the part of the broadcast scenario that one loop does. The first loop also sends.
type listening struct {
	bystander
	loop  *loop
	board *board
	ears  []ear

	pace    *pace // nil for those that only listen
	from    int   // the connection to send on; the next one when it is lost
	sending bool
	unsent  int64                   // due while measuring
	crowded bool                    // those that are due now had to wait
	delay   *hdrhistogram.Histogram // how late messages were sent
	own     *hdrhistogram.Histogram // of it, those that had not to wait

	stalled int   // of the connections
	late    int64 // messages that those took in the end

	joined   bool
	counting bool
	messages int64 // that came while measuring
	latency  *hdrhistogram.Histogram
	rush     rush
}

// ear is what a connection has heard.
type ear struct {
	next   uint32 // the number of the next message
	offset int    // bytes of the message that is being read
	stamp  [stampSize]byte
}

func newListening(l *loop, b *board, o BroadcastOptions, i int) *listening {
	s := &listening{
		loop: l, board: b, ears: make([]ear, len(l.conns)), stalled: share(o.Stalled, o.Loops, i),
		latency: newHistogram(), delay: newHistogram(), own: newHistogram(),
	}
	if i == 0 {
		s.pace = &pace{rate: o.Rate}
	}
	return s
}

// join makes the board await what comes on the connections that are open, but for those that stall.
func (s *listening) join() {
	conns := 0
	for i := range s.loop.conns {
		if s.loop.conns[i].state == open {
			conns++
		}
	}
	s.joined = true
	s.stalled = s.loop.stall(min(s.stalled, conns-1)) // the sender reads
	s.board.join(conns - s.stalled)
}

// start begins to send, at the next step.
func (s *listening) start(now time.Duration) {
	if s.pace != nil {
		s.pace.start, s.sending = now, true
	}
}

func (s *listening) begin(now time.Duration) {
	s.counting = true
	if s.pace != nil {
		s.board.begin(now)
	}
}

func (s *listening) end(now time.Duration) {
	s.counting = false
	if s.pace == nil {
		return
	}
	s.step(now) // what only the client was late with is not unsent
	s.sending = false
	s.unsent = s.pace.behind(now)
	s.board.end(now)
}

func (s *listening) pending() int {
	if s.pace == nil {
		return 0 // the sender's loop answers for all
	}
	return s.board.pending()
}

// step sends what is due. It waits while the server does not take what was sent before.
func (s *listening) step(now time.Duration) time.Duration {
	for s.sending {
		due := s.pace.due()
		if due > now {
			s.crowded = false
			return due - now
		}
		c := s.sender()
		if c == nil {
			return forever
		}
		if len(c.out) > 0 || !s.send(c, due) {
			s.crowded = true
			return retryTime
		}
	}
	return forever
}

// send sends a message, if not too many are under way.
func (s *listening) send(c *conn, due time.Duration) bool {
	number, counts, ok := s.board.post(due)
	if !ok {
		return false
	}
	s.pace.sent++
	if late := s.loop.clock() - due; counts {
		record(s.delay, late)
		if !s.crowded {
			record(s.own, late)
		}
	}
	if err := s.loop.send(c, s.board.payload.message(s.board.run, number)); err != nil {
		s.loop.drop(c, err)
	}
	return true
}

// sender is the first connection that is still open; nil if none is.
func (s *listening) sender() *conn {
	for ; s.from < len(s.loop.conns); s.from++ {
		if c := &s.loop.conns[s.from]; c.state == open {
			return c
		}
	}
	return nil
}

// piece compares what comes with what was sent. Which message it should be is known when its stamp is
// complete.
func (s *listening) piece(c *conn, p piece, now time.Duration) error {
	e := &s.ears[c.index]
	rest := p.data
	if e.offset < stampSize {
		n := copy(e.stamp[e.offset:], rest)
		e.offset, rest = e.offset+n, rest[n:]
		if e.offset < stampSize {
			return garbledIf(p.last)
		}
	}
	number, run := binary.LittleEndian.Uint32(e.stamp[:]), binary.LittleEndian.Uint32(e.stamp[4:])
	switch {
	case run != s.board.run:
		return errForeign
	case p.op != ws.OpBinary, !s.board.payload.matches(run, number, e.offset, rest):
		return errGarbled
	}
	if e.offset += len(rest); !p.last {
		return nil
	}
	if e.offset != len(s.board.payload.plain) {
		return errGarbled
	}
	return s.heard(c, number, now)
}

func garbledIf(garbled bool) error {
	if garbled {
		return errGarbled
	}
	return nil
}

// heard takes a whole message.
func (s *listening) heard(c *conn, number uint32, now time.Duration) error {
	e := &s.ears[c.index]
	if c.stalled {
		return s.heardLate(e, number)
	}
	due, counts, err := s.board.receive(e.next, number, now)
	if err != nil {
		return err
	}
	e.next, e.offset = number+1, 0
	if s.counting {
		s.messages++
	}
	if counts {
		record(s.latency, now-due)
		s.rush.note(number, now, s.loop.waited)
	}
	return nil
}

func (s *listening) lost(c *conn, _ time.Duration) {
	if s.joined && !c.stalled {
		s.board.leave(s.ears[c.index].next)
	}
}

// rush tells how busy a loop is while copies of a message come: whether it waits for the server in between,
// or the server for it. While copies of two messages come mixed, those of the older one are left out.
type rush struct {
	number        uint32
	began, ended  time.Duration
	waited, until time.Duration // the loop's sum of waits at those times

	span, waits time.Duration // of the rushes before
}

func (r *rush) note(number uint32, now, waited time.Duration) {
	switch {
	case number > r.number || r.ended == 0:
		r.close()
		r.number, r.began, r.waited = number, now, waited
		fallthrough
	case number == r.number:
		r.ended, r.until = now, waited
	}
}

// close adds the last rush to those before.
func (r *rush) close() {
	r.span += r.ended - r.began
	r.waits += r.until - r.waited
	r.began, r.waited = r.ended, r.until
}

// busyOf is how much of the time between the first and the last copy was not waited.
func busyOf(span, waits time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return 100 * (1 - float64(waits)/float64(span))
}
