//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stillpool/stillpool/bench/million"
)

// TestMillion holds a few connections by the same command.
func TestMillion(t *testing.T) {
	t.Setenv(asCommand, "1") // for the children
	file := filepath.Join(t.TempDir(), "result.json")
	status, _, errs := ran(strings.Fields("bench million --quiet --conns 40 --per-process 100 --idle 0 --hold 300ms --every 50ms " +
		"--overload 300ms --overload-every 1ms --json " + file)...)
	if status != exitOK || errs != "" {
		t.Fatalf("status %d: %s", status, errs)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r million.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Open != 40 || len(r.Lost) > 0 || r.Hold.Messages == 0 || r.Overload.Messages == 0 || r.Idle != nil || r.Machine.Processors == 0 {
		t.Errorf("%s", data)
	}
}

func TestMillionFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"bench million --quiet --conns 2000000000", million.ErrMemory.Error()},
		{"bench million --quiet --conns 2000000000", "as it is, --conns "},
		{"bench million --quiet --every 1500us", "whole milliseconds"},
		{"bench million --quiet --per-process 1", "a process"},
		{"bench million --quiet --conns 20 --json /nowhere/at/all.json", "/nowhere/at"},
		{"bench million-child idler", `"idler"`},
	} {
		status, out, errs := ran(strings.Fields(c.args)...)
		if status != exitFailed || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %q, want one line about %s", c.args, status, errs, c.want)
		}
	}
	if _, out, _ := ran("bench", "--help"); !strings.Contains(out, "bench million ") || strings.Contains(out, "million-child") {
		t.Errorf("million is missing, or the hidden command is not hidden, in\n%s", out)
	}
}

// TestMillionInterrupted: one ^C ends a run in order and shows what was measured; a second one ends it at
// once. Nothing is left of it either way.
func TestMillionInterrupted(t *testing.T) {
	for _, c := range []struct {
		name   string
		hang   bool // a child does not end when it is told to
		status int
	}{{"once", false, exitFailed}, {"twice", true, -1}} {
		t.Run(c.name, func(t *testing.T) {
			mark := fmt.Sprintf("%d-%s", os.Getpid(), t.Name())
			run := exec.Command(os.Args[0], strings.Fields("bench million --conns 40 --per-process 100 --idle 0 --hold 1h --every 50ms")...)
			run.Env = append(os.Environ(), asCommand+"="+mark)
			said, err := run.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			var table strings.Builder
			run.Stdout = &table
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(said)
			until(t, lines, "holding")
			children := others(mark, run.Process.Pid)
			if len(children) != 2 {
				t.Errorf("children %v, want a server and a client", children)
			}
			if c.hang {
				syscall.Kill(children[0], syscall.SIGSTOP)
			}
			run.Process.Signal(os.Interrupt)
			if c.hang {
				eventually(t, "the end by another signal", func() bool {
					run.Process.Signal(os.Interrupt)
					return len(others(mark, run.Process.Pid)) == 0
				})
			}
			for lines.Scan() { // to its end
			}
			var exit *exec.ExitError
			if err := run.Wait(); !errors.As(err, &exit) || exit.ExitCode() != c.status {
				t.Errorf("ended with %v", err)
			}
			if shown := strings.Contains(table.String(), "(interrupted)"); shown == c.hang {
				t.Errorf("shown: %s", table.String())
			}
			eventually(t, "the end of all children", func() bool { return len(others(mark, 0)) == 0 })
		})
	}
}

// until reads lines up to one.
func until(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("%q was not said: %v", want, lines.Err())
}

// others are the processes that were started as the command with this mark, but for one.
func others(mark string, but int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == but {
			continue
		}
		environ, _ := os.ReadFile("/proc/" + e.Name() + "/environ") // empty for one that has ended
		if strings.Contains("\x00"+string(environ), "\x00"+asCommand+"="+mark+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}
