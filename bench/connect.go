package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ConnectOptions are the options of [Connect]. The default path of its URL is /echo by custom. Settle and
// SlopeFrom do nothing here.
//
// ConnectTimeout bounds the time of closing, too.
type ConnectOptions struct {
	Options
	// Rate is the number of connections a second to open, whatever becomes of those before; 0 opens the
	// next when one has opened, ConnectBurst at a time. That many are the most at a Rate, too.
	Rate float64 `json:"rate_per_second,omitempty"`
	// Pause is how long to wait after opening all connections and after closing them (100 ms), for what
	// the server does of it later. A negative one is none.
	Pause time.Duration `json:"pause_ns"`
}

func (o ConnectOptions) withDefaults() ConnectOptions {
	o.SlopeFrom = -1
	o.Options = o.Options.withDefaults()
	orElse(&o.Pause, 100*time.Millisecond)
	o.Pause = max(o.Pause, 0)
	return o
}

func (o ConnectOptions) validate() error {
	if o.Rate < 0 {
		return errors.New("bench: a negative rate")
	}
	return o.Options.validate()
}

// Connect opens Conns connections, closes them, and again until Duration is over, and measures what
// either costs, one apart from the other. The last round is as short as it has to be.
//
// To close is what RFC 6455 says: the client sends a close frame, the server answers with one and ends the
// connection. Connections come from many addresses if the server is at a loopback one, so that no round
// is short of ports that those before it have used.
//
// When ctx ends while measuring, the result is that of the time until then.
func Connect(ctx context.Context, o ConnectOptions) (*ConnectResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	r, err := prepareRun(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	r.target.many = true
	c := newConnectRun(o, r)
	began := time.Now()
	if err := c.measure(ctx); err != nil {
		return nil, err
	}
	return c.resultAfter(time.Since(began)), nil
}

// connectRun is the scenario as a whole.
type connectRun struct {
	options ConnectOptions
	run     *run

	rounds       int
	opening      phaseCost
	closing      phaseCost
	failed, lost map[string]int
	opened       int
	closed       int
	unclosed     int
	undialled    int64
	bytesIn      int64
	latency      *hdrhistogram.Histogram
	delay        *hdrhistogram.Histogram
	late         *hdrhistogram.Histogram
}

// phaseCost sums up one phase of all rounds. What the server did in the pause after it counts, but not the
// time of the pause.
type phaseCost struct {
	time           time.Duration
	client, server time.Duration // processor time
	late           time.Duration // of the server's, in the pause
}

func newConnectRun(o ConnectOptions, r *run) *connectRun {
	return &connectRun{
		options: o, run: r, failed: map[string]int{}, lost: map[string]int{},
		latency: newHistogram(), delay: newHistogram(), late: newHistogram(),
	}
}

// measure goes round until the time is over.
func (c *connectRun) measure(ctx context.Context) error {
	bar := newBar(c.options.Progress, "connecting", int(c.options.Duration/progressPeriod))
	defer bar.finish()
	began := time.Now()
	progress := func(int) { bar.set(int(min(time.Since(began), c.options.Duration) / progressPeriod)) }
	timed, cancel := context.WithTimeout(ctx, c.options.Duration)
	defer cancel()
	for timed.Err() == nil {
		if err := c.round(timed, progress); err != nil {
			return err
		}
		if c.rounds++; c.opened == 0 {
			return fmt.Errorf("bench: none of %d connections opened: %s", c.options.Conns, reasons(c.failed))
		}
	}
	c.run.interrupted = ctx.Err() != nil
	return nil
}

// round opens and closes once. Each round has a fleet of its own: a place in a fleet is used once.
func (c *connectRun) round(ctx context.Context, progress func(int)) (err error) {
	r := c.run
	r.fleet, err = newFleet(r.target, c.options.Options, 0, func(l *loop, _ int) scenario { return newDialled(l, c.options) })
	if err != nil {
		return err
	}
	defer r.fleet.close()
	r.target.first += c.options.Conns // the next round goes on with other addresses
	if c.rounds == 0 {
		if err := r.weigh(&r.memory.Before); err != nil {
			return err
		}
	}
	if err := c.open(ctx, progress); err != nil {
		return err
	}
	if c.rounds == 0 {
		if err := r.weigh(&r.memory.Open); err != nil {
			return err
		}
	}
	if err := c.close(); err != nil {
		return err
	}
	c.take()
	if err := r.weigh(&r.memory.End); err != nil {
		return err
	}
	r.memory.End.Conns = 0
	return nil
}

// open opens the connections of a round. When the time is over, those that are under way are waited for.
func (c *connectRun) open(ctx context.Context, progress func(int)) error {
	r := c.run
	start, err := r.read()
	if err != nil {
		return err
	}
	r.fleet.ask(c.options.Conns)
	if err := r.fleet.await(ctx, progress); err != nil && ctx.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		r.fleet.curtail()
		if err := r.fleet.await(context.Background(), progress); err != nil {
			return err
		}
	}
	end, settled, err := c.settle()
	c.opened += end.census.opened
	c.opening.add(max(0, end.census.lastOpened-start.at), start, end, settled)
	return err
}

// close closes them.
func (c *connectRun) close() error {
	r := c.run
	start, err := r.read()
	if err != nil {
		return err
	}
	unclosed := r.fleet.goodbye(c.options.ConnectTimeout)
	end, settled, err := c.settle()
	c.unclosed += unclosed
	c.closed += start.census.open - unclosed
	c.closing.add(max(0, end.census.lastClosed-start.at), start, end, settled)
	return err
}

// settle reads before and after the pause.
func (c *connectRun) settle() (end, settled reading, err error) {
	if end, err = c.run.read(); err != nil {
		return end, settled, err
	}
	if err = c.run.wait(context.Background(), c.options.Pause); err == nil {
		settled, err = c.run.read()
	}
	return end, settled, err
}

func (p *phaseCost) add(took time.Duration, start, end, settled reading) {
	p.time += took
	p.client += end.client - start.client
	p.server += end.server - start.server
	p.late += settled.server - end.server
}

// take adds up what the loops have of a round.
func (c *connectRun) take() {
	census := c.run.fleet.census()
	addAll(c.failed, census.failed)
	addAll(c.lost, census.lost)
	c.bytesIn += census.bytesIn
	c.run.fleet.each(func(l *loop) {
		d := l.scenario.(*dialled)
		c.undialled += d.undialled
		c.latency.Merge(d.latency)
		c.delay.Merge(d.delay)
		if l.late != nil {
			c.late.Merge(l.late)
		}
	})
}
