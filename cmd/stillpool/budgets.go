package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// contest is a comparison, and the budgets that are held against it.
type contest struct {
	name string
	// scenario and flags are those of "peers compare".
	scenario string
	flags    []string
	// by measures what no peer takes part in; nil is for "peers compare".
	by      func(ctx context.Context, rounds int, duration time.Duration) (*bench.Comparison, error)
	budgets []bench.Budget
}

// own is the server that all budgets are about.
const own = "stillpool"

// contests are all budgets of the design that one machine and one process can be held against.
var contests = slices.Concat([]contest{
	{
		name: "tick", scenario: "tick", flags: []string{"--conns=18000", "--slope-from=3000"},
		budgets: []bench.Budget{
			{
				Name: "memory", Server: own, Metric: "memory", Limit: 257,
				Sentence: "A connection that is ticked each second costs no more memory than uWebSockets' 257 B, by the slope from 3,000 to 18,000.",
			},
			{
				Name: "tick-cpu", Server: own, Metric: "server_cpu", Against: "floor-spread", Beside: []string{"floor"}, Limit: 1.15,
				Sentence: "A tick costs hardly more than a bare write, done in bursts that are spread over the second as ticks are.",
			},
			{
				Name: "lateness", Server: own, Metric: "lateness_p99", Against: "gws", Limit: 1,
				Sentence: "At 18,000 connections and a tick a second, lateness is no worse than that of gws.",
			},
		},
	},
	{
		name: "connect", scenario: "connect", flags: []string{"--conns=9000"},
		budgets: []bench.Budget{{
			Name: "connect", Server: own, Metric: "open_cpu", Against: "nbio", Limit: 1,
			Sentence: "To accept and upgrade a connection costs no more than it costs nbio.",
		}},
	},
	{
		name: "echo-1k", scenario: "echo", flags: []string{"--conns=9000", "--size=1024", "--inflight=2000", "--slope-from=-1"},
		budgets: []bench.Budget{{
			Name: "echo-1k", Server: own, Metric: "per_cpu", Against: "quickws", Limit: 1.2, AtLeast: true,
			Sentence: "For a percent of a processor there are more echoes of 1 KB than of quickws: 2,000 in flight on 9,000 connections.",
		}},
	},
	{
		name: "echo-64", scenario: "echo", flags: []string{"--conns=5000", "--size=64", "--inflight=500", "--slope-from=-1"},
		budgets: []bench.Budget{{
			Name: "echo-64", Server: own, Metric: "server_cpu", Against: "gws", Limit: 0.8,
			Sentence: "An echo of 64 bytes costs less than that of gws: 500 in flight on 5,000 connections.",
		}},
	},
	{
		name: "attack", scenario: "attack", flags: []string{"--conns=500", "--hostile=2000"},
		budgets: []bench.Budget{{
			Name: "attack", Server: own, Metric: "p99_of_control", Limit: 2,
			Sentence: "Beside 2,000 hostile connections good clients wait at most twice as long as beside as many that attack another server.",
		}},
	},
}, misdeedContests(), []contest{
	{
		name: "idle", scenario: "idle", flags: []string{"--conns=19000"},
		budgets: []bench.Budget{{
			Name: "idle", Server: own, Metric: "idle_cpu", Limit: 0.5,
			Sentence: "19,000 connections on which nothing happens and that nothing ticks cost half a percent of a processor at the most.",
		}},
	},
})

// budgetNames are all, in the order in which they are checked.
func budgetNames() (names []string) {
	for _, c := range contests {
		for _, b := range c.budgets {
			names = append(names, b.Name)
		}
	}
	return names
}

// only is the contest with those of its budgets that are asked for, which are all if none is named.
func (c contest) only(names []string) contest {
	c.budgets = slices.DeleteFunc(slices.Clone(c.budgets), func(b bench.Budget) bool {
		return len(names) > 0 && !slices.Contains(names, b.Name)
	})
	return c
}

// servers are those that the contest's budgets are about, the own one first.
func (c contest) servers() (all []string) {
	for _, b := range c.budgets {
		for _, name := range append([]string{b.Server, b.Against}, b.Beside...) {
			if name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// args are those of the peers binary that measures the contest.
func (c contest) args() []string {
	return slices.Concat([]string{"compare", c.scenario, "--servers=" + strings.Join(c.servers(), ",")}, c.flags)
}
