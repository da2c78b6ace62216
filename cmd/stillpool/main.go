// Command stillpool runs the demonstration application of package server, and measures servers.
// It turns flags and environment into options, and does nothing else: what it shows off is in the
// packages beside it.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the environment was wrong
)

const description = `Stillpool holds a great many mostly idle WebSocket connections on one machine, and writes to every one of them on time.

Start with "stillpool serve" and open the address that it prints.`

// cli is the command line.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the demonstration application."`
	Bench   benchCmd   `cmd:"" help:"Measure a server."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// streams are where commands write: what was asked for to out, all else to err.
type streams struct{ out, err io.Writer }

func main() {
	os.Exit(run(os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// run runs a command line to its end, and answers the exit status.
func run(args []string, to streams) int {
	helped := false
	command, err := newParser(&cli{}, to, &helped).Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(to.err, "stillpool: %v (see stillpool --help)\n", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		fmt.Fprintf(to.err, "stillpool: %v\n", err)
		return statusOf(err)
	}
	return exitOK
}

// statusOf is the exit status of a command that failed, which an error may choose.
func statusOf(err error) int {
	var chosen interface{ status() int }
	if errors.As(err, &chosen) {
		return chosen.status()
	}
	return exitFailed
}

// newParser makes a parser that fills c. After --help it goes on where kong would exit, and helped
// is set.
func newParser(c *cli, to streams, helped *bool) *kong.Kong {
	return kong.Must(c, kong.Name("stillpool"), kong.Description(description), kong.Bind(to),
		kong.Writers(to.out, to.err), kong.Exit(func(int) { *helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
}

type versionCmd struct{}

// Run prints what the Go tool noted in the binary.
func (versionCmd) Run(to streams) error {
	version, revision := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = ", revision " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(to.out, "stillpool %s, %s %s/%s%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision)
	return err
}
