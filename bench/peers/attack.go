package main

import (
	"os"

	"github.com/stillpool/stillpool/bench"
)

type compareAttackCmd struct {
	compareFlags
	Hostile int      `default:"2000" help:"Hostile connections."`
	Kinds   []string `placeholder:"KIND,..." help:"What they do (default: all kinds; see stillpool bench attack --help)."`
	Each    bool     `help:"One kind after the other."`
}

// Run implements the subcommand.
func (c *compareAttackCmd) Run() error {
	c.setDefaults(500, "stillpool", "nbio", "gws")
	c.SlopeFrom = -1
	if len(c.Kinds) == 0 {
		c.Kinds = bench.KindNames()
	}
	job := job{Attack: &bench.AttackOptions{Options: c.options(), Hostile: c.Hostile, Kinds: c.Kinds, Each: c.Each}}
	return c.compare("attack", "/echo", job, c.metrics())
}

// metrics are those of each attack, which has the name of its kind if there are several.
func (c *compareAttackCmd) metrics() (all []metric) {
	if !c.Each {
		return attackMetrics("", 0)
	}
	for i, name := range c.Kinds {
		all = append(all, attackMetrics(name+": ", i)...)
	}
	return all
}

func attackMetrics(prefix string, round int) []metric {
	of := func(name string, digits int, value func(*bench.Round) float64) metric {
		return metric{prefix + name, digits, func(s sample) float64 { return value(s.Attack.Rounds[round]) }}
	}
	return []metric{
		of("p99 alone, ms", 3, func(r *bench.Round) float64 { return float64(r.Alone.Latency.P99) / 1000 }),
		of("p99 beside, ms", 3, func(r *bench.Round) float64 { return float64(r.Beside.Latency.P99) / 1000 }),
		of("p99, times of alone", 2, func(r *bench.Round) float64 { _, p99 := r.Ratios(); return p99 }),
		of("p99, times of control", 2, func(r *bench.Round) float64 {
			return float64(r.Beside.Latency.P99) / float64(r.Control.Latency.P99)
		}),
		of("good clients harmed", 0, func(r *bench.Round) float64 { return float64(r.Beside.Harm()) }),
		of("memory more at the peak, MB", 0, func(r *bench.Round) float64 {
			return float64(r.Memory.PeakBytes-r.Memory.BeforeBytes) / 1e6
		}),
		of("server CPU, % of a core", 0, func(r *bench.Round) float64 { return r.Beside.ServerCPUPercent }),
	}
}

// hostileCommand starts the process of the hostile connections.
func hostileCommand() ([]string, error) {
	self, err := os.Executable()
	return []string{self, "hostile"}, err
}

type hostileCmd struct{}

// Run implements the subcommand.
func (*hostileCmd) Run() error { return bench.ServeHostile(os.Stdin, os.Stdout) }
