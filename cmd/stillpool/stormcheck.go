package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/bench/stress"
)

// stormElsewhere is the same server in the contest about storms, while the storm comes over another one.
const stormElsewhere = "storm elsewhere"

// compareStorm measures the ticks of those that stay while a storm comes over their server, and before
// that over another one.
func compareStorm(ctx context.Context, o checkOptions) (*bench.Comparison, error) {
	c := &benchStormCmd{
		busyFlags: busyFlags{o.busy},
		Stay:      1_000, Every: 100 * time.Millisecond, Storm: 18_000, Drop: string(stress.ByReset), Within: time.Second,
		Settle: 3 * time.Second, Quiet: min(o.duration, 3*time.Second), Timeout: 10 * time.Second, Control: true,
	}
	result := &bench.Comparison{
		Name: "storm", Title: fmt.Sprintf("Ticks while %d others are dropped and come back within %v", c.Storm, c.Within),
		Started: time.Now(), Machine: bench.ThisMachine(),
		Job:     bench.Job{Tick: &bench.TickOptions{Options: bench.Options{Conns: c.Stay, Busy: o.busy}, Every: c.Every}},
		Servers: []bench.Contestant{{Name: own}, {Name: stormElsewhere}},
	}
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, o.rounds, own)
		r, err := c.measure(ctx)
		if err != nil {
			return nil, err
		}
		result.Servers[0].Rounds = append(result.Servers[0].Rounds, stayed(r, r.Own))
		result.Servers[1].Rounds = append(result.Servers[1].Rounds, stayed(r, r.Control))
	}
	return result, nil
}

// stayed is what those saw of a storm that stayed.
func stayed(of *stress.StormResult, r *stress.StormRun) bench.Sample {
	return bench.Sample{Tick: &bench.TickResult{
		Common: bench.Common{
			URL: "ws://" + of.Options.Server.Addr, Conns: of.Options.Stay, Open: of.Stayed, DurationSeconds: r.During.Seconds,
			Messages: r.During.Messages, MessagesPerSecond: float64(r.During.Messages) / r.During.Seconds,
		},
		EverySeconds: of.Options.Every.Seconds(), MissingTicks: r.During.Missing, Lateness: r.During.Lateness,
	}}
}
