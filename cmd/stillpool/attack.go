package main

import (
	"os"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// benchAttackCmd are the flags of "stillpool bench attack".
type benchAttackCmd struct {
	busyFlags
	Addr        string        `default:"localhost:8080" help:"The server's host and port."`
	URL         string        `name:"url" placeholder:"ws://HOST:PORT/PATH" help:"The endpoint, in place of /echo of ADDR."`
	PID         int           `name:"pid" help:"Process id of the server, to measure its processor time and memory too."`
	Conns       int           `default:"500" help:"Good connections that stay."`
	Rate        float64       `default:"1000" help:"Messages that they send a second, all together."`
	Size        int           `default:"64" help:"Bytes of a message."`
	Newcomers   float64       `default:"20" help:"Good connections a second that come for one message; -1 for none."`
	Hostile     int           `default:"2000" help:"Hostile connections."`
	Kinds       []string      `placeholder:"KIND,..." help:"What they do, spread evenly over them (default: all kinds, listed below)."`
	Each        bool          `help:"One kind after the other, each with all the hostile connections."`
	HostileRate float64       `default:"2000" help:"Hostile connections that come a second, at first and again after the server has ended them."`
	Drip        time.Duration `default:"250ms" help:"Time between two bytes of those that send slowly."`
	HostileProc bool          `default:"true" negatable:"" help:"Let the hostile connections be in a process of their own, of the lowest priority."`
	Control     string        `placeholder:"HOST:PORT" help:"Another, idle server, which is attacked first: what the good clients suffer then is for want of processors."`
	AllowRemote bool          `help:"Allow targets that are not loopback addresses."`
	Duration    time.Duration `default:"10s" help:"How long to measure each time."`
	Warmup      time.Duration `default:"1s" help:"Time to send before each."`
	Settle      time.Duration `default:"2s" help:"Time to wait after opening and after each attack before memory is taken."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
	Quiet       bool          `help:"Show no progress."`
}

// Help lists the kinds.
func (c *benchAttackCmd) Help() string {
	return "Kinds of hostile connections:\n\n" + bench.KindHelp()
}

// Run implements the subcommand.
func (c *benchAttackCmd) Run() error { return c.beside(c.run) }

// run shows what was measured even if something went wrong then.
func (c *benchAttackCmd) run() error {
	o, err := c.options()
	if err != nil {
		return err
	}
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := bench.Attack(ctx, o)
	if r == nil {
		return err
	}
	if shown := c.flags().show(r); err == nil {
		err = shown
	}
	return err
}

// flags are those that the other scenarios have too.
func (c *benchAttackCmd) flags() *benchFlags {
	return &benchFlags{
		busyFlags: c.busyFlags,
		Addr:      c.Addr, URL: c.URL, Conns: c.Conns, Duration: c.Duration, PID: c.PID, SlopeFrom: -1,
		Settle: c.Settle, JSON: c.JSON, Quiet: c.Quiet,
	}
}

func (c *benchAttackCmd) options() (bench.AttackOptions, error) {
	o := bench.AttackOptions{
		Options: c.flags().options("/echo"), Size: c.Size, Rate: c.Rate, Warmup: orNone(c.Warmup), Newcomers: c.Newcomers,
		Hostile: c.Hostile, Kinds: c.Kinds, Each: c.Each, HostileRate: c.HostileRate, Drip: c.Drip, AllowRemote: c.AllowRemote,
	}
	if c.Control != "" {
		o.ControlURL = "ws://" + c.Control + "/echo"
	}
	if c.HostileProc {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Command = []string{self, "bench", "hostile"}
	}
	return o, nil
}

// benchHostileCmd is the process of the hostile connections. It is not for people.
type benchHostileCmd struct{}

// Run implements the subcommand.
func (benchHostileCmd) Run() error { return bench.ServeHostile(os.Stdin, os.Stdout) }
