package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// compareCmd runs one scenario against several servers in turn, round after round, so that what
// else the machine does meanwhile falls on all of them alike.
type compareCmd struct {
	Tick      compareTickCmd      `cmd:"" help:"Lateness and cost of a message every second to each connection."`
	Echo      compareEchoCmd      `cmd:"" help:"Throughput, latency and cost of echoes."`
	Broadcast compareBroadcastCmd `cmd:"" help:"Time and cost of a message to all connections."`
	Connect   compareConnectCmd   `cmd:"" help:"Rate and cost of opening and closing connections."`
	Handlers  compareHandlersCmd  `cmd:"" help:"Latency of echoes beside handlers that block or compute, of builds of Stillpool."`
	Idle      compareIdleCmd      `cmd:"" help:"Memory of a connection, divided, and processor time when nothing happens."`
	Attack    compareAttackCmd    `cmd:"" help:"Latency of good clients alone and beside hostile ones."`
}

// compareFlags are what all scenarios have.
type compareFlags struct {
	Servers      []string      `placeholder:"SERVER,..." help:"Servers to compare, the first of which the others are put in ratio to (default: stillpool,gws,gorilla and more by the scenario)."`
	StillpoolBin string        `default:"stillpool" help:"Binary whose subcommand serve is the server called stillpool."`
	Against      string        `placeholder:"FILE" help:"Another build of it, the server called against: what stillpool takes is put in ratio to what it takes, pair by pair."`
	Busy         int           `placeholder:"N" help:"Processes that compute meanwhile, started and ended by this command."`
	Rounds       int           `help:"How often to measure each server (default: 5, with --against 15)."`
	Conns        int           `help:"Connections to open (default: 5000; for idle 9000, for attacks 500)."`
	Duration     time.Duration `default:"10s" help:"How long to measure each time."`
	Settle       time.Duration `default:"2s" help:"Time to wait after opening."`
	SlopeFrom    int           `help:"Connections from which memory a connection is measured; -1 for none (default: 3000, with at least 6000 connections)."`
	Loops        int           `default:"1" help:"Event loops of the client."`
	JSON         string        `name:"json" placeholder:"FILE" help:"Write all results to FILE too."`
}

func (f *compareFlags) setDefaults(conns int, servers ...string) {
	if f.Conns == 0 {
		f.Conns = conns
	}
	if f.Against != "" && len(f.Servers) == 0 {
		servers = []string{stillpool}
	}
	if len(f.Servers) == 0 {
		f.Servers = servers
	}
	if f.Against != "" && !slices.Contains(f.Servers, against) {
		f.Servers = slices.Insert(slices.Clone(f.Servers), min(1, len(f.Servers)), against)
	}
	if f.Rounds == 0 {
		f.Rounds = 5
		if f.Against != "" {
			f.Rounds = 15 // one build against itself has a median of 1.03 with 5 pairs
		}
	}
}

// builds are the binaries of Stillpool by the names that they have as servers.
func (f *compareFlags) builds() map[string]string {
	all := map[string]string{stillpool: f.StillpoolBin}
	if f.Against != "" {
		all[against] = f.Against
	}
	return all
}

func (f *compareFlags) options() bench.Options {
	return bench.Options{
		Conns: f.Conns, Duration: f.Duration, Settle: f.Settle, SlopeFrom: f.SlopeFrom, Loops: f.Loops, Busy: f.Busy,
	}
}

type compareTickCmd struct {
	compareFlags
	Every     time.Duration `help:"Period of the ticks (default: 1s)."`
	OpenTime  time.Duration `help:"Time to spread the opening over (default: as fast as they open)."`
	Saturated bool          `xor:"load" help:"More than one thread can send: 12,000 connections at 10 a second, beside the bare loop."`
	Sparse    bool          `xor:"load" help:"Few ticks: 2,000 connections at one in 20 s, opened over 20 s so that no server sends them in one burst."`
}

// load fills in what --saturated and --sparse are short for.
func (c *compareTickCmd) load() {
	conns, every, openTime := 5_000, time.Second, time.Duration(0)
	servers := []string{"stillpool", "gws", "gorilla", "floor"}
	switch {
	case c.Saturated:
		conns, every, servers = 12_000, time.Second/10, []string{"stillpool", "gws", "floor", "floor-spread"}
	case c.Sparse:
		conns, every, openTime, servers = 2_000, 20*time.Second, 20*time.Second, []string{"stillpool", "gws", "nbio"}
	}
	if c.Saturated || c.Sparse {
		c.SlopeFrom = -1
	}
	c.Every, c.OpenTime = cmp.Or(c.Every, every), cmp.Or(c.OpenTime, openTime)
	c.setDefaults(conns, servers...)
}

// Run implements the subcommand.
func (c *compareTickCmd) Run() error {
	c.load()
	o := c.options()
	o.OpenTime = c.OpenTime
	return c.compare("tick", bench.Job{Tick: &bench.TickOptions{Options: o, Every: c.Every}})
}

type compareEchoCmd struct {
	compareFlags
	Size     int     `default:"64" help:"Bytes of a message."`
	Inflight int     `help:"Messages under way over all connections (default: 500)."`
	Pipeline int     `default:"1" help:"Messages that may be under way on one connection."`
	Rate     float64 `help:"Messages to send a second, whatever comes back."`
}

// Run implements the subcommand.
func (c *compareEchoCmd) Run() error {
	c.setDefaults(5_000, "stillpool", "gws", "gorilla", "floor")
	return c.compare("echo", bench.Job{Echo: &bench.EchoOptions{
		Options: c.options(), Size: c.Size, Inflight: c.Inflight, Pipeline: c.Pipeline, Rate: c.Rate,
	}})
}

type compareHandlersCmd struct {
	compareFlags
	Do      string        `default:"block 100ms" help:"What handlers do, as \"block 100ms\" or \"compute 20ms\"; see stillpool bench misbehaving."`
	Clients int           `help:"Connections that have them do it, again and again (default: 200 to block, 50 to compute)."`
	Pause   time.Duration `help:"Time between two of one connection (default: none to block, 1s to compute)."`
	Rate    float64       `default:"1000" help:"Messages that the others send a second, all together."`
}

// Run implements the subcommand.
func (c *compareHandlersCmd) Run() error {
	c.setDefaults(500, stillpool)
	c.SlopeFrom = -1
	clients, pause := 200, time.Duration(0)
	if strings.HasPrefix(c.Do, "compute") {
		clients, pause = 50, time.Second // 20 ms each take one processor
	}
	c.Clients, c.Pause = cmp.Or(c.Clients, clients), cmp.Or(c.Pause, pause)
	return c.compare("handlers", bench.Job{Echo: &bench.EchoOptions{
		Options: c.options(), Size: 64, Pipeline: 1, Rate: c.Rate,
		Misbehaving: &bench.Misbehaving{Ask: c.Do, Clients: c.Clients, Pause: c.Pause},
	}})
}

type compareBroadcastCmd struct {
	compareFlags
	Size int     `default:"64" help:"Bytes of a message."`
	Rate float64 `default:"2" help:"Messages to send a second, each to all connections."`
}

// Run implements the subcommand.
func (c *compareBroadcastCmd) Run() error {
	c.setDefaults(5_000, "stillpool", "gws", "gorilla", "nbio")
	return c.compare("broadcast", bench.Job{Broadcast: &bench.BroadcastOptions{Options: c.options(), Size: c.Size, Rate: c.Rate}})
}

type compareConnectCmd struct {
	compareFlags
	Rate float64 `help:"Connections to open a second, whatever becomes of those before."`
}

// Run implements the subcommand.
func (c *compareConnectCmd) Run() error {
	c.setDefaults(5_000, "stillpool", "nbio", "gws", "gorilla")
	return c.compare("connect", bench.Job{Connect: &bench.ConnectOptions{Options: c.options(), Rate: c.Rate}})
}

type compareIdleCmd struct {
	compareFlags
	Steps int  `default:"10" help:"Even steps to open the connections in."`
	GC    bool `name:"gc" help:"Let the servers collect garbage before their memory is taken."`
}

// Run implements the subcommand.
func (c *compareIdleCmd) Run() error {
	c.setDefaults(9_000, "stillpool", "nbio", "gws", "gorilla")
	return c.compare("idle", bench.Job{Idle: &bench.IdleOptions{Options: c.options(), Steps: c.Steps, GC: c.GC}})
}

// compare is the whole comparison, of those servers that have the scenario.
func (f *compareFlags) compare(name string, j bench.Job) error {
	ctx, stop := untilSignal()
	defer stop()
	f.Servers = slices.DeleteFunc(f.Servers, func(name string) bool { return !able(name, j) })
	contestants, err := contestantsNamed(f.Servers, f.builds())
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d rounds, %s; %s %s/%s, %d processors\n", name, f.Rounds, j.Describe(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	t := newContest(name, name, j, contestants, f.Rounds)
	t.before = func(round int, server string) {
		fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round, f.Rounds, server)
	}
	if err := t.run(ctx); err != nil {
		return err
	}
	if failed, all := t.failed(); failed == all {
		return errors.New("no server came through any round")
	}
	if err := report(os.Stdout, t.result); err != nil || f.JSON == "" {
		return err
	}
	return bench.WriteFile(f.JSON, t.result)
}
