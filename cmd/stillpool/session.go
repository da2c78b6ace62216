package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// benchProfileCmd is a profiling session: a server with its profile on, a scenario that gives it work,
// and a look at what was measured.
type benchProfileCmd struct {
	busyFlags
	Mode  string   `default:"cpu" enum:"cpu,heap,allocs,mutex,block,goroutine,threads,trace,clock" help:"What to profile: ${enum}."`
	Out   string   `placeholder:"DIR" help:"Folder for the files (default: a new one among the temporary files)."`
	Serve []string `placeholder:"FLAG" sep:"none" help:"A flag for the server, as --serve=--loops=2; repeatable."`
	Nodes int      `default:"25" help:"How many functions to list."`
	Args  []string `arg:"" passthrough:"" name:"scenario" help:"The scenario of \"stillpool bench\", and behind it its own flags."`
}

// Help gives examples.
func (*benchProfileCmd) Help() string {
	return `The server and the client are processes of their own. The server's address and process id are given to the scenario; what it measures is shown, and kept beside the profile.

Listing and graphs are made by "go tool pprof", if Go is there: flame.html is for any browser, and graph.svg is made if Graphviz's dot is there too.

Examples:

    stillpool bench profile tick --conns 9000
    stillpool bench profile --mode allocs echo --conns 5000 --size 1024
    stillpool bench profile --serve=--poller=easygo connect --conns 9000`
}

// covers says what a profile is of: pkg/profile begins with the process and ends with it, and not
// with the measuring.
var covers = map[string]string{
	"cpu":       "all processor time of the server, from its start to its end",
	"heap":      "the memory that was in use when garbage was last collected, of which the connections may be closed at the end; serve --pprof shows that of a moment",
	"allocs":    "all that the server allocated, from its start to its end",
	"mutex":     "all waiting for locks, from the server's start to its end",
	"block":     "all waiting of goroutines, from the server's start to its end; that of the idle ones too",
	"goroutine": "the goroutines at the end, when the connections are closed; serve --pprof shows those of a moment",
	"threads":   "what the server's threads were started by",
	"trace":     "all that the server's goroutines did, from its start to its end",
	"clock":     "where goroutines were, running or waiting, from the server's start to its end",
}

// Run implements the subcommand.
func (c *benchProfileCmd) Run(to streams) error {
	return c.beside(func() error { return c.run(to) })
}

// run keeps its thread, because children end with the one that started them.
func (c *benchProfileCmd) run(to streams) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, stop := untilInterrupt()
	defer stop()
	dir, err := c.folder()
	if err != nil {
		return err
	}
	if err := c.measure(ctx, dir, to); err != nil {
		return err
	}
	file := filepath.Join(dir, profileModes[c.Mode].file)
	if err := notEmpty(file); err != nil {
		return fmt.Errorf("there is no profile: %w", err)
	}
	fmt.Fprintf(to.out, "\nProfile: %s\n  of %s\n", file, covers[c.Mode])
	if c.Mode == "cpu" {
		tellShares(filepath.Join(dir, resultFile), to.out)
	}
	return look(ctx, c.Mode, file, c.Nodes, to.out)
}

const resultFile = "result.json"

func (c *benchProfileCmd) folder() (string, error) {
	if c.Out == "" {
		return os.MkdirTemp("", "stillpool-profile-")
	}
	return c.Out, os.MkdirAll(c.Out, 0o777)
}

// measure runs the scenario against a server whose profile is whole when measure returns.
func (c *benchProfileCmd) measure(ctx context.Context, dir string, to streams) (err error) {
	defer func() {
		if ctx.Err() != nil {
			err = errors.New("interrupted") // whatever failed for that
		}
	}()
	srv, err := startServer(ctx, slices.Concat([]string{"serve", "--addr=127.0.0.1:0", "--log-level=warn",
		"--profile=" + c.Mode, "--profile-dir=" + dir}, c.Serve)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.end()) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	client := command(ctx, self, slices.Concat([]string{"bench"}, c.scenario(),
		[]string{"--addr=" + srv.addr, "--pid=" + strconv.Itoa(srv.pid), "--json=" + filepath.Join(dir, resultFile)})...)
	client.Stdout, client.Stderr = to.out, to.err
	if err := client.Run(); err != nil {
		return fmt.Errorf("the scenario failed: %w", err)
	}
	return nil
}

// scenario is without what may stand before it, so that no flag of its own is taken for one of this
// command.
func (c *benchProfileCmd) scenario() []string {
	if c.Args[0] == "--" {
		return c.Args[1:]
	}
	return c.Args
}

func notEmpty(file string) error {
	info, err := os.Stat(file)
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	return err
}

// tellShares tells how much of the server's processor time was spent on what, where the result of the
// scenario has that.
func tellShares(file string, out io.Writer) {
	var r struct {
		Opening struct {
			Opened int     `json:"opened"`
			Us     float64 `json:"server_cpu_us_per_conn"`
		} `json:"opening"`
		Server struct {
			Seconds float64 `json:"cpu_seconds"`
		} `json:"server"`
	}
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &r) != nil || r.Server.Seconds == 0 {
		return
	}
	opening := time.Duration(float64(r.Opening.Opened) * r.Opening.Us * float64(time.Microsecond))
	measuring := time.Duration(r.Server.Seconds * float64(time.Second))
	fmt.Fprintf(out, "  of which %.2f s were spent while %d connections were opened, %.2f s while it was measured, and the rest before, between and after\n",
		opening.Seconds(), r.Opening.Opened, measuring.Seconds())
}
