package million

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Why a run ended before its time.
var (
	ErrInterrupted = errors.New("million: interrupted")
	ErrNotOpened   = errors.New("million: not all connections opened")
	ErrRunningLow  = errors.New("million: ended because the machine was running out of memory")
	ErrNoAnswer    = errors.New("million: a process does not answer")
	ErrAllDied     = errors.New("million: no process of a kind is left")
)

// run is one call of Run.
type run struct {
	options Options
	limits  *Limits
	plan    plan
	result  *Result
	show    *progress
	fix     *fix
	crew    *crew
	samples *sampler
	cancel  context.CancelCauseFunc
	network map[string]int64 // before
	every   time.Duration    // that the servers were told last

	mu     sync.Mutex // of what follows
	phase  string
	began  time.Time      // when the children had started
	living map[string]int // children by role
	deaths []Death
}

// Run holds a great many connections on this machine, in processes of their own. The result is what was
// measured so far, also if there is an error. A [Refusal] means that nothing was started; after
// any other error nothing that was started is left.
//
// When ctx ends, the run does, and the error is [ErrInterrupted].
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.machine == nil {
		o.machine = thisMachine
	}
	l := o.machine()
	o = o.withDefaults(l.Processors)
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &run{options: o, limits: l, result: &Result{Options: o}, show: newProgress(o), living: map[string]int{}}
	defer r.show.end()
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	err := r.prepare()
	if err == nil {
		err = r.carryOut(ctx)
	}
	if errors.Is(err, context.Canceled) {
		r.result.Interrupted, err = true, ErrInterrupted
	}
	return r.result, errors.Join(err, r.end())
}

// carryOut does the phases in their order.
func (r *run) carryOut(ctx context.Context) error {
	for _, p := range []struct {
		name string
		do   func(context.Context) error
		skip bool
	}{
		{"start", r.start, false},
		{"ramp", r.ramp, false},
		{"idle", r.idle, r.options.Idle == 0},
		{"hold", r.hold, false},
		{"overload", r.overload, r.options.Overload == 0},
		{"recovery", r.recover, r.options.Overload == 0},
		{"after", r.after, r.options.Overload == 0},
	} {
		if p.skip {
			continue
		}
		r.enter(p.name)
		if err := p.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) enter(phase string) {
	r.mu.Lock()
	r.phase = phase
	r.mu.Unlock()
	if r.options.entered != nil {
		r.options.entered(phase, r)
	}
}

// now is the phase, and how long the children have been there.
func (r *run) now() (phase string, second float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase, time.Since(r.began).Seconds()
}

// prepare makes the plan, has settings changed if that is wanted, and refuses what can't be done.
func (r *run) prepare() error {
	r.plan = newPlan(r.options, r.limits)
	checks := check(r.limits, r.plan)
	if r.options.Fix {
		if err := r.change(checks); err != nil {
			return err
		}
		r.plan = newPlan(r.options, r.limits)
		checks = check(r.limits, r.plan)
	}
	r.result.Limits, r.result.Checks = r.limits, checks
	r.show.checks(checks)
	if no := refused(checks); len(no) > 0 {
		return &Refusal{Conns: r.options.Conns, Greatest: greatest(r.options, r.limits), Checks: no}
	}
	return nil
}

// change has the settings changed that are in the way, and reads the limits again.
func (r *run) change(checks []Check) (err error) {
	o := fixOrder{Root: r.options.sysctls}
	for _, c := range checks {
		o.Settings = append(o.Settings, c.settings...)
	}
	if len(o.Settings) == 0 {
		return nil
	}
	if r.fix, r.result.Changes, err = startFix(r.options.Command, o); err != nil {
		return err
	}
	for _, c := range r.result.Changes {
		r.show.say("changed %s from %q to %q until the end", c.Name, c.From, c.To)
	}
	r.limits = r.options.machine()
	return nil
}

// end leaves nothing behind: no process, and no setting that was changed.
func (r *run) end() (err error) {
	if r.samples != nil {
		r.result.Series = r.samples.stop()
	}
	if r.crew != nil {
		r.account()
		r.show.begin("closing", 0)
		r.crew.stop()
	}
	if r.fix != nil {
		if r.result.Changes, err = r.fix.end(); err != nil {
			return fmt.Errorf("million: putting settings back: %w", err)
		}
		for _, c := range r.result.Changes {
			r.show.say("put %s back to %q", c.Name, c.From)
		}
	}
	return nil
}

// account sums up what is known of the connections, before they are ended.
func (r *run) account() {
	n := r.crew.now()
	r.result.Open, r.result.Sent, r.result.Received = int(n[open]), n[sent], n[received]
	r.result.Ramp.Opened = int(n[opened])
	r.result.Lost, r.result.Ramp.Failed = map[string]int{}, map[string]int{}
	for _, ch := range r.crew.clients {
		last := ch.last()
		addAll(r.result.Lost, last.Lost)
		addAll(r.result.Ramp.Failed, last.Failed)
		if ch.hasEnded() {
			r.result.Lost["client process ended"] += ch.took()
		}
	}
	r.result.Network = bench.Grown(r.network, bench.Network())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Deaths = r.deaths
}

func addAll(to, from map[string]int) {
	for reason, n := range from {
		to[reason] += n
	}
}

// died notes that a child ended which was not meant to. The run goes on with the others.
func (r *run) died(c *child) {
	d := Death{Role: c.role, Index: c.index, Why: c.fate(), Conns: c.took()}
	_, d.Second = r.now()
	r.mu.Lock()
	r.deaths = append(r.deaths, d)
	r.living[c.role]--
	none := r.living[c.role] == 0
	r.mu.Unlock()
	r.show.say("%s process %d ended: %s", d.Role, d.Index, d.Why)
	if none {
		r.cancel(fmt.Errorf("%w: %s %d: %s", ErrAllDied, d.Role, d.Index, d.Why))
	}
}

func (r *run) anyDied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.deaths) > 0
}
