package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// stragglerTime is how long answers are awaited that were under way when measuring ended, so that
// the slowest are not left out of the percentiles.
const stragglerTime = 2 * time.Second

// run is what all scenarios do in the same order: open, settle, weigh, measure, close.
type run struct {
	options Options
	target  target
	fleet   *fleet
	server  *process // nil if its id is not known
	client  *process
	hostile *process // nil if there is none

	opening     Opening
	memory      Memory
	before      reading // the beginning of measuring
	after       reading
	interrupted bool
}

// reading is what is read off before and after measuring.
type reading struct {
	at      time.Duration
	client  time.Duration // processor time
	server  time.Duration
	hostile time.Duration
	waits   waits
	census  census
}

// waits are for how long the threads of client and server were ready to run, and had no processor.
type waits struct{ client, server time.Duration }

func newRun(ctx context.Context, o Options, perConn int, of scenarioOf) (*run, error) {
	r, err := prepareRun(ctx, o)
	if err != nil {
		return nil, err
	}
	if r.fleet, err = newFleet(r.target, o, perConn, of); err != nil {
		return nil, err
	}
	return r, nil
}

// prepareRun makes a run without a fleet.
func prepareRun(ctx context.Context, o Options) (*run, error) {
	t, err := resolve(ctx, o.URL)
	if err != nil {
		return nil, err
	}
	if err := checkDescriptors(o.Conns); err != nil {
		return nil, err
	}
	r := &run{options: o, target: t, client: &process{pid: os.Getpid()}}
	if o.PID != 0 {
		r.server = &process{pid: o.PID}
		if _, err := r.server.cpu(); err != nil {
			return nil, fmt.Errorf("bench: processor time of process %d: %w", o.PID, err)
		}
	}
	return r, nil
}

func (r *run) close() { r.fleet.close() }

// open opens all connections, in two steps if the growth of memory between them is to be known.
func (r *run) open(ctx context.Context) error {
	bar := newBar(r.options.Progress, "connecting", r.options.Conns)
	defer bar.finish()
	if err := r.weigh(&r.memory.Before); err != nil {
		return err
	}
	if n := r.options.SlopeFrom; n > 0 && r.server != nil {
		if err := r.openTo(ctx, n, bar); err != nil {
			return err
		}
		if err := r.weigh(&r.memory.SlopeStart); err != nil {
			return err
		}
	}
	if err := r.openTo(ctx, r.options.Conns, bar); err != nil {
		return err
	}
	return r.weigh(&r.memory.Open)
}

// openTo raises the number of connections to n, and lets the server settle.
func (r *run) openTo(ctx context.Context, n int, bar *bar) error {
	start, err := r.read()
	if err != nil {
		return err
	}
	if err := r.fleet.open(ctx, n, bar.set); err != nil {
		return err
	}
	end, err := r.read()
	if err != nil {
		return err
	}
	if end.census.opened == 0 {
		return fmt.Errorf("bench: none of %d connections opened: %s", n, reasons(end.census.failed))
	}
	r.opening.add(start, end)
	return r.wait(ctx, r.options.Settle)
}

func (r *run) wait(ctx context.Context, d time.Duration) error {
	if err := Pause(ctx, d); err != nil {
		return err
	}
	return r.fleet.err()
}

// measure counts for as long as the options say, or until ctx ends.
func (r *run) measure(ctx context.Context) (err error) {
	if r.before, err = r.read(); err != nil {
		return err
	}
	r.fleet.each(func(l *loop) { l.scenario.begin(l.clock()) })
	if err := r.wait(ctx, r.options.Duration); err != nil {
		if ctx.Err() == nil {
			return err
		}
		r.interrupted = true
	}
	r.fleet.each(func(l *loop) { l.scenario.end(l.clock()) })
	if r.after, err = r.read(); err != nil {
		return err
	}
	if err := r.weigh(&r.memory.End); err != nil {
		return err
	}
	if !r.interrupted {
		r.awaitStragglers()
	}
	return r.fleet.err()
}

func (r *run) awaitStragglers() {
	deadline := time.Now().Add(stragglerTime)
	for time.Now().Before(deadline) {
		pending := 0
		r.fleet.each(func(l *loop) { pending += l.scenario.pending() })
		if pending == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// read takes everything that is compared between two times.
func (r *run) read() (reading, error) {
	now := reading{at: r.fleet.clock(), census: r.fleet.census()}
	var client, server, hostile error
	now.client, client = r.client.cpu()
	now.server, server = timeOf(r.server, "the server")
	now.hostile, hostile = timeOf(r.hostile, "the hostile process")
	now.waits.client = r.client.waited()
	if r.server != nil {
		now.waits.server = r.server.waited()
	}
	return now, errors.Join(client, server, hostile)
}

func timeOf(p *process, name string) (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	cpu, err := p.cpu()
	if err != nil {
		err = fmt.Errorf("bench: %s has gone: %w", name, err)
	}
	return cpu, err
}

// weigh takes the server's memory and how many connections it has.
func (r *run) weigh(w *Weight) (err error) {
	if r.server == nil {
		return nil
	}
	w.Conns = r.fleet.census().open
	if w.RSSBytes, err = r.server.rss(); err != nil {
		return fmt.Errorf("bench: memory of the server: %w", err)
	}
	return nil
}
