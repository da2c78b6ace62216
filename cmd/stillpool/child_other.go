//go:build !linux

package main

import "os/exec"

// detach does nothing where nothing is served anyway.
func detach(*exec.Cmd) {}
