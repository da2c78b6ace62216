package bench

import (
	"context"
	"time"
)

// completeTime is how long measuring waits for the last hostile connections, beyond the time that
// they take at their rate.
const completeTime = 5 * time.Second

// phase measures the good clients once. They send all the time, but only when the hostile ones have
// come is it counted how long it takes; connections that are lost count from the beginning.
func (a *attack) phase(ctx context.Context, h *hostility, name string) (*Phase, error) {
	r := a.run
	start := r.fleet.census()
	r.fleet.each(func(l *loop) { l.scenario.(*echoed).resume(l.clock()) })
	a.watch.begin(name)
	if err := a.awaitHostile(ctx, h); err != nil {
		return nil, err
	}
	if err := r.wait(ctx, a.options.Warmup); err != nil {
		return nil, err
	}
	stop, err := a.startNewcomers()
	if err != nil {
		return nil, err
	}
	err = r.measure(ctx)
	newcomers, crowdErr := stop()
	if err == nil {
		err = crowdErr
	}
	if err != nil {
		return nil, err
	}
	return a.phaseOf(start, newcomers), nil
}

// awaitHostile waits until all hostile connections have come once.
func (a *attack) awaitHostile(ctx context.Context, h *hostility) error {
	if h == nil {
		return nil
	}
	took := time.Duration(float64(a.options.Hostile) / a.options.HostileRate * float64(time.Second))
	for end := time.Now().Add(took + completeTime); time.Now().Before(end); {
		if h.last.Load().came() >= int64(a.options.Hostile) {
			return nil
		}
		select {
		case <-h.ended:
			return nil // stopping it tells why
		default:
		}
		if err := a.run.wait(ctx, reportPeriod/4); err != nil {
			return err
		}
	}
	return nil
}

// startNewcomers lets good clients come, until the function that it returns is called.
func (a *attack) startNewcomers() (stop func() (Newcomers, error), err error) {
	o := a.options
	if o.Newcomers < 0 {
		return func() (Newcomers, error) { return Newcomers{}, nil }, nil
	}
	places := 1 + int(o.Newcomers*(o.ConnectTimeout+time.Second).Seconds()) // room for those that are kept waiting
	c, err := newCrowd(a.target, HostileOptions{
		Conns: places, Rate: o.Newcomers, Drip: sweepPeriod, ConnectTimeout: o.ConnectTimeout,
	}, []*kind{newcomer}, newcomerTime)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx, func() {}) }()
	return func() (Newcomers, error) {
		cancel()
		err := <-done
		return newcomersOf(c), err
	}, nil
}

// phaseOf is what was measured since the census of its start.
func (a *attack) phaseOf(start census, newcomers Newcomers) *Phase {
	r := a.run
	took := r.after.at - r.before.at
	p := &Phase{
		DurationSeconds:   took.Seconds(),
		Newcomers:         newcomers,
		Lost:              since(start.lost, r.fleet.census().lost),
		ClientCPUPercent:  percent(r.after.client-r.before.client, took),
		ServerCPUPercent:  percent(r.after.server-r.before.server, took),
		HostileCPUPercent: percent(r.after.hostile-r.before.hostile, took),
	}
	latency, own := newHistogram(), newHistogram()
	r.fleet.each(func(l *loop) {
		e := l.scenario.(*echoed)
		e.countWaiting(l.clock())
		latency.Merge(e.latency)
		own.Merge(e.own)
		p.Messages += e.messages
		p.Missing += e.missing()
		p.Unsent += e.unsent
	})
	p.Latency, p.ClientDelay = percentilesOf(latency), percentilesOf(own)
	p.Warnings = append(r.warnings(useOf(r.after.client-r.before.client, took, p.Messages), took), p.contention()...)
	return p
}

func percent(cpu, took time.Duration) float64 { return 100 * cpu.Seconds() / took.Seconds() }

// since are the counts that grew.
func since(before, after map[string]int) map[string]int {
	grown := map[string]int{}
	for reason, n := range after {
		if n > before[reason] {
			grown[reason] = n - before[reason]
		}
	}
	return grown
}
