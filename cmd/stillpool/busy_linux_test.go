package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// marked lets children be told from those of other tests.
func marked(t *testing.T) (mark string) {
	t.Helper()
	mark = fmt.Sprintf("%d-%s", os.Getpid(), t.Name())
	t.Setenv(asCommand, mark)
	return mark
}

// startBusy starts processes that compute until the test ends them.
func startBusy(t *testing.T, n int) *bench.Busy {
	t.Helper()
	b, err := bench.StartBusy(n, []string{os.Args[0], "bench", "busy"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// niceOf is the priority of a process.
func niceOf(t *testing.T, pid int) int {
	t.Helper()
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBusyProcesses: they compute, with the priority of the process that started them, and are gone when they are
// ended.
func TestBusyProcesses(t *testing.T) {
	mark := marked(t)
	b := startBusy(t, 2)
	pids := others(mark, os.Getpid())
	if len(pids) != 2 {
		t.Fatalf("processes %v, want two", pids)
	}
	for _, pid := range pids {
		eventually(t, "a process to compute", func() bool {
			cpu, err := bench.CPUTime(pid)
			return err != nil || cpu > 50*time.Millisecond
		})
		// 0 is the calling thread. The first one of the process may have the lowest priority: a test that started a
		// hostile process may have run there.
		if got, own := niceOf(t, pid), niceOf(t, 0); got != own {
			t.Errorf("priority %d, want %d", got, own)
		}
		syscall.Kill(pid, syscall.SIGTERM) // as timeout(1) does to the whole group
	}
	if err := b.End(); err != nil {
		t.Error(err)
	}
	if left := others(mark, os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestBusyProcessIsMissed: one that ended by itself is an error, because the machine was less busy than it was said to be.
func TestBusyProcessIsMissed(t *testing.T) {
	mark := marked(t)
	b := startBusy(t, 1)
	syscall.Kill(others(mark, os.Getpid())[0], syscall.SIGKILL)
	if err := b.End(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
	if _, err := bench.StartBusy(1, []string{os.Args[0], "nonsense"}); err == nil {
		t.Error("a process that does not compute was taken for one that does")
	}
}

// TestBusyProcessesEndWithTheirParent: none is left behind by one that is killed.
func TestBusyProcessesEndWithTheirParent(t *testing.T) {
	mark := marked(t)
	addr, _ := started(t)
	run := exec.Command(os.Args[0], "bench", "echo", "--busy", "2", "--conns", "1", "--duration", "1h", "--addr", addr)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "processes that compute", func() bool { return len(others(mark, run.Process.Pid)) == 2 })
	run.Process.Kill()
	run.Wait()
	eventually(t, "their end", func() bool { return len(others(mark, 0)) == 0 })
}

// TestBenchBusy: a scenario starts processes that compute, ends them, and says so in its table and in its result.
func TestBenchBusy(t *testing.T) {
	mark := marked(t)
	r, shown := benched[bench.EchoResult](t, "echo --busy 1 --duration 200ms --settle 0s --warmup 0s")
	if r.Busy != 1 || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
	if head, _, _ := strings.Cut(shown, "\n"); !strings.HasSuffix(head, ", beside a busy process") {
		t.Errorf("the table begins with %q", head)
	}
	if left := others(mark, os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if status, _, errs := ran("bench", "storm", "--busy=-1"); status != exitUsage || !strings.Contains(errs, "--busy") {
		t.Errorf("status %d: %s", status, errs)
	}
}
