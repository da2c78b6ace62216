package main

import "github.com/stillpool/stillpool/bench"

// benchIdleCmd are the flags of "stillpool bench idle".
type benchIdleCmd struct {
	benchFlags
	Path  string `default:"/echo" help:"The endpoint at ADDR: /echo says nothing by itself, /ws does every second."`
	Steps int    `default:"10" help:"Even steps to open the connections in; the memory is taken at each, when it has settled."`
	Pprof string `placeholder:"HOST:PORT" help:"Address of the server's net/http/pprof, to divide its memory into heap, stacks and the rest."`
	GC    bool   `name:"gc" help:"Let the server collect garbage before its memory is taken; it takes --pprof."`
}

// Run implements the subcommand.
func (c *benchIdleCmd) Run() error { return c.beside(c.run) }

func (c *benchIdleCmd) run() error {
	ctx, stop := untilInterrupt()
	defer stop()
	o := bench.IdleOptions{Options: c.options(c.Path), Steps: c.Steps, GC: c.GC}
	o.PprofURL = c.Pprof
	r, err := bench.Idle(ctx, o)
	if err != nil {
		return err
	}
	return c.show(r)
}
