package million

import (
	"context"
	"math"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

// reading is what is compared between the beginning and the end of a load.
type reading struct {
	at             time.Time
	counts         counts
	late           []uint64
	server, client time.Duration // processor time
}

// read asks the servers first, so that what they counted is of now.
func (r *run) read(ctx context.Context) (reading, error) {
	_, err := r.crew.order(ctx, r.crew.servers, func(int) order { return order{} })
	return reading{
		at: time.Now(), counts: r.crew.now(), late: r.crew.late(),
		server: cpuOf(r.crew.servers), client: cpuOf(r.crew.clients),
	}, err
}

// late adds up the servers' histograms.
func (c *crew) late() []uint64 {
	var sum []uint64
	for _, ch := range c.servers {
		for i, n := range ch.last().Late {
			if i >= len(sum) {
				sum = append(sum, 0)
			}
			sum[i] += n
		}
	}
	return sum
}

// load has messages sent at an interval, for a time or until ctx ends, and tells what came of it.
func (r *run) load(ctx context.Context, every, d time.Duration) (*Load, error) {
	_, err := r.crew.order(ctx, r.crew.clients, func(int) order { return order{Listen: &every} })
	if err != nil {
		return nil, err
	}
	before, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.setEvery(ctx, every); err != nil {
		return nil, err
	}
	cut := bench.Pause(ctx, d)
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	if cut == nil {
		asking = ctx
	}
	answers, err := r.crew.order(asking, r.crew.clients, func(int) order { return order{Tell: true} })
	if err != nil {
		return nil, err
	}
	after, err := r.read(asking)
	if err != nil {
		return nil, err
	}
	return r.loadOf(every, before, after, answers), cut
}

func (r *run) loadOf(every time.Duration, before, after reading, answers []report) *Load {
	var heard bench.Heard
	for _, a := range answers {
		if a.Heard != nil {
			heard.Add(a.Heard)
		}
	}
	took, n := after.at.Sub(before.at), after.counts.minus(before.counts)
	server, client := after.server-before.server, after.client-before.client
	messages := max(1, float64(heard.Messages))
	return &Load{
		EverySeconds: every.Seconds(), Seconds: took.Seconds(),
		AskedPerSecond: float64(before.counts[open]) / every.Seconds(),
		Messages:       heard.Messages, MessagesPerSecond: float64(heard.Messages) / took.Seconds(),
		Ticks: n[ticks], OnTime: n[punctual], OnTimeSeconds: onTime.Seconds(), Skipped: n[skipped],
		ServerLateness: serverLateness(before.late, after.late),
		Lateness:       heard.Lateness.Percentiles(), Missing: heard.Missing, Silent: heard.Silent,
		Spread:           spreadOf(heard.Ticks),
		Lost:             int(n[lost]),
		ServerCPUPercent: percent(server, took), ClientCPUPercent: percent(client, took),
		ServerCPUUs: micros(server) / messages, ClientCPUUs: micros(client) / messages,
	}
}

// serverLateness is what came in between two sums of histograms.
func serverLateness(before, after []uint64) (l ServerLateness) {
	h := new(server.Server).Stats().Lateness // empty, for its bounds
	copy(h.Counts, after)
	for i := range before {
		h.Counts[i] -= before[i]
	}
	for _, b := range h.Bounds {
		l.BoundSeconds = append(l.BoundSeconds, b.Seconds())
	}
	l.Counts = h.Counts
	l.P50Seconds, l.P99Seconds, l.P999Seconds = h.Quantile(.5).Seconds(), h.Quantile(.99).Seconds(), h.Quantile(.999).Seconds()
	return l
}

func spreadOf(byTicks map[int]int) Spread {
	s := Spread{Least: math.MaxInt, ByTicks: byTicks}
	for n := range byTicks {
		s.Least, s.Most = min(s.Least, n), max(s.Most, n)
	}
	if len(byTicks) == 0 {
		s.Least = 0
	}
	return s
}

// recover goes back to the interval that the machine can carry, and watches how long it takes until that
// shows.
func (r *run) recover(ctx context.Context) error {
	r.show.begin("recovery", int(recoveryTime.Seconds()))
	if err := r.reportEach(ctx, recoveryEach); err != nil {
		return err
	}
	start, rec := time.Now(), &Recovery{OnTimeSeconds: -1}
	r.result.Recovery = rec
	since := func() float64 { return time.Since(start).Seconds() }
	if err := r.setEvery(ctx, r.options.Every); err != nil {
		return err
	}
	rec.EasedSeconds = since()
	if all := r.crew.answeredAt(r.crew.servers); len(all) > 0 {
		rec.HalfEasedSeconds = all[len(all)/2].Sub(start).Seconds()
	}
	if _, err := r.drained(ctx); err != nil {
		return err
	}
	rec.DrainedSeconds = since()
	at, err := r.firstCalm(ctx, start)
	if err != nil {
		return err
	}
	rec.WatchedSeconds = since()
	if !at.IsZero() {
		rec.OnTimeSeconds = max(rec.DrainedSeconds, at.Sub(start).Seconds())
	}
	return r.reportEach(ctx, reportEach)
}

// firstCalm finds the first second after start in which nothing was skipped and 99 of 100 ticks were on
// time. It looks at what was some reports ago, so that every child has told of it.
func (r *run) firstCalm(ctx context.Context, start time.Time) (time.Time, error) {
	const lag, second = 2 * recoveryEach, time.Second
	at, from := start, start
	last := r.crew.at(at)
	for time.Since(start) < recoveryTime {
		if err := bench.Pause(ctx, time.Until(at.Add(recoveryEach+lag))); err != nil {
			return time.Time{}, err
		}
		at = at.Add(recoveryEach)
		now := r.crew.at(at)
		if !calm(now.minus(last)) {
			from = at
		}
		if last = now; at.Sub(from) >= second {
			return from, nil
		}
	}
	return time.Time{}, nil
}

// calm holds what was counted in a part of a second against what is on time.
func calm(n counts) bool {
	return n[skipped] == 0 && 100*n[punctual] >= 99*n[ticks]
}
