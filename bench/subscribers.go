package bench

import (
	"context"
	"fmt"
	"time"
)

// Subscribers are connections that stay and take what the server sends them. Unlike a scenario they
// are led from outside, step by step: how many there are, when messages are counted and in which
// period they are expected. So they can be spread over processes that do the same steps together. All
// methods are for one goroutine at a time, but for Count, which any may call at any time.
type Subscribers struct {
	fleet *fleet
	room  int // connections that may be tried in all
}

// SubscribersOptions are what subscribers are told at the beginning.
type SubscribersOptions struct {
	Options
	// Spare is how many connections may be tried beyond Conns, in place of those that failed.
	Spare int
	// Rate bounds the connections that are dialled a second, all together; 0 is as fast as ConnectBurst
	// allows.
	Rate float64
	// FirstSource is where this process begins among the loopback addresses that connections come
	// from, so that processes that subscribe together don't all begin with the same.
	FirstSource int
}

// Subscribe starts the event loops. No connection is opened before Open.
func Subscribe(ctx context.Context, o SubscribersOptions) (*Subscribers, error) {
	o.Options = o.Options.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	t, err := resolve(ctx, o.URL)
	if err != nil {
		return nil, err
	}
	if err := checkDescriptors(o.Conns); err != nil {
		return nil, err
	}
	t.first, t.many = o.FirstSource, true
	o.Conns += o.Spare
	f, err := newFleet(t, o.Options, 0, func(l *loop, _ int) scenario {
		if o.Rate > 0 {
			l.pace, l.late = &pace{rate: o.Rate / float64(o.Loops)}, newHistogram()
		}
		return &subscribed{
			ticked: ticked{loop: l, lateness: newLateness(time.Second, len(l.conns))},
			heard:  make([]uint32, len(l.conns)),
		}
	})
	if err != nil {
		return nil, err
	}
	return &Subscribers{fleet: f, room: o.Conns}, nil
}

// Open tries until n connections have opened since Subscribe. One that fails has another tried in its
// place, from another port, so that a server of several processes that share one by hash may take it;
// when nothing is left of Spare the error says why they failed.
func (s *Subscribers) Open(ctx context.Context, n int) error {
	for {
		c := s.fleet.census()
		if c.opened >= n {
			return nil
		}
		tried := int(s.fleet.tried.Load())
		if tried >= s.room {
			return fmt.Errorf("bench: %d of %d connections opened: %s", c.opened, n, reasons(c.failed))
		}
		if err := s.fleet.open(ctx, min(tried+n-c.opened, s.room), func(int) {}); err != nil {
			return err
		}
	}
}

// Count is what became of the connections so far.
type Count struct {
	Opened   int            `json:"opened"` // whatever became of them
	Open     int            `json:"open"`
	Failed   map[string]int `json:"failed,omitempty"` // to open, by reason
	Lost     map[string]int `json:"lost,omitempty"`   // by reason
	Messages int64          `json:"messages"`         // received, counted or not
}

// Count adds up what the loops know. It waits for what each is doing at the moment.
func (s *Subscribers) Count() Count {
	c := s.fleet.census()
	count := Count{Opened: c.opened, Open: c.open, Failed: c.failed, Lost: c.lost}
	s.each(func(_ *loop, of *subscribed) { count.Messages += of.total })
	return count
}

// Listen begins to count, anew: from now on a message is expected every period.
func (s *Subscribers) Listen(every time.Duration) {
	s.each(func(l *loop, of *subscribed) { of.listen(l.clock(), every) })
}

// Heard is what was counted since Listen.
type Heard struct {
	Messages int64 `json:"messages"`
	Lateness Times `json:"lateness"`
	// Missing ticks were due and never came; Silent connections got no message, and their ticks are
	// not among the missing.
	Missing int64 `json:"missing"`
	Silent  int   `json:"silent"`
	// Ticks is how many of the connections that are open got so many messages.
	Ticks map[int]int `json:"ticks"`
}

// Add takes in what another process heard at the same time.
func (h *Heard) Add(other *Heard) {
	h.Messages += other.Messages
	h.Missing += other.Missing
	h.Silent += other.Silent
	h.Lateness.Add(other.Lateness)
	if h.Ticks == nil {
		h.Ticks = map[int]int{}
	}
	for ticks, conns := range other.Ticks {
		h.Ticks[ticks] += conns
	}
}

// Heard ends counting, and judges.
func (s *Subscribers) Heard() *Heard {
	h := &Heard{Ticks: map[int]int{}}
	s.each(func(l *loop, of *subscribed) { of.tell(l.clock(), h) })
	return h
}

// Cut judges what was counted since Listen, or since the last Cut, and goes on counting on the same
// schedules: what comes late after it is late by the times before it. Messages of a connection that are
// missing behind the last that came are left for the next Cut, or for Heard.
func (s *Subscribers) Cut() *Heard {
	h := &Heard{Ticks: map[int]int{}}
	s.each(func(_ *loop, of *subscribed) { of.cut(h) })
	return h
}

// HangUp closes all connections without a closing handshake, so that the server sees the end of the
// stream, and ends the loops.
func (s *Subscribers) HangUp() {
	s.fleet.each((*loop).hangUpAll)
	s.fleet.close()
}

// Close resets all connections and ends the loops. There is no closing handshake: a great number of
// them would take long, and leave as many ports at rest.
func (s *Subscribers) Close() {
	s.fleet.each((*loop).reset)
	s.fleet.close()
}

func (s *Subscribers) each(fn func(*loop, *subscribed)) {
	s.fleet.each(func(l *loop) { fn(l, l.scenario.(*subscribed)) })
}

// subscribed is the part of it that one loop does: ticked, over and over again, and by connection.
type subscribed struct {
	ticked
	heard []uint32 // messages counted, by connection
	total int64    // whether counted or not
}

func (s *subscribed) piece(c *conn, p piece, now time.Duration) error {
	if p.last {
		s.total++
		if s.counting {
			s.heard[c.index]++
		}
	}
	return s.ticked.piece(c, p, now)
}

func (s *subscribed) listen(now, every time.Duration) {
	clear(s.heard)
	s.messages = 0
	s.lateness.restart(every)
	s.begin(now)
}

func (s *subscribed) cut(h *Heard) {
	s.lateness.cut()
	s.report(h)
	clear(s.heard)
	s.messages = 0
	s.lateness.reset()
}

func (s *subscribed) tell(now time.Duration, h *Heard) {
	s.end(now)
	s.report(h)
}

// report adds what was counted.
func (s *subscribed) report(h *Heard) {
	for i, n := range s.heard {
		if s.loop.conns[i].state == open {
			h.Ticks[int(n)]++
		}
	}
	h.Messages += s.messages
	h.Missing += s.lateness.missing
	h.Silent += s.lateness.silent
	h.Lateness.take(s.lateness.late)
}
