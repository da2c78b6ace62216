package main

import (
	"context"
	"fmt"
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
	by func(context.Context, checkOptions) (*bench.Comparison, error)
	// budgets are held on a quiet machine and on a busy one, and the others on one of them only.
	budgets, quiet, busy []bench.Budget
}

// checkOptions are how a contest is measured.
type checkOptions struct {
	rounds   int
	duration time.Duration
	busy     int // processes that compute meanwhile
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
		name: "tick-saturated", scenario: "tick", flags: []string{"--saturated"},
		budgets: []bench.Budget{{
			Name: "tick-saturated", Server: own, Metric: "server_cpu", Against: "floor-spread", Beside: []string{"floor", "gws"}, Limit: 1.2,
			Sentence: "Where 12,000 connections at 10 a second are more than a thread can send, a tick costs at most 1.2 of a bare write.",
		}},
	},
	{
		name: "tick-sparse", scenario: "tick", flags: []string{"--sparse"},
		budgets: []bench.Budget{{
			Name: "tick-sparse", Server: own, Metric: "server_cpu", Against: "gws", Limit: 1,
			Sentence: "A tick of 2,000 connections at one in 20 s, where few are due together, costs no more than that of gws.",
		}},
	},
	{
		name: "connect", scenario: "connect", flags: []string{"--conns=9000"},
		budgets: []bench.Budget{{
			Name: "connect", Server: own, Metric: "open_cpu", Against: "nbio", Limit: 0.6,
			Sentence: "To accept and upgrade a connection costs at most 0.6 of what it costs nbio.",
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
			Name: "echo-64", Server: own, Metric: "server_cpu", Against: "gws", Limit: 0.6,
			Sentence: "An echo of 64 bytes costs at most 0.6 of that of gws: 500 in flight on 5,000 connections.",
		}},
	},
	{
		name: "attack", scenario: "attack", flags: []string{"--conns=500", "--hostile=2000"},
		budgets: []bench.Budget{{
			Name: "attack", Server: own, Metric: "p99_of_control", Limit: 2,
			Sentence: "Beside 2,000 hostile connections of all kinds good clients wait at most twice as long as beside as many that attack another server.",
		}},
	},
	{
		name: "attack-slow", scenario: "attack",
		flags: []string{"--conns=50", "--hostile=2000", "--kinds=half-handshake,half-header,half-payload,bulk-never-reads"},
		budgets: []bench.Budget{{
			Name: "attack-slow", Server: own, Metric: "p99_beside", Against: "gws", Limit: 1.2,
			Sentence: "Beside 2,000 hostile connections that send half of something, or bulk without reading, 50 good clients wait at most 1.2 times as long as those of gws.",
		}},
	},
	{
		name: "attack-bulk", scenario: "attack", flags: []string{"--conns=50", "--hostile=500", "--kinds=bulk-never-reads"},
		budgets: []bench.Budget{
			{
				Name: "attack-bulk", Server: own, Metric: "p99_beside", Against: "gws", Limit: 1.2,
				Sentence: "Beside 500 connections that send 60 kB every 300 ms and never read, 50 good clients wait at most 1.2 times as long as those of gws.",
			},
			{
				Name: "attack-bulk-memory", Server: own, Metric: "peak_total", Beside: []string{"gws"}, Limit: 64,
				Sentence: "Meanwhile the server takes at most 64 MB of memory.",
			},
		},
	},
}, misbehaviourContests(), []contest{
	{
		name: "storm", by: compareStorm,
		budgets: []bench.Budget{{
			Name: "storm", Server: own, Metric: "lateness_p99", Against: stormElsewhere, Limit: 2,
			Sentence: "While 18,000 others are dropped and come back within a second, ticks are at most twice as late as while they do so on another server.",
		}},
	},
	{
		name: "idle", scenario: "idle", flags: []string{"--conns=19000"},
		budgets: []bench.Budget{{
			Name: "idle", Server: own, Metric: "idle_cpu", Limit: 0.5,
			Sentence: "19,000 connections on which nothing happens and that nothing ticks cost at most half a percent of a processor.",
		}},
	},
})

// on returns the contest with the budgets that are held on a quiet machine, or on a busy one.
func (c contest) on(busy bool) contest {
	also := c.quiet
	if busy {
		also = c.busy
	}
	c.budgets, c.quiet, c.busy = slices.Concat(c.budgets, also), nil, nil
	return c
}

// budgetNames are all, in the order in which they are checked. Each is held on a quiet machine and on a busy one.
func budgetNames() (names []string) {
	for _, c := range contests {
		for _, b := range c.on(false).budgets {
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
func (c contest) args(o checkOptions) []string {
	return slices.Concat([]string{"compare", c.scenario, "--servers=" + strings.Join(c.servers(), ",")}, c.flags, []string{
		fmt.Sprintf("--rounds=%d", o.rounds), "--duration=" + o.duration.String(), fmt.Sprintf("--busy=%d", o.busy),
	})
}
