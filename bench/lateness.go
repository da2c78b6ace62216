package bench

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// lateness judges how late periodic messages are, without being told when they are due.
//
// Each connection has a schedule of its own: tick number n is due at anchor + n·every. Only the
// server knows the anchor, so the best guess from outside is the message that came earliest against
// that schedule: if number(i) is the least number that message i can have, the anchor is the least
// arrival(i) − number(i)·every. So no message is ever early, and one that came at its best counts
// as on time.
//
// Messages carry no number. Each is taken for the latest tick that was due when it came and that
// the messages after it leave free, which is the reading that is kindest to the server. A number
// that nobody has is a missing tick: the server skipped it, or its whole schedule slipped.
//
// What this can't see: a delay that every message of a connection has; and the phase, so a server
// that sends to all connections in one burst is only judged by how much the burst wavers. What the
// client itself is late in reading counts against the server; the client's processor time says how
// likely that is.
//
// Arrivals are kept until a window of them is full, then the older half is judged and forgotten.
// So memory is bounded, and three things hold within a window only: the anchor may move when a
// later message comes earlier than any before, which does not mend what was judged already (a run
// of up to 32 ticks is judged at its end, with all of it known); and a backlog that is delivered at
// once is numbered rightly up to 16 ticks.
type lateness struct {
	every   time.Duration
	rows    []schedule
	late    *hdrhistogram.Histogram // in µs
	missing int64
	silent  int // connections without a message
}

// window is how many arrivals of a connection are kept, of 8 bytes each.
const window = 32

// schedule is what is known of one connection.
type schedule struct {
	arrivals [window]time.Duration // not judged yet
	count    int
	anchor   time.Duration
	next     int64 // the least number that arrivals[0] can have
	begun    bool  // anchor holds
}

func newLateness(every time.Duration, conns int) *lateness {
	return &lateness{every: every, rows: make([]schedule, conns), late: newHistogram()}
}

// restart forgets everything, for a server that has another period from now on.
func (l *lateness) restart(every time.Duration) {
	l.every = every
	clear(l.rows)
	l.reset()
}

// reset forgets what was judged, and keeps the schedules.
func (l *lateness) reset() {
	l.missing, l.silent = 0, 0
	l.late.Reset()
}

// cut judges all that has come, of every connection, whose schedule goes on.
func (l *lateness) cut() {
	for i := range l.rows {
		if s := &l.rows[i]; s.count > 0 {
			l.judge(s, s.count)
		}
	}
}

// arrived takes a message of a connection. A connection's messages come in the order of time.
func (l *lateness) arrived(conn uint32, at time.Duration) {
	s := &l.rows[conn]
	if s.count == window {
		l.judge(s, window/2)
	}
	s.arrivals[s.count] = at
	s.count++
}

// finish judges what is left of a connection that was watched until end. A tick that was due less
// than a period before may still be on its way, and is not missed.
func (l *lateness) finish(conn uint32, end time.Duration) {
	s := &l.rows[conn]
	if s.count == 0 {
		l.silent++
		return
	}
	l.judge(s, s.count)
	due := int64((end - l.every - s.anchor) / l.every) // the last tick that must have come
	l.missing += max(0, due+1-s.next)
	*s = schedule{}
}

// judge numbers all arrivals, then records and forgets the first n of them.
func (l *lateness) judge(s *schedule, n int) {
	l.moveAnchor(s)
	var numbers [window]int64
	number := int64(math.MaxInt64)
	for i := s.count - 1; i >= 0; i-- {
		number = min(number-1, int64((s.arrivals[i]-s.anchor)/l.every))
		numbers[i] = number
	}
	for i, number := range numbers[:n] {
		l.missing += number - s.next
		s.next = number + 1
		record(l.late, s.arrivals[i]-s.anchor-time.Duration(number)*l.every)
	}
	s.count = copy(s.arrivals[:], s.arrivals[n:s.count])
}

func (l *lateness) moveAnchor(s *schedule) {
	for i, at := range s.arrivals[:s.count] {
		guess := at - time.Duration(s.next+int64(i))*l.every
		if !s.begun || guess < s.anchor {
			s.anchor, s.begun = guess, true
		}
	}
}
