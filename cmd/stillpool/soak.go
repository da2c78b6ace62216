package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/stillpool/stillpool/bench/soak"
)

// benchSoakCmd are the flags of "stillpool bench soak".
type benchSoakCmd struct {
	busyFlags
	Duration time.Duration `default:"1m" help:"How long connections come and go."`
	Conns    int           `default:"500" help:"Connections at a time."`
	Tide     time.Duration `help:"How long they do until all leave, and the server must be as it was (default: a twelfth of DURATION, 5s at the least)."`
	Pause    time.Duration `default:"200ms" help:"Mean time between two things that a connection does."`
	Interval time.Duration `default:"1s" help:"Interval of the curve of memory and descriptors."`
	Patience time.Duration `default:"1m" help:"How long to wait for what must come, until it counts as missing."`
	Seed     uint64        `help:"Do what a run did that showed this seed (default: one at random)."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
	Quiet    bool          `help:"Show no progress."`
}

// Help is what "stillpool bench soak --help" says beside the flags.
func (*benchSoakCmd) Help() string {
	return `Starts a server of its own, and clients that open, talk, stall, break the protocol, reset and go at random. Both keep an account of each connection: what the server accepted must arrive in its order and with every byte, and so must what the clients sent; every open event has one close event, with the right cause and code. From time to time all leave, and then nothing may be left: no connection, no byte, no descriptor, no goroutine, and memory may not grow from one time to the next.

The exit status is 1 if something was wrong. ^C ends it in order, with what was seen so far; a second one ends it at once.`
}

// Run implements the subcommand.
func (c *benchSoakCmd) Run() error { return c.beside(c.run) }

// run shows what was measured even if something went wrong then.
func (c *benchSoakCmd) run() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.JSON != "" && c.JSON != "-" { // before the time has passed, and not after it
		if _, err := os.Stat(filepath.Dir(c.JSON)); err != nil {
			return err
		}
	}
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := soak.Run(ctx, c.options([]string{self, "bench", "soak-child"}))
	if r == nil {
		return err
	}
	if shown := (&benchFlags{JSON: c.JSON}).show(r); err == nil {
		err = shown
	}
	if err == nil {
		err = r.Err()
	}
	return err
}

func (c *benchSoakCmd) options(command []string) soak.Options {
	o := soak.Options{
		Command: command, Conns: c.Conns, Duration: c.Duration, Tide: c.Tide, Pause: c.Pause, Interval: c.Interval,
		Patience: c.Patience, Seed: c.Seed, Busy: c.Busy,
	}
	if !c.Quiet {
		o.Progress, o.Terminal = os.Stderr, isTerminal(os.Stderr)
	}
	return o
}

// benchSoakChildCmd is the server of it. It is not for people.
type benchSoakChildCmd struct{}

// Run implements the subcommand.
func (benchSoakChildCmd) Run() error { return soak.ServeChild(os.Stdin, os.Stdout) }
