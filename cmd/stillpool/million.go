package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/stillpool/stillpool/bench/million"
)

// benchMillionCmd are the flags of "stillpool bench million".
type benchMillionCmd struct {
	busyFlags
	Conns         int            `default:"1000000" help:"Connections to hold."`
	Hold          time.Duration  `default:"10m" help:"How long to hold them, with a message to each every EVERY."`
	Every         time.Duration  `help:"Interval of messages that the machine can carry (default: by the number of connections and processors)."`
	OverloadEvery time.Duration  `help:"Interval that it can't carry (default: likewise)."`
	Overload      *time.Duration `placeholder:"DURATION" help:"How long to overload it; 0 is not at all (default: three times EVERY, and at least 30s)."`
	Idle          time.Duration  `default:"10s" help:"How long to leave them without any message first, to see what the servers take; 0 is not at all."`
	PerProcess    int            `placeholder:"N" help:"Connections that one process may have (default: as many as its descriptors allow)."`
	Fix           bool           `help:"Change the settings of the kernel that are in the way, and put them back at the end; for root."`
	JSON          string         `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
	Quiet         bool           `help:"Show no progress."`
}

// Help is what "stillpool bench million --help" says beside the flags.
func (*benchMillionCmd) Help() string {
	return `Starts servers that share a port, and clients, as many processes of each as the limit of descriptors asks for, and ends them. First it tells what the machine allows, and what to change if that is too little.

Then it opens all connections, leaves them idle, holds them with messages at an interval that the machine can carry, goes on at one that it can't, and goes back.

^C ends it in order at any time, with what was measured so far; a second one ends it at once.`
}

// Run implements the subcommand.
func (c *benchMillionCmd) Run() error { return c.beside(c.run) }

// run shows what was measured even if something went wrong then.
func (c *benchMillionCmd) run() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.JSON != "" && c.JSON != "-" { // before a quarter of an hour has passed, and not after it
		if _, err := os.Stat(filepath.Dir(c.JSON)); err != nil {
			return err
		}
	}
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := million.Run(ctx, c.options([]string{self, "bench", "million-child"}))
	if r == nil || errors.As(err, new(*million.Refusal)) {
		return err
	}
	if shown := (&benchFlags{JSON: c.JSON}).show(r); err == nil {
		err = shown
	}
	return err
}

func (c *benchMillionCmd) options(command []string) million.Options {
	o := million.Options{
		Conns: c.Conns, Hold: c.Hold, Every: c.Every, OverloadEvery: c.OverloadEvery,
		Idle: orNone(c.Idle), PerProcess: c.PerProcess, Fix: c.Fix, Busy: c.Busy, Command: command,
	}
	if c.Overload != nil {
		o.Overload = orNone(*c.Overload)
	}
	if !c.Quiet {
		o.Progress, o.Terminal = os.Stderr, isTerminal(os.Stderr)
	}
	return o
}

// benchMillionChildCmd is a process of it. It is not for people.
type benchMillionChildCmd struct {
	Role string `arg:""`
}

// Run implements the subcommand.
func (c *benchMillionChildCmd) Run() error { return million.ServeChild(c.Role, os.Stdin, os.Stdout) }
