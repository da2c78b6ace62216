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
	return c.compare("attack", bench.Job{Attack: &bench.AttackOptions{
		Options: c.options(), Hostile: c.Hostile, Kinds: c.Kinds, Each: c.Each,
	}})
}

// hostileCommand starts the process of the hostile connections.
func hostileCommand() ([]string, error) {
	self, err := os.Executable()
	return []string{self, "hostile"}, err
}

type hostileCmd struct{}

// Run implements the subcommand.
func (*hostileCmd) Run() error { return bench.ServeHostile(os.Stdin, os.Stdout) }
