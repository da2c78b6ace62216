package bench

import (
	"errors"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gobwas/ws"
)

var (
	errUnasked = errors.New("echo: a message that was not sent")
	errDiffers = errors.New("echo: not what was sent")
)

// echoed is the part of the echo scenario that one loop does.
//
// Messages go out over the connections in turn: the one that has waited longest since its last
// answer comes next, so that all of them are used, however few messages are under way.
type echoed struct {
	bystander
	loop     *loop
	payload  *payload
	pipeline int
	limit    int   // bound of inflight
	pace     *pace // nil: the next is sent when one has come back

	dialogues []dialogue
	intended  []time.Duration // when each message under way was to be sent: pipeline places a connection
	idle      turns
	sending   bool
	inflight  int

	began, ended time.Duration // of measuring
	messages     int64         // answers that came while measuring
	unanswered   int64         // messages of lost connections
	unsent       int64         // due while measuring, but no connection was free
	latency      *hdrhistogram.Histogram
	delay        *hdrhistogram.Histogram // how late messages of a fixed rate were sent
	own          *hdrhistogram.Histogram // of it, while a connection was free
}

// dialogue is what a connection has sent and received. Answers come in the order of the messages.
type dialogue struct {
	sent     uint32
	answered uint32
	offset   int           // bytes of the answer that is being read
	freed    time.Duration // when the last answer came
}

func newEchoed(l *loop, o EchoOptions, i int) *echoed {
	e := &echoed{
		loop: l, payload: newPayload(o.Size), pipeline: o.Pipeline,
		limit:     share(o.Inflight, o.Loops, i),
		dialogues: make([]dialogue, len(l.conns)),
		intended:  make([]time.Duration, len(l.conns)*o.Pipeline),
		idle:      newTurns(len(l.conns) * o.Pipeline),
		began:     math.MaxInt64, ended: math.MaxInt64,
		latency: newHistogram(), delay: newHistogram(), own: newHistogram(),
	}
	if o.Rate > 0 {
		e.pace = &pace{rate: o.Rate / float64(o.Loops)}
	}
	return e
}

// start begins to send, at the next step.
func (e *echoed) start(now time.Duration) {
	e.queueAll()
	e.resume(now)
}

// queueAll gives every connection its turns, once.
func (e *echoed) queueAll() {
	for range e.pipeline {
		for i := range e.dialogues {
			e.idle.push(uint32(i))
		}
	}
}

// resume sends from now on, after an end again, on a new schedule.
func (e *echoed) resume(now time.Duration) {
	e.sending = true
	if e.pace != nil {
		*e.pace = pace{start: now, rate: e.pace.rate}
	}
}

// begin measures from now on, and forgets what was measured before.
func (e *echoed) begin(now time.Duration) {
	e.began, e.ended = now, math.MaxInt64
	e.messages, e.unanswered, e.unsent = 0, 0, 0
	e.latency.Reset()
	e.delay.Reset()
	e.own.Reset()
}

func (e *echoed) end(now time.Duration) {
	e.step(now) // what only the client was late with is not unsent for want of a connection
	e.sending = false
	e.ended = now
	if e.pace != nil {
		e.unsent = e.pace.behind(now)
	}
}

func (e *echoed) pending() int { return e.inflight }

func (e *echoed) measuring(t time.Duration) bool { return t >= e.began && t < e.ended }

// step sends what is due and has room.
func (e *echoed) step(now time.Duration) time.Duration {
	for e.sending && e.inflight < e.limit && e.idle.count > 0 {
		due := now
		if e.pace != nil {
			if due = e.pace.due(); due > now {
				return due - now
			}
		}
		if c := &e.loop.conns[e.idle.pop()]; c.state == open {
			e.send(c, due)
		}
	}
	return forever
}

// send sends one message. At a fixed rate its time counts from when it was due, and else from now,
// which is read anew because sending a batch takes a while.
func (e *echoed) send(c *conn, due time.Duration) {
	now := e.loop.clock()
	d := &e.dialogues[c.index]
	if e.pace == nil {
		due = now
	} else {
		e.pace.sent++
		if e.measuring(due) {
			record(e.delay, now-due)
			record(e.own, now-max(due, d.freed))
		}
	}
	*e.intendedOf(c.index, d.sent) = due
	message := e.payload.message(c.index, d.sent)
	d.sent++
	e.inflight++
	if err := e.loop.send(c, message); err != nil {
		e.loop.drop(c, err)
	}
}

func (e *echoed) intendedOf(conn, seq uint32) *time.Duration {
	return &e.intended[int(conn)*e.pipeline+int(seq)%e.pipeline]
}

func (e *echoed) piece(c *conn, p piece, now time.Duration) error {
	d := &e.dialogues[c.index]
	if d.sent == d.answered {
		return errUnasked
	}
	if p.op != ws.OpBinary || !e.payload.matches(c.index, d.answered, d.offset, p.data) {
		return errDiffers
	}
	d.offset += len(p.data)
	if !p.last {
		return nil
	}
	if d.offset != len(e.payload.plain) {
		return errDiffers
	}
	e.answered(c, d, now)
	return nil
}

func (e *echoed) answered(c *conn, d *dialogue, now time.Duration) {
	due := *e.intendedOf(c.index, d.answered)
	d.answered++
	d.offset = 0
	d.freed = now
	e.inflight--
	e.idle.push(c.index)
	if e.measuring(due) {
		record(e.latency, now-due)
	}
	if e.measuring(now) {
		e.messages++
	}
}

func (e *echoed) lost(c *conn, now time.Duration) {
	d := &e.dialogues[c.index]
	e.countUnanswered(c.index, now)
	open := d.sent - d.answered
	d.answered = d.sent
	e.inflight -= int(open)
	if now >= e.began {
		e.unanswered += int64(open)
	}
}

// missing is how many messages of the measured time have no answer.
func (e *echoed) missing() int64 {
	n := e.unanswered
	for i, d := range e.dialogues {
		for seq := d.answered; seq != d.sent; seq++ {
			if e.measuring(*e.intendedOf(uint32(i), seq)) {
				n++
			}
		}
	}
	return n
}

// countUnanswered adds to the latency how long the messages of a connection that have no answer have
// waited by now. At a fixed rate that is the least that theirs can be, and without them a server that
// answers nobody would look quick. In a closed loop what comes in time depends on what did not, so that
// no such sum says anything.
func (e *echoed) countUnanswered(conn uint32, now time.Duration) {
	d := &e.dialogues[conn]
	for seq := d.answered; e.pace != nil && seq != d.sent; seq++ {
		if due := *e.intendedOf(conn, seq); e.measuring(due) {
			record(e.latency, now-due)
		}
	}
}

// countWaiting does that for all messages that are left when nobody waits any longer, those that were due
// and never sent among them. It is for a fixed rate.
func (e *echoed) countWaiting(now time.Duration) {
	for i := range e.dialogues {
		e.countUnanswered(uint32(i), now)
	}
	for unsent := *e.pace; unsent.sent < e.pace.sent+e.unsent; unsent.sent++ {
		record(e.latency, now-unsent.due())
	}
}

func echoResult(o EchoOptions, r *run) *EchoResult {
	res := &EchoResult{
		SizeBytes: o.Size, Inflight: o.Inflight, Pipeline: o.Pipeline, RatePerSecond: o.Rate,
		WarmupSeconds: o.Warmup.Seconds(),
	}
	latency, delay, own := newHistogram(), newHistogram(), newHistogram()
	r.fleet.each(func(l *loop) {
		e := l.scenario.(*echoed)
		if e.pace != nil {
			e.countWaiting(l.clock())
		}
		latency.Merge(e.latency)
		delay.Merge(e.delay)
		own.Merge(e.own)
		res.Messages += e.messages
		res.Unanswered += e.unanswered + int64(e.inflight)
		res.Unsent += e.unsent
	})
	res.Latency, res.Curve = percentilesOf(latency), curveOf(latency)
	if o.Rate > 0 {
		p := percentilesOf(delay)
		res.SendDelay = &p
	}
	r.fill(&res.Common)
	res.Warnings = append(res.Warnings, tardiness("the client", percentilesOf(own), res.Latency)...)
	return res
}

// turns is a queue of connections with room for another message. Its size is fixed: a connection
// is in it once for each message that it has room for.
type turns struct {
	ring  []uint32
	head  int
	count int
}

func newTurns(n int) turns { return turns{ring: make([]uint32, n)} }

func (t *turns) push(conn uint32) {
	if t.count == len(t.ring) {
		panic("bench: a connection queues for more room than it has")
	}
	t.ring[(t.head+t.count)%len(t.ring)] = conn
	t.count++
}

func (t *turns) pop() uint32 {
	conn := t.ring[t.head]
	t.head = (t.head + 1) % len(t.ring)
	t.count--
	return conn
}
