package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/stillpool/stillpool/bench/stress"
)

// benchOverloadCmd are the flags of "stillpool bench overload".
type benchOverloadCmd struct {
	busyFlags
	Conns    int           `default:"2000" help:"Connections that are ticked."`
	Work     time.Duration `default:"100us" help:"How long each tick computes, so that it is the server that can't go on and not the client."`
	Rate     float64       `help:"Ticks a second, of all connections together, that the server can carry (default: it is found out)."`
	Times    []float64     `default:"2,10" help:"The loads, in times of that rate."`
	Duration time.Duration `default:"5s" help:"How long each lasts."`
	Echoes   float64       `default:"200" help:"Messages a second that connections beside the load have echoed."`
	Closes   float64       `default:"20" help:"Connections a second beside the load that say goodbye."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
}

// Help is what "stillpool bench overload --help" says beside the flags.
func (*benchOverloadCmd) Help() string {
	return `Starts a server of its own, on this machine, and ends it.`
}

// Run implements the subcommand.
func (c *benchOverloadCmd) Run() error { return c.beside(c.run) }

// run shows what was measured even if something went wrong then.
func (c *benchOverloadCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := c.measure(ctx)
	if r == nil || r.Light == nil {
		return err
	}
	if shown := (&benchFlags{JSON: c.JSON}).show(r); err == nil {
		err = shown
	}
	return err
}

// measure keeps its thread, because children end with the one that started them.
func (c *benchOverloadCmd) measure(ctx context.Context) (r *stress.OverloadResult, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	srv, err := startServer(ctx, "bench", "subject")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, srv.end()) }()
	return stress.Overload(ctx, stress.OverloadOptions{
		Server: stress.Handle{Addr: srv.addr, PID: srv.pid}, Conns: c.Conns, Work: c.Work, Rate: c.Rate,
		Times: c.Times, Duration: c.Duration, Echoes: c.Echoes, Closes: c.Closes, Busy: c.Busy,
	})
}
