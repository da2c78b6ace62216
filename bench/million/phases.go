package million

import (
	"context"
	"fmt"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const (
	// slopeFrom is the number of connections of a server process from which its growth is taken: its
	// smallest heap is used up. See package bench.
	slopeFrom = 3_000
	// settleTime is for the servers to trim what opening left behind, which they do after a second of quiet.
	settleTime = 3 * time.Second
	// askTime bounds the wait for answers about a phase that was interrupted.
	askTime = 10 * time.Second
	// lullTime is how long after the last connection opened a server has nothing more to do for it: by then
	// the place that it had in the wheel for the end of its handshake has come up (Server.HandshakeTimeout).
	lullTime = 11 * time.Second
	// reportEach is how often children report by themselves, and recoveryEach while they recover.
	reportEach   = time.Second
	recoveryEach = 200 * time.Millisecond
	// recoveryTime bounds the wait for a recovery.
	recoveryTime = 30 * time.Second
	// drainTime is how long nothing more may come before what is missing is taken for lost.
	drainTime = time.Second
)

// start starts the children: a server first, which finds a free port, and then those that share it.
func (r *run) start(ctx context.Context) error {
	r.network = bench.Network()
	r.result.Machine = bench.ThisMachine()
	r.result.Servers, r.result.Clients, r.result.Opening = r.plan.servers, r.plan.clients, r.plan.opening
	r.show.say("%d connections, of %d server and %d client processes", r.plan.conns, r.plan.servers, r.plan.clients)
	r.mu.Lock()
	r.living[RoleServer], r.living[RoleClient] = r.plan.servers, r.plan.clients
	r.began = time.Now()
	r.mu.Unlock()
	c := newCrew(r.options, r.died)
	r.crew = c
	var err error
	if c.servers, err = c.start(ctx, RoleServer, r.plan.servers, r.processors(r.plan.servers)); err != nil {
		return err
	}
	if c.clients, err = c.start(ctx, RoleClient, r.plan.clients, r.processors(r.plan.clients)); err != nil {
		return err
	}
	addr, err := r.serve(ctx)
	if err != nil {
		return err
	}
	if err := r.dial(ctx, addr); err != nil {
		return err
	}
	if err := r.reportEach(ctx, reportEach); err != nil {
		return err
	}
	r.samples = startSampler(r)
	return nil
}

// processors is how many each of n processes may use at a time: one, unless there are more.
func (r *run) processors(n int) int { return max(1, r.limits.Processors/n) }

func (r *run) serve(ctx context.Context) (addr string, err error) {
	addr = "127.0.0.1:0"
	serve := func(int) order {
		return order{Serve: &serveOrder{Addr: addr, Conns: r.plan.room, Work: r.options.work}}
	}
	answers, err := r.crew.order(ctx, r.crew.servers[:1], serve)
	if err != nil {
		return "", err
	}
	if len(answers) == 0 {
		return "", ErrAllDied
	}
	addr = answers[0].Addr
	_, err = r.crew.order(ctx, r.crew.servers[1:], serve)
	return addr, err
}

// dial prepares the clients. Each may try so many connections more than it is to have: those that a
// server refuses because it is full are tried again, at another one by the hash.
func (r *run) dial(ctx context.Context, addr string) error {
	first := 0
	_, err := r.crew.order(ctx, r.crew.clients, func(i int) order {
		conns := share(r.plan.conns, r.plan.clients, i)
		o := &dialOrder{
			URL: "ws://" + addr + endpoint, Conns: conns, Spare: conns/4 + 64,
			Burst: max(1, share(r.plan.opening, r.plan.clients, i)), FirstSource: first,
		}
		first += conns
		return order{Dial: o}
	})
	return err
}

func (r *run) reportEach(ctx context.Context, d time.Duration) error {
	_, err := r.crew.order(ctx, r.crew.all(), func(int) order { return order{Report: &d} })
	return err
}

// ramp opens all connections, with a pause to weigh where the slope of memory begins.
func (r *run) ramp(ctx context.Context) error {
	r.show.begin(opening, r.plan.conns)
	m := &r.result.Memory
	m.Before = r.crew.weigh()
	if n := slopeFrom * r.plan.servers; r.plan.conns >= 2*n {
		if err := r.openTo(ctx, n); err != nil {
			return err
		}
		w := r.crew.weigh()
		m.SlopeStart = &w
	}
	if err := r.openTo(ctx, r.plan.conns); err != nil {
		return err
	}
	m.Open = r.crew.weigh()
	m.sum()
	return nil
}

// openTo raises the number of connections to n, and lets the servers settle. If processes have died it
// goes on with those that opened.
func (r *run) openTo(ctx context.Context, n int) error {
	start, before := time.Now(), r.crew.now()[opened]
	server, client := cpuOf(r.crew.servers), cpuOf(r.crew.clients)
	_, err := r.crew.longOrder(ctx, r.crew.clients, func(i int) order { return order{Open: share(n, r.plan.clients, i)} })
	ramp, came := &r.result.Ramp, float64(r.crew.now()[opened]-before)
	ramp.Seconds += time.Since(start).Seconds()
	ramp.ConnsPerSec = float64(r.crew.now()[opened]) / ramp.Seconds
	ramp.ServerCPUUs = micros(cpuOf(r.crew.servers)-server) / max(1, came)
	ramp.ClientCPUUs = micros(cpuOf(r.crew.clients)-client) / max(1, came)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && !r.anyDied() {
		return fmt.Errorf("%w: %w", ErrNotOpened, err)
	}
	return bench.Pause(ctx, r.options.settle)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// idle watches what the servers take while nothing is sent. Not even reports are asked of them.
func (r *run) idle(ctx context.Context) error {
	r.show.begin("idle", int((r.options.lull + r.options.Idle).Seconds()))
	if err := r.reportEach(ctx, 0); err != nil {
		return err
	}
	if err := bench.Pause(ctx, r.options.lull); err != nil {
		return err
	}
	start, server, client := time.Now(), cpuOf(r.crew.servers), cpuOf(r.crew.clients)
	if err := bench.Pause(ctx, r.options.Idle); err != nil {
		return err
	}
	server, client = cpuOf(r.crew.servers)-server, cpuOf(r.crew.clients)-client
	took := time.Since(start)
	r.result.Idle = &Idle{
		Seconds: took.Seconds(), ServerCPUSeconds: server.Seconds(),
		ServerCPUPercent: percent(server, took), ClientCPUPercent: percent(client, took),
	}
	return r.reportEach(ctx, reportEach)
}

func percent(part, of time.Duration) float64 { return 100 * part.Seconds() / of.Seconds() }

func (r *run) hold(ctx context.Context) (err error) {
	r.show.begin("holding", int(r.options.Hold.Seconds()))
	r.result.Hold, err = r.load(ctx, r.options.Every, r.options.Hold)
	return err
}

// overload begins with the sockets empty, so that what the clients hear belongs to it.
func (r *run) overload(ctx context.Context) (err error) {
	r.show.begin("overload", int(r.options.Overload.Seconds()))
	if err := r.setEvery(ctx, 0); err != nil {
		return err
	}
	if _, err := r.drained(ctx); err != nil {
		return err
	}
	r.result.Overload, err = r.load(ctx, r.options.OverloadEvery, r.options.Overload)
	return err
}

// after takes two intervals: one message says nothing of when it was due.
func (r *run) after(ctx context.Context) (err error) {
	d := min(r.options.Hold, 2*r.options.Every)
	r.show.begin("after it", int(d.Seconds()))
	if r.result.After, err = r.load(ctx, r.options.Every, d); err != nil {
		return err
	}
	if err := r.setEvery(ctx, 0); err != nil {
		return err
	}
	_, err = r.drained(ctx)
	return err
}

// setEvery changes the interval on all servers. The same interval again would only move the phases.
func (r *run) setEvery(ctx context.Context, every time.Duration) error {
	if every == r.every {
		return nil
	}
	r.every = every
	_, err := r.crew.order(ctx, r.crew.servers, func(int) order { return order{Every: &every} })
	return err
}

// drained waits until the clients have read all that the servers had sent. It tells false if messages
// are missing, as those of connections that were lost.
func (r *run) drained(ctx context.Context) (bool, error) {
	until, last, since := r.crew.now()[sent], int64(-1), time.Now()
	for {
		if _, err := r.crew.order(ctx, r.crew.clients, func(int) order { return order{} }); err != nil {
			return false, err
		}
		switch now := r.crew.now()[received]; {
		case now >= until:
			return true, nil
		case now > last:
			last, since = now, time.Now()
		case time.Since(since) > drainTime:
			return false, nil
		}
		if err := bench.Pause(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
}
