package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const usualRounds = 3

// suiteCmd runs the comparisons of the plan and keeps each as a file.
type suiteCmd struct {
	Out          string   `required:"" placeholder:"DIR" help:"Folder for the results, a JSON file a comparison."`
	StillpoolBin string   `default:"stillpool" help:"Binary whose subcommand serve is the server called stillpool."`
	Rounds       int      `help:"How often to measure each server (default: 3, and 1 beside attackers)."`
	Servers      []string `placeholder:"SERVER,..." help:"Servers to compare (default: stillpool and all peers)."`
	Only         []string `placeholder:"NAME,..." help:"Comparisons to run (default: all that need not be asked for; see peers plan)."`
}

// Run implements the subcommand.
func (c *suiteCmd) Run() error {
	ctx, stop := untilSignal()
	defer stop()
	chosen, err := chosenOf(plan, c.Only)
	if err != nil {
		return err
	}
	if len(c.Servers) == 0 {
		c.Servers = allServers()
	}
	contestants, err := contestantsNamed(c.Servers, map[string]string{stillpool: c.StillpoolBin})
	if err != nil {
		return err
	}
	return runSuite(ctx, chosen, contestants, c.Rounds, c.Out, os.Stderr)
}

func allServers() []string {
	all := []string{"stillpool"}
	for _, p := range peers {
		all = append(all, p.name)
	}
	return all
}

// chosenOf are the entries of the plan with the given names, in its order; without names, those that need
// not be asked for.
func chosenOf(plan []planned, names []string) (chosen []planned, err error) {
	for _, name := range names {
		if !slices.ContainsFunc(plan, func(p planned) bool { return p.name == name }) {
			return nil, fmt.Errorf("no comparison is called %q (see peers plan)", name)
		}
	}
	for _, p := range plan {
		if len(names) == 0 && !p.asked || slices.Contains(names, p.name) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// runSuite runs one comparison after the other. A file has what was measured so far, from the first
// measurement on, so that an interruption loses none.
func runSuite(ctx context.Context, plan []planned, contestants []*contestant, rounds int, dir string, log io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var all []*contest
	for _, p := range plan {
		all = append(all, p.contests(contestants, rounds)...)
	}
	all = slices.DeleteFunc(all, func(t *contest) bool { return len(t.contestants) == 0 })
	h := newHourglass(all)
	for _, t := range all {
		t.before = func(round int, name string) {
			fmt.Fprintf(log, "%s, round %d of %d: %s (%s left)\n", t.result.Name, round, t.rounds, name, h.left())
		}
		t.after = func() error {
			h.done(t.takes)
			return bench.WriteFile(filepath.Join(dir, t.result.Name+".json"), t.result)
		}
		if err := t.run(ctx); err != nil {
			return err
		}
	}
	return conclude(all, log)
}

// conclude says which servers failed. That they did is a result; only if all did it is an error.
func conclude(all []*contest, log io.Writer) error {
	failed, runs := 0, 0
	for _, t := range all {
		for _, r := range t.result.Servers {
			failed += len(r.Failures)
			runs += len(r.Failures) + len(r.Rounds)
			for _, f := range r.Failures {
				fmt.Fprintf(log, "FAILED %s, round %d: %s: %s\n", t.result.Name, f.Round, r.Name, f.Reason)
			}
		}
	}
	if failed == runs {
		return errors.New("no server came through any comparison")
	}
	return nil
}

// hourglass tells how long is left, by how long was planned and how long it takes indeed.
type hourglass struct {
	start         time.Time
	planned, past time.Duration // past of what was planned
}

func newHourglass(all []*contest) *hourglass {
	h := &hourglass{start: time.Now()}
	for _, t := range all {
		h.planned += t.planned()
	}
	return h
}

func (h *hourglass) done(planned time.Duration) { h.past += planned }

func (h *hourglass) left() time.Duration {
	left := h.planned - h.past
	if h.past > 0 {
		left = time.Duration(float64(left) * float64(time.Since(h.start)) / float64(h.past))
	}
	return left.Round(time.Second)
}

// planCmd shows the plan.
type planCmd struct{}

// Run implements the subcommand.
func (*planCmd) Run() error { return writePlan(os.Stdout, plan) }

func writePlan(out io.Writer, plan []planned) error {
	w := newColumns(out)
	var contestants []*contestant
	for _, name := range allServers() {
		contestants = append(contestants, &contestant{name: name})
	}
	total := time.Duration(0)
	for _, p := range plan {
		for _, t := range p.contests(contestants, 0) {
			note := ""
			if p.asked {
				note = "; only if asked for"
			} else {
				total += t.planned()
			}
			fmt.Fprintf(w, "%s\t%v\t%d times %s%s\n", t.result.Name, t.planned(), t.rounds, strings.Join(t.names(), " "), note)
		}
	}
	fmt.Fprintf(w, "all\t%v\twithout those that are only run if asked for\n", total)
	return w.Flush()
}
