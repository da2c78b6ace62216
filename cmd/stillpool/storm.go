package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/stillpool/stillpool/bench/stress"
)

// benchStormCmd are the flags of "stillpool bench storm".
type benchStormCmd struct {
	busyFlags
	Stay    int           `default:"1000" help:"Connections that stay and are watched."`
	Every   time.Duration `default:"100ms" help:"How often they are ticked."`
	Storm   int           `default:"18000" help:"Connections that are dropped and come back."`
	Drop    string        `default:"reset" enum:"reset,end,server" help:"How they are dropped: by a reset or the end of the stream from the client, or closed by the server (${enum})."`
	Within  time.Duration `default:"1s" help:"Time to spread them over when they come back; 0 is all at once."`
	Settle  time.Duration `default:"3s" help:"Time to wait after opening all before that."`
	Quiet   time.Duration `default:"3s" help:"How long to watch before and after."`
	Timeout time.Duration `default:"10s" help:"Bound for a try to come back; then comes another."`
	Control bool          `default:"true" negatable:"" help:"Let the same storm come over another server first: what those that stay suffer then is for want of processors."`
	JSON    string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
}

// Help is what "stillpool bench storm --help" says beside the flags.
func (*benchStormCmd) Help() string {
	return `Starts servers of its own, on this machine, and ends them.`
}

// Run implements the subcommand.
func (c *benchStormCmd) Run() error { return c.beside(c.run) }

func (c *benchStormCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := c.measure(ctx)
	if r == nil || r.Own == nil {
		return err
	}
	if shown := (&benchFlags{JSON: c.JSON}).show(r); err == nil {
		err = shown
	}
	return err
}

// measure keeps its thread, because children end with the one that started them.
func (c *benchStormCmd) measure(ctx context.Context) (r *stress.StormResult, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := stress.StormOptions{
		Stay: c.Stay, Every: c.Every, Storm: c.Storm, Drop: stress.Drop(c.Drop), Within: c.Within, Quiet: c.Quiet,
		Settle: orNone(c.Settle), ConnectTimeout: c.Timeout, Busy: c.Busy,
	}
	own, err := startServer(ctx, "bench", "subject")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, own.end()) }()
	o.Server = stress.Handle{Addr: own.addr, PID: own.pid}
	if c.Control {
		control, err := startServer(ctx, "bench", "subject")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, control.end()) }()
		o.Control = stress.Handle{Addr: control.addr, PID: control.pid}
	}
	return stress.Storm(ctx, o)
}
