package main

import (
	"time"

	"github.com/stillpool/stillpool/bench"
)

// benchConnectCmd are the flags of "stillpool bench connect".
type benchConnectCmd struct {
	busyFlags
	Addr           string        `default:"localhost:8080" help:"The server's host and port."`
	URL            string        `name:"url" placeholder:"ws://HOST:PORT/PATH" help:"The endpoint, in place of /echo of ADDR."`
	PID            int           `name:"pid" help:"Process id of the server, to measure its processor time and memory too."`
	Conns          int           `default:"1000" help:"Connections to open before they are closed again."`
	Rate           float64       `help:"Connections to open a second, whatever becomes of those before; their time counts from when they were due (no coordinated omission). Else the next opens when one has opened."`
	ConnectBurst   int           `default:"100" help:"Connections that may be opening at the same time."`
	ConnectTimeout time.Duration `default:"10s" help:"Bound for opening one connection, and for closing all."`
	Duration       time.Duration `default:"10s" help:"How long to open and close, again and again."`
	Pause          time.Duration `default:"100ms" help:"Time to wait after opening all and after closing all; what the server does meanwhile counts for what was before."`
	Loops          int           `default:"1" help:"Event loops of the client."`
	JSON           string        `name:"json" placeholder:"FILE" help:"Write the result as JSON to FILE too, or with - to standard output instead of the table."`
	Quiet          bool          `help:"Show no progress."`
}

// Run implements the subcommand.
func (c *benchConnectCmd) Run() error { return c.beside(c.run) }

func (c *benchConnectCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	f := &benchFlags{
		busyFlags: c.busyFlags,
		Addr:      c.Addr, URL: c.URL, Conns: c.Conns, Duration: c.Duration, PID: c.PID, Loops: c.Loops,
		ConnectBurst: c.ConnectBurst, ConnectTimeout: c.ConnectTimeout, JSON: c.JSON, Quiet: c.Quiet,
	}
	r, err := bench.Connect(ctx, bench.ConnectOptions{Options: f.options("/echo"), Rate: c.Rate, Pause: orNone(c.Pause)})
	if err != nil {
		return err
	}
	return f.show(r)
}
