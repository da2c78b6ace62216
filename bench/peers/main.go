package main

import (
	"context"
	"expvar"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Serve   serveCmd   `cmd:"" help:"Serve the demonstration application on one of the peers."`
	List    listCmd    `cmd:"" help:"List the peers."`
	Compare compareCmd `cmd:"" help:"Measure several servers in turn and put them in ratio."`
	Suite   suiteCmd   `cmd:"" help:"Run the comparisons of the plan and keep their results."`
	Plan    planCmd    `cmd:"" help:"List the comparisons of the suite, and how long they take."`
	Client  clientCmd  `cmd:"" hidden:""`
	Hostile hostileCmd `cmd:"" hidden:""`
	Busy    busyCmd    `cmd:"" hidden:""`
}

func main() {
	ctx := kong.Parse(&cli{}, kong.Name("peers"), kong.UsageOnError(),
		kong.Description("Other WebSocket libraries, to compare Stillpool with."))
	ctx.FatalIfErrorf(ctx.Run())
}

type serveCmd struct {
	Name      string        `arg:"" help:"The peer; see list."`
	Addr      string        `default:"localhost:8080" help:"Address to listen on."`
	Every     time.Duration `default:"1s" help:"Period of the ticks."`
	IOTimeout time.Duration `default:"100ms" help:"Deadline of each read and write of easygo."`
	Pprof     string        `placeholder:"ADDR" help:"Serve net/http/pprof on this address, and how many connections are in the peer's tables (/debug/tables)."`
}

func (c *serveCmd) Run() error {
	p, ok := peerNamed(c.Name)
	if !ok {
		return noPeer(c.Name)
	}
	s := &settings{addr: c.Addr, every: c.Every, ioTimeout: c.IOTimeout, counts: new(expvar.Map)}
	if c.Pprof == "" {
		runtime.MemProfileRate = 0 // as in a binary that has no profiles linked in
	} else if err := servePprof(c.Pprof, s.counts); err != nil {
		return err
	}
	return p.serve(s)
}

// untilSignal ends at ^C or a polite request to end; a second one is not polite any more.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

type listCmd struct{}

func (*listCmd) Run() error {
	w := newColumns(os.Stdout)
	for _, p := range peers {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.name, p.version(), p.about)
	}
	return w.Flush()
}

func newColumns(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0) }
