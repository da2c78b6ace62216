package bench

import (
	"context"
	"errors"
	"time"
)

// IdleOptions are the options of [Idle]. The default path of its URL is /echo by custom, where a server
// says nothing by itself. The process id of the server must be given.
type IdleOptions struct {
	Options
	// Steps is in how many even steps to open the connections (10). The memory is taken at each.
	Steps int `json:"steps"`
	// GC lets the runtime collect its garbage before each time that the memory is taken; it takes PprofURL.
	GC bool `json:"gc,omitempty"`
}

func (o IdleOptions) withDefaults() IdleOptions {
	o.Options = o.Options.withDefaults()
	orElse(&o.Steps, 10)
	return o
}

func (o IdleOptions) validate() error {
	switch {
	case o.PID == 0:
		return errors.New("bench: to measure memory takes the process id of the server")
	case o.Steps < 1 || o.Steps > o.Conns:
		return errors.New("bench: steps must be one at least, and no more than connections")
	case o.GC && o.PprofURL == "":
		return errors.New("bench: to collect garbage takes the address of the server's pprof")
	}
	return o.Options.validate()
}

// Idle opens connections step by step and takes at each step, after Settle, what memory the server and the
// kernel have; then it measures for Duration what processor time the server takes for them. On /echo nothing
// happens meanwhile; on /ws the ticks do, and are counted.
//
// When ctx ends while measuring, the result is that of the time until then.
func Idle(ctx context.Context, o IdleOptions) (*IdleResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	pprof, err := newPprof(o.PprofURL, o.GC)
	if err != nil {
		return nil, err
	}
	r, err := newRun(ctx, o.Options, 0, func(*loop, int) scenario { return &held{} })
	if err != nil {
		return nil, err
	}
	defer r.close()
	i := &idleRun{options: o, run: r, pprof: pprof}
	if err := i.open(ctx); err != nil {
		return nil, err
	}
	if o.Settle > 0 {
		if err := r.wait(ctx, calmTime); err != nil {
			return nil, err
		}
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	return i.result(), nil
}

// calmTime is how long nothing must have been opened for nothing to happen: a server may tidy up a second after,
// and whether that fell into the time that is measured decided between 0.05 and 1% of a core.
const calmTime = 1400 * time.Millisecond

// held is the part of the idle scenario that one loop does: it counts what comes, and says nothing.
type held struct {
	bystander
	counting bool
	messages int64
}

func (h *held) piece(_ *conn, p piece, _ time.Duration) error {
	if p.last && h.counting {
		h.messages++
	}
	return nil
}

func (h *held) begin(time.Duration) { h.counting = true }

func (h *held) end(time.Duration) { h.counting = false }

// idleRun is the scenario as a whole.
type idleRun struct {
	options IdleOptions
	run     *run
	pprof   *pprofClient // nil without PprofURL
	steps   []IdleStep
}

// open opens all connections, and takes the memory before the first and at each step.
func (i *idleRun) open(ctx context.Context) error {
	o := i.options
	bar := newBar(o.Progress, "connecting", o.Conns)
	defer bar.finish()
	if err := i.step(ctx); err != nil {
		return err
	}
	for n := 1; n <= o.Steps; n++ {
		if err := i.run.openTo(ctx, o.Conns*n/o.Steps, bar); err != nil {
			return err
		}
		if err := i.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step asks the runtime first: when it collects garbage, the rest is taken after that.
func (i *idleRun) step(ctx context.Context) (err error) {
	var s IdleStep
	if i.pprof != nil {
		if s.Runtime, err = i.pprof.memory(ctx); err != nil {
			return err
		}
	}
	var w Weight
	if err := i.run.weigh(&w); err != nil {
		return err
	}
	s.Conns, s.RSSBytes = w.Conns, w.RSSBytes
	if s.Kernel, err = kernelMemory(); err != nil {
		return err
	}
	i.steps = append(i.steps, s)
	return nil
}
