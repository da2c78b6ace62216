package million

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// crew are all children of a run.
type crew struct {
	options Options
	starter *starter
	servers []*child
	clients []*child
	seq     int           // of the last order
	news    chan struct{} // capacity 1: a child has reported or ended
	ending  atomic.Bool   // children are meant to end
	died    func(*child)  // called when one ends that was not meant to
}

func newCrew(o Options, died func(*child)) *crew {
	return &crew{options: o, starter: newStarter(), news: make(chan struct{}, 1), died: died}
}

// endTime is how long children may take to end when they are told to. A client resets its connections
// first.
const endTime = 30 * time.Second

// answerTime bounds the wait for children to carry out an order. Even one that has a processor for a
// fiftieth of the time takes a tenth of this.
const answerTime = time.Minute

// start starts n children of a role.
func (c *crew) start(ctx context.Context, role string, n, procs int) ([]*child, error) {
	var all []*child
	env := []string{fmt.Sprintf("GOMAXPROCS=%d", procs)}
	for i := range n {
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		child, err := startChild(c.starter, c.options.Command, role, i, env, c.hear)
		if err != nil {
			return all, fmt.Errorf("million: starting %s %d of %d: %w", role, i+1, n, err)
		}
		all = append(all, child)
	}
	return all, nil
}

// hear is called by the goroutine that listens to a child.
func (c *crew) hear(ch *child) {
	if ch.hasEnded() && !c.ending.Load() {
		c.died(ch)
	}
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// order tells each of the children to do something, and waits until those that still live have, which
// must be soon. The answers are in the children's order; one that has died has none. An error is the first
// of theirs, after all have answered.
func (c *crew) order(ctx context.Context, to []*child, what func(i int) order) ([]report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.options.answer, ErrNoAnswer)
	defer cancel()
	return c.longOrder(ctx, to, what)
}

// longOrder is an order that takes as long as it takes.
func (c *crew) longOrder(ctx context.Context, to []*child, what func(i int) order) ([]report, error) {
	c.seq++
	for i, ch := range to {
		o := what(i)
		o.Seq = c.seq
		ch.send(o)
	}
	for {
		answers, missing := c.answers(to)
		if missing == 0 {
			return answers, firstError(answers)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.news:
		}
	}
}

// answers are those to the last order.
func (c *crew) answers(of []*child) (answers []report, missing int) {
	for _, ch := range of {
		ended := ch.hasEnded() // before its answers are looked at: it may have given one first
		switch r, ok := ch.answered(c.seq); {
		case ok:
			answers = append(answers, r)
		case !ended:
			missing++
		}
	}
	return answers, missing
}

func firstError(answers []report) error {
	for _, r := range answers {
		if r.Error != "" {
			return errors.New(r.Error)
		}
	}
	return nil
}

// answeredAt is when each of the children answered the last order, in order of time.
func (c *crew) answeredAt(of []*child) (all []time.Time) {
	answers, _ := c.answers(of)
	for _, r := range answers {
		all = append(all, time.Unix(0, r.At))
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// all are servers and clients.
func (c *crew) all() []*child { return append(c.servers[:len(c.servers):len(c.servers)], c.clients...) }

// at are the counts of all at a time.
func (c *crew) at(t time.Time) (n counts) {
	for _, ch := range c.all() {
		n = n.plus(ch.at(t.UnixNano()))
	}
	return n
}

// now are the counts of all as far as they have reported.
func (c *crew) now() (n counts) {
	for _, ch := range c.all() {
		n = n.plus(ch.last().Counts)
	}
	return n
}

// stop ends all children, the clients first: so the connections are ended from their side, without a
// port at rest, and the servers find nobody to say goodbye to.
func (c *crew) stop() {
	c.ending.Store(true)
	for _, group := range [][]*child{c.clients, c.servers} {
		deadline, cancel := context.WithTimeout(context.Background(), c.options.ending)
		for _, ch := range group {
			ch.stop()
		}
		for _, ch := range group {
			ch.await(deadline.Done())
		}
		cancel()
	}
	c.starter.stop()
}
