package main

import (
	"os/exec"
	"syscall"
)

// detach puts a child out of reach of the terminal's signals, and lets it end with the thread that
// starts it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
