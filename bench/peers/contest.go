package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// contestant is how a server of a comparison is started.
type contestant struct {
	name     string
	version  string
	settings string
	command  []string // to which the address is added
	// misbehaving is the same for a server whose handlers do what messages ask for; nil for peers.
	misbehaving []string
}

// The names of the builds of Stillpool in a comparison.
const (
	stillpool = "stillpool"
	against   = "against"
)

// contestantsNamed looks up servers, of which those in builds are binaries of Stillpool.
func contestantsNamed(names []string, builds map[string]string) ([]*contestant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []*contestant
	for _, name := range names {
		c := &contestant{name: name}
		if file, ok := builds[name]; ok {
			if c.version, err = binaryVersion(file); err != nil {
				return nil, err
			}
			c.settings = "event loops, served where it was found, default settings"
			c.command, c.misbehaving = []string{file, "serve"}, []string{file, "bench", "misbehaving"}
		} else if p, ok := peerNamed(name); ok {
			c.version, c.settings = p.version(), p.about
			c.command = []string{self, "serve", name}
		} else {
			return nil, noPeer(name)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no server to compare")
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

// measureTime bounds one measurement, unless a contest has a bound of its own: a server may hang.
const measureTime = 10 * time.Minute

// contest measures its contestants in turn, round after round, so that what else the machine does
// meanwhile falls on all of them alike.
type contest struct {
	contestants []*contestant
	rounds      int
	takes       time.Duration // one measurement, as planned
	bound       time.Duration // of one measurement
	result      *bench.Comparison

	// before is told what is measured next, and after that it was; an error ends the contest.
	before func(round int, name string)
	after  func() error
}

func newContest(name, title string, j bench.Job, contestants []*contestant, rounds int) *contest {
	result := &bench.Comparison{Name: name, Title: title, Machine: bench.ThisMachine(), Job: j}
	for _, c := range contestants {
		result.Servers = append(result.Servers, bench.Contestant{Name: c.name, Version: c.version, Settings: c.settings})
	}
	return &contest{
		contestants: contestants, rounds: rounds, bound: measureTime, result: result,
		before: func(int, string) {}, after: func() error { return nil },
	}
}

// run fills the result. A server that fails is no reason to end: its result says why, and it has its
// turn again in the next round. The error is that of ctx or of after.
//
// It keeps its thread, because the children are told to end with the thread that started them.
func (t *contest) run(ctx context.Context) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	busy, err := startBusy(t.result.Job.Options().Busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, busy.End()) }()
	t.result.Started = time.Now().UTC().Truncate(time.Second)
	for round := 1; round <= t.rounds; round++ {
		for _, i := range bench.Order(len(t.contestants), round-1) {
			c := t.contestants[i]
			t.before(round, c.name)
			sample, err := t.measure(ctx, c)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			r := &t.result.Servers[i]
			if err == nil {
				r.Rounds = append(r.Rounds, sample)
			} else {
				fmt.Fprintf(os.Stderr, "%s failed: %v\n", c.name, err)
				r.Failures = append(r.Failures, bench.Failure{Round: round, Reason: reason(err)})
			}
			if err := t.after(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *contest) measure(ctx context.Context, c *contestant) (bench.Sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.bound, fmt.Errorf("not done after %v", t.bound))
	defer cancel()
	return measure(ctx, c, t.result.Job)
}

// planned is how long it takes altogether.
func (t *contest) planned() time.Duration {
	return t.takes * time.Duration(t.rounds*len(t.contestants))
}

func (t *contest) names() (all []string) {
	for _, c := range t.contestants {
		all = append(all, c.name)
	}
	return all
}

// failed is how many rounds failed, and all how many there were.
func (t *contest) failed() (failed, all int) {
	for _, r := range t.result.Servers {
		failed += len(r.Failures)
		all += len(r.Failures) + len(r.Rounds)
	}
	return failed, all
}
