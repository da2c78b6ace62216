package main

import (
	"time"

	"github.com/stillpool/stillpool/bench"
)

// benchBroadcastCmd are the flags of "stillpool bench broadcast".
type benchBroadcastCmd struct {
	benchFlags
	Size    int           `default:"64" help:"Bytes of a message."`
	Rate    float64       `default:"2" help:"Messages to send a second, each to all connections; times count from when one was due (no coordinated omission)."`
	Stalled int           `help:"How many of the connections never read: what is measured is what the others get, and what these cost."`
	Admin   string        `placeholder:"HOST:PORT" help:"Where the server shows its metrics, to follow what it holds for stalled connections (serve --admin)."`
	Warmup  time.Duration `default:"1s" help:"Time to send before measuring begins."`
}

// Run implements the subcommand.
func (c *benchBroadcastCmd) Run() error { return c.beside(c.run) }

func (c *benchBroadcastCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := bench.Broadcast(ctx, bench.BroadcastOptions{
		Options: c.options("/broadcast"), Size: c.Size, Rate: c.Rate, Stalled: c.Stalled, MetricsURL: c.Admin,
		Warmup: orNone(c.Warmup),
	})
	if err != nil {
		return err
	}
	return c.show(r)
}
