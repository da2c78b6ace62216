package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// benchCmd is the subcommand bench: package bench behind flags.
type benchCmd struct {
	Tick benchTickCmd `cmd:"" help:"Open many connections and measure how late each periodic message of the server comes."`
	Echo benchEchoCmd `cmd:"" help:"Send messages and measure how long each takes to come back."`

	Broadcast benchBroadcastCmd `cmd:"" help:"Send messages that go to all connections and measure when the first, half and all have each."`
	Connect   benchConnectCmd   `cmd:"" help:"Open connections and close them, again and again, and measure what either costs."`
	Idle      benchIdleCmd      `cmd:"" help:"Open connections step by step and measure what memory they cost, and what processor time when nothing happens."`

	Attack  benchAttackCmd  `cmd:"" help:"Measure good clients alone, and beside hostile ones."`
	Hostile benchHostileCmd `cmd:"" hidden:""`

	Storm   benchStormCmd   `cmd:"" help:"Have most clients dropped and back within a second, and measure what those see that stay."`
	Subject benchSubjectCmd `cmd:"" hidden:""`

	Overload benchOverloadCmd `cmd:"" help:"Have more ticks come due than the machine can carry, and measure what is beside them."`

	Soak      benchSoakCmd      `cmd:"" help:"Let connections come, talk, stall, reset and go at random, and hold the server against a model."`
	SoakChild benchSoakChildCmd `cmd:"" hidden:""`

	Million      benchMillionCmd      `cmd:"" help:"Hold a million connections on this machine, and overload it."`
	MillionChild benchMillionChildCmd `cmd:"" hidden:""`
	Profile      benchProfileCmd      `cmd:"" help:"Profile the server under a scenario."`
	Check        benchCheckCmd        `cmd:"" help:"Hold the server against its budgets, beside its peers."`
	Misbehaving  misbehavingCmd       `cmd:"" hidden:""`
	Busy         benchBusyCmd         `cmd:"" hidden:""`
}

// benchFlags are what most scenarios have.
type benchFlags struct {
	busyFlags
	Addr           string        `default:"localhost:8080" help:"The server's host and port."`
	URL            string        `name:"url" placeholder:"ws://HOST:PORT/PATH" help:"The endpoint, in place of the usual path of ADDR."`
	Conns          int           `default:"1000" help:"Connections to open."`
	Duration       time.Duration `default:"10s" help:"How long to measure."`
	PID            int           `name:"pid" help:"Process id of the server, to measure its processor time and memory too."`
	SlopeFrom      int           `help:"Connections from which the server's growth a connection is measured; -1 for none (default: 3000, with at least 6000 connections)."`
	Settle         time.Duration `default:"2s" help:"Time to wait after opening before memory is taken or measuring begins."`
	Loops          int           `default:"1" help:"Event loops of the client."`
	ConnectBurst   int           `default:"100" help:"Connections that may be opening at the same time."`
	ConnectTimeout time.Duration `default:"10s" help:"Bound for opening one connection."`
	JSON           string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
	Quiet          bool          `help:"Show no progress."`
}

func (f *benchFlags) options(path string) bench.Options {
	o := bench.Options{
		URL: f.URL, Conns: f.Conns, Duration: f.Duration, PID: f.PID,
		SlopeFrom: f.SlopeFrom, Settle: orNone(f.Settle), Loops: f.Loops,
		ConnectBurst: f.ConnectBurst, ConnectTimeout: f.ConnectTimeout, Busy: f.Busy,
	}
	if o.URL == "" {
		o.URL = "ws://" + f.Addr + path
	}
	if !f.Quiet && isTerminal(os.Stderr) {
		o.Progress = os.Stderr
	}
	return o
}

// orNone turns the 0 of a flag, which means none, into what means none in package bench.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// benchResult is what a scenario measures.
type benchResult interface{ WriteTable(io.Writer) error }

func (f *benchFlags) show(r benchResult) error {
	if f.JSON == "-" {
		return bench.WriteJSON(os.Stdout, r)
	}
	if err := r.WriteTable(os.Stdout); err != nil || f.JSON == "" {
		return err
	}
	file, err := os.Create(f.JSON)
	if err != nil {
		return err
	}
	if err := bench.WriteJSON(file, r); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// untilInterrupt ends a run in order at the first ^C; a second one ends the process.
func untilInterrupt() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

type benchTickCmd struct {
	benchFlags
	Every time.Duration `default:"1s" help:"The server's period."`
}

// Run implements the subcommand.
func (c *benchTickCmd) Run() error { return c.beside(c.run) }

func (c *benchTickCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := bench.Tick(ctx, bench.TickOptions{Options: c.options("/ws"), Every: c.Every})
	if err != nil {
		return err
	}
	return c.show(r)
}

type benchEchoCmd struct {
	benchFlags
	Size     int           `default:"64" help:"Bytes of a message."`
	Inflight int           `help:"Messages under way at the same time over all connections (default: 500; at a rate, as many as there is room for)."`
	Pipeline int           `default:"1" help:"Messages that may be under way on one connection."`
	Rate     float64       `help:"Messages to send a second, whatever comes back; their time counts from when they were due (no coordinated omission). Else the next is sent when one comes back, and its time from then."`
	Warmup   time.Duration `default:"1s" help:"Time to send before measuring begins."`
}

// Run implements the subcommand.
func (c *benchEchoCmd) Run() error { return c.beside(c.run) }

func (c *benchEchoCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	r, err := bench.Echo(ctx, bench.EchoOptions{
		Options: c.options("/echo"), Size: c.Size, Inflight: c.Inflight, Pipeline: c.Pipeline,
		Rate: c.Rate, Warmup: orNone(c.Warmup),
	})
	if err != nil {
		return err
	}
	return c.show(r)
}
