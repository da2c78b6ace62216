package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/stillpool/stillpool/netpoll"
)

const (
	// sweepPeriod is how often visitors are looked at without an event, or more often if they drip
	// faster: who sends slowly, and who waits in vain.
	sweepPeriod = 20 * time.Millisecond
	// turnCalls bounds the system calls of one turn, so that those that flood leave time to others.
	turnCalls = 4
	// reportPeriod is how often a crowd tells what it has done.
	reportPeriod = 200 * time.Millisecond
)

// crowd is connections that come again when they were ended, and do what the script of their kind
// says. One goroutine serves them all; unlike those of a fleet they are dialled at a fixed rate, and
// a place is used again.
type crowd struct {
	options  HostileOptions
	poller   netpoll.Poller
	target   target
	plain    *upgrader
	offering *upgrader // of compression
	linger   time.Duration
	period   time.Duration // of sweeps
	began    time.Time
	now      time.Duration
	buf      []byte

	parties  []*party
	visitors []visitor
	ready    turns                   // who can go on without an event
	latency  *hdrhistogram.Histogram // of newcomers
}

// party is all of one kind.
type party struct {
	kind   *kind
	absent turns // places whose visitor is not there
	pace   pace
	report KindReport
}

// newCrowd makes places for o.Conns visitors, spread evenly over the kinds. When it is told to end,
// it waits for those that are there as long as linger says.
func newCrowd(t target, o HostileOptions, kinds []*kind, linger time.Duration) (*crowd, error) {
	if err := checkDescriptors(o.Conns); err != nil {
		return nil, err
	}
	p, err := netpoll.New(netpoll.Epoll)
	if err != nil {
		return nil, err
	}
	c := &crowd{
		options: o, poller: p, target: t, plain: newUpgrader(t), offering: newUpgrader(t), linger: linger,
		period: min(sweepPeriod, o.Drip), began: time.Now(), buf: make([]byte, readBuffer),
		visitors: make([]visitor, o.Conns), ready: newTurns(o.Conns), latency: newHistogram(),
	}
	c.offering.offer = offers
	for i, k := range kinds {
		n := share(o.Conns, len(kinds), i)
		c.parties = append(c.parties, &party{
			kind: k, absent: newTurns(n), pace: pace{rate: o.Rate / float64(len(kinds))},
			report: KindReport{Kind: k.name, Conns: n, Ends: map[string]int{}},
		})
	}
	for i := range c.visitors {
		p := c.parties[i%len(kinds)]
		c.visitors[i] = visitor{index: uint32(i), number: i / len(kinds), party: p}
		p.absent.push(uint32(i))
	}
	return c, nil
}

// run serves until ctx ends. It calls report now and then, and at the end.
func (c *crowd) run(ctx context.Context, report func()) error {
	defer c.close()
	defer context.AfterFunc(ctx, c.poller.Wake)()
	events := make([]netpoll.Event, batch)
	var nextSweep, nextReport, end time.Duration
	for {
		c.now = time.Since(c.began)
		if ctx.Err() == nil {
			end = c.now + c.linger
			c.admit()
		} else if c.now >= end || c.present() == 0 {
			break
		}
		if c.now >= nextSweep {
			nextSweep = c.now + c.period
			c.sweep()
		}
		if c.now >= nextReport {
			nextReport = c.now + reportPeriod
			report()
		}
		n, err := c.poller.Wait(events, c.patience())
		if err != nil {
			return err
		}
		c.now = time.Since(c.began)
		for _, ev := range events[:n] {
			c.serve(ev)
		}
		c.goOn()
	}
	c.giveUp()
	report()
	return nil
}

// present is how many visitors are there, at any stage.
func (c *crowd) present() int {
	n := len(c.visitors)
	for _, p := range c.parties {
		n -= p.absent.count
	}
	return n
}

// admit dials those that are due. A party that was complete for a while does not make up for it.
func (c *crowd) admit() {
	for _, p := range c.parties {
		if p.absent.count == 0 {
			p.pace.start, p.pace.sent = c.now, 0
		}
		for p.absent.count > 0 && p.pace.due() <= c.now {
			c.dial(&c.visitors[p.absent.pop()], p.pace.due())
			p.pace.sent++
		}
	}
}

// patience is how long to wait for an event.
func (c *crowd) patience() time.Duration {
	if c.ready.count > 0 {
		return 0
	}
	wait := c.period
	for _, p := range c.parties {
		if p.absent.count > 0 {
			wait = min(wait, max(0, p.pace.due()-c.now))
		}
	}
	return wait
}

// goOn gives a turn to each of those that were not done with their last one.
func (c *crowd) goOn() {
	for range c.ready.count {
		v := &c.visitors[c.ready.pop()]
		v.queued = false
		if v.stage != unused {
			c.attend(v)
		}
	}
}

var errUnserved = errors.New("not served in time")

// sweep gives a turn to those that are due, and gives up on those that wait in vain.
func (c *crowd) sweep() {
	oldest := c.now - c.options.ConnectTimeout
	for i := range c.visitors {
		v := &c.visitors[i]
		switch late := v.since < oldest; {
		case v.stage == unused:
		case late && v.stage == connecting:
			c.end(v, errConnectTimeout)
		case late && v.awaiting:
			c.end(v, errUpgradeTimeout)
		case late && v.party.kind.heard != nil:
			c.end(v, errUnserved)
		case v.until > 0 && c.sends(v):
			c.attend(v)
		}
	}
}

// giveUp ends those that were waited for. Hostile ones are not: they count as they are.
func (c *crowd) giveUp() {
	for i := range c.visitors {
		if v := &c.visitors[i]; c.linger > 0 && v.stage != unused {
			c.end(v, errUnserved)
		}
	}
}

func (c *crowd) close() {
	for i := range c.visitors {
		if v := &c.visitors[i]; v.stage != unused {
			_ = netpoll.Reset(int(v.fd))
		}
	}
	c.poller.Close()
}
