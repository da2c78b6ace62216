package main

import (
	"os"

	"github.com/stillpool/stillpool/bench"
)

// busyCmd is a process that computes. It is not for people.
type busyCmd struct{}

// Run implements the subcommand.
func (*busyCmd) Run() error { return bench.ServeBusy(os.Stdin, os.Stdout) }

// startBusy starts n of them.
func startBusy(n int) (*bench.Busy, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return bench.StartBusy(n, []string{self, "busy"})
}
