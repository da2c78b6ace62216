package main

import (
	"errors"
	"os"

	"github.com/stillpool/stillpool/bench"
)

// busyFlags are those of all that is measured.
type busyFlags struct {
	Busy int `placeholder:"N" help:"Processes that compute meanwhile, started and ended by this command."`
}

// Validate refuses what the flag's type lets through.
func (f busyFlags) Validate() error {
	if f.Busy < 0 {
		return errors.New("--busy can't be negative")
	}
	return nil
}

// beside measures while the processes compute.
func (f busyFlags) beside(measure func() error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	busy, err := bench.StartBusy(f.Busy, []string{self, "bench", "busy"})
	if err != nil {
		return err
	}
	return errors.Join(measure(), busy.End())
}

// benchBusyCmd is a process that computes. It is not for people.
type benchBusyCmd struct{}

// Run implements the subcommand.
func (benchBusyCmd) Run() error { return bench.ServeBusy(os.Stdin, os.Stdout) }
