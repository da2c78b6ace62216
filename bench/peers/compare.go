package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// compareCmd runs one scenario against several servers in turn, round after round, so that what
// else the machine does meanwhile falls on all of them alike.
type compareCmd struct {
	Tick   compareTickCmd   `cmd:"" help:"Lateness and cost of a message every second to each connection."`
	Echo   compareEchoCmd   `cmd:"" help:"Throughput, latency and cost of echoes."`
	Attack compareAttackCmd `cmd:"" help:"Latency of good clients alone and beside hostile ones."`
}

// compareFlags are what all scenarios have.
type compareFlags struct {
	Servers      []string      `placeholder:"SERVER,..." help:"Servers to compare, the first of which the others are put in ratio to (default: stillpool,gws,gorilla,floor; for attacks stillpool,nbio,gws)."`
	StillpoolBin string        `default:"stillpool" help:"Binary whose subcommand serve is the server called stillpool."`
	Rounds       int           `default:"5" help:"How often to measure each server."`
	Conns        int           `help:"Connections to open (default: 5000; for attacks 500)."`
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
	if len(f.Servers) == 0 {
		f.Servers = servers
	}
}

func (f *compareFlags) options() bench.Options {
	return bench.Options{
		Conns: f.Conns, Duration: f.Duration, Settle: f.Settle, SlopeFrom: f.SlopeFrom, Loops: f.Loops,
	}
}

type compareTickCmd struct {
	compareFlags
	Every time.Duration `default:"1s" help:"Period of the ticks."`
}

// Run implements the subcommand.
func (c *compareTickCmd) Run() error {
	c.setDefaults(5_000, "stillpool", "gws", "gorilla", "floor")
	return c.compare("tick", bench.Job{Tick: &bench.TickOptions{Options: c.options(), Every: c.Every}})
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
	c.Servers = slices.DeleteFunc(c.Servers, func(name string) bool {
		p, _ := peerNamed(name)
		return p.noEcho
	})
	return c.compare("echo", bench.Job{Echo: &bench.EchoOptions{
		Options: c.options(), Size: c.Size, Inflight: c.Inflight, Pipeline: c.Pipeline, Rate: c.Rate,
	}})
}

// compare is the whole comparison. It keeps its thread, because the children are told to end with
// the thread that started them.
func (f *compareFlags) compare(name string, j bench.Job) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, stop := untilSignal()
	defer stop()

	contestants, err := f.contestants()
	if err != nil {
		return err
	}
	f.printSettings(name, j)
	result := &bench.Comparison{Name: name, Title: name, Started: time.Now(), Machine: bench.ThisMachine(), Job: j}
	for _, c := range contestants {
		result.Servers = append(result.Servers, bench.Contestant{Name: c.name, Version: c.version, Settings: c.settings})
	}
	for round := range f.Rounds {
		for _, i := range bench.Order(len(contestants), round) {
			c := contestants[i]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, f.Rounds, c.name)
			s, err := measure(ctx, c, j)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			result.Servers[i].Rounds = append(result.Servers[i].Rounds, s)
		}
	}
	if err := report(os.Stdout, result); err != nil || f.JSON == "" {
		return err
	}
	file, err := os.Create(f.JSON)
	if err != nil {
		return err
	}
	return errors.Join(bench.WriteJSON(file, result), file.Close())
}

// contestant is how a server of the comparison is started.
type contestant struct {
	name     string
	version  string
	settings string
	command  []string // to which the address is added
}

func (f *compareFlags) contestants() ([]*contestant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []*contestant
	for _, name := range f.Servers {
		c := &contestant{name: name}
		if name == "stillpool" {
			if c.version, err = binaryVersion(f.StillpoolBin); err != nil {
				return nil, err
			}
			c.settings = "event loops, served where it was found, default settings"
			c.command = []string{f.StillpoolBin, "serve"}
		} else if p, ok := peerNamed(name); ok {
			c.version, c.settings = p.version(), p.about
			c.command = []string{self, "serve", name}
		} else {
			return nil, noPeer(name)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no server to compare")
	}
	return all, nil
}

// binaryVersion is what the Go tool wrote into a binary when it was built.
func binaryVersion(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	return info.Main.Version, nil
}

func (f *compareFlags) printSettings(name string, j bench.Job) {
	fmt.Printf("%s: %d rounds of %v, %d connections, client with %d loop(s); %s %s/%s, %d processors\n",
		name, f.Rounds, f.Duration, f.Conns, f.Loops,
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if t := j.Tick; t != nil {
		fmt.Printf("a message to each connection every %v\n", t.Every)
	}
	if e := j.Echo; e != nil {
		fmt.Printf("%d bytes a message, in flight %s, at most %d a connection, rate %s\n",
			e.Size, orWord(e.Inflight, "by default"), e.Pipeline, orWord(e.Rate, "as answers come"))
	}
	if a := j.Attack; a != nil {
		fmt.Printf("%d hostile: %s\n", a.Hostile, strings.Join(a.Kinds, ", "))
	}
}

func orWord[T int | float64](n T, word string) string {
	if n == 0 {
		return word
	}
	return fmt.Sprint(n)
}
