package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/stillpool/stillpool/netpoll"
)

const (
	batch        = 512             // events a wait
	readBuffer   = 64 << 10        // one for all connections of a loop
	maxControl   = 4 << 10         // bytes of answers to pings that may wait for a server to read
	expirePeriod = time.Second / 4 // how often half-open connections are looked at
)

// forever is the wait of who waits for nothing but events.
const forever time.Duration = -1

// scenario is what a loop does with its open connections. All calls come from the loop.
type scenario interface {
	// opened tells of a connection whose upgrade was checked.
	opened(c *conn)
	// piece takes a piece of a data message that arrived at now. An error ends the connection.
	piece(c *conn, p piece, now time.Duration) error
	// lost tells that an open connection is gone. It must not close others: step may.
	lost(c *conn, now time.Duration)
	// step does what is due, after each event and before each wait. It returns how long until
	// something else is due, or forever.
	step(now time.Duration) time.Duration
	// begin and end are the bounds of measuring. After end nothing more is sent.
	begin(now time.Duration)
	end(now time.Duration)
	// pending is how many messages are still to be answered.
	pending() int
}

// bystander is a scenario that does nothing; others embed it for what does not concern them.
type bystander struct{}

func (bystander) opened(*conn)                            {}
func (bystander) piece(*conn, piece, time.Duration) error { return nil }
func (bystander) lost(*conn, time.Duration)               {}
func (bystander) step(time.Duration) time.Duration        { return forever }
func (bystander) begin(time.Duration)                     {}
func (bystander) end(time.Duration)                       {}
func (bystander) pending() int                            { return 0 }

// loop owns a part of the fleet's connections and serves them on one goroutine. Others reach it
// through do only.
type loop struct {
	poller   netpoll.Poller
	target   target
	burst    int                     // bound of opening
	pace     *pace                   // of dialling; nil for as fast as burst allows
	late     *hdrhistogram.Histogram // with a pace: how late it dialled when there was room all the time
	crowded  bool                    // those that are due now had no room
	timeout  time.Duration
	maxOut   int // bytes that may wait for the kernel, a connection
	scenario scenario
	upgrade  *upgrader
	clock    func() time.Duration // since the fleet began
	tried    func()               // called for each connection that opened or failed to

	conns   []conn
	buf     []byte
	want    int // how many of conns to dial
	next    int // the first that was not dialled yet
	settled int // the first that may be opening
	opening int // how many are being opened
	opened  int // and have been, whatever became of them
	closing int
	bytesIn int64
	now     time.Duration // when the bytes at hand were read
	waited  time.Duration // for events, in all

	lastOpened time.Duration
	lastClosed time.Duration  // of those that we closed
	failed     map[string]int // why they did not open
	lost       map[string]int // why they did not stay open
	ends       map[string]int // the same of those that were not to read

	calls   chan func()
	stopped bool
	ended   chan struct{}
	err     error // after ended
}

func (l *loop) run() {
	defer close(l.ended)
	defer l.poller.Close()
	l.err = l.serveUntilStopped()
	l.hangUpAll()
}

func (l *loop) serveUntilStopped() error {
	events := make([]netpoll.Event, batch)
	nextExpiry := l.clock()
	for !l.stopped {
		wait := l.prepare(&nextExpiry)
		from := l.clock()
		n, err := l.poller.Wait(events, wait)
		if err != nil {
			return err
		}
		l.now = l.clock()
		l.waited += l.now - from
		for _, ev := range events[:n] {
			l.serve(ev)
		}
		l.obey()
	}
	return nil
}

// prepare does what needs no event, and tells how long to wait for one.
func (l *loop) prepare(nextExpiry *time.Duration) time.Duration {
	l.now = l.clock()
	if l.opening > 0 && l.now >= *nextExpiry {
		l.expire()
		*nextExpiry = l.now + expirePeriod
	}
	nextDial := l.dialAll()
	wait := sooner(l.scenario.step(l.now), nextDial)
	if l.opening > 0 {
		wait = sooner(wait, expirePeriod)
	}
	return wait
}

// setPace lets l dial at a rate a second.
func (l *loop) setPace(rate float64) { l.pace, l.late = &pace{rate: rate}, newHistogram() }

// dialAll dials those that are due and have room, and tells how long until another is due.
func (l *loop) dialAll() time.Duration {
	for l.next < l.want && l.opening < l.burst {
		if l.pace != nil {
			late := l.clock() - l.pace.due()
			if late < 0 {
				l.crowded = false
				return -late
			}
			if !l.crowded {
				record(l.late, late)
			}
			l.pace.sent++
		}
		l.dial()
	}
	l.crowded = l.next < l.want
	return forever
}

// sooner is the shorter of two waits, of which forever is the longest.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// obey runs what do has left.
func (l *loop) obey() {
	for {
		select {
		case call := <-l.calls:
			call()
		default:
			return
		}
	}
}

// do runs fn on the loop's goroutine and waits for it. It returns at once if the loop has ended.
func (l *loop) do(fn func()) {
	done := make(chan struct{})
	select {
	case l.calls <- func() { fn(); close(done) }:
	case <-l.ended:
		return
	}
	l.poller.Wake()
	select {
	case <-done:
	case <-l.ended:
	}
}
