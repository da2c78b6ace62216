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
	"strings"
	"syscall"
	"testing"

	"github.com/stillpool/stillpool/bench/soak"
)

// TestSoak soaks a little by the same command.
func TestSoak(t *testing.T) {
	t.Setenv(asCommand, "1") // for the server
	file := filepath.Join(t.TempDir(), "result.json")
	var status int
	var errs string
	shown := stdout(t, func() {
		status, _, errs = ran(strings.Fields("bench soak --quiet --conns 10 --duration 200ms --pause 5ms --seed 99 --json " + file)...)
	})
	if status != exitOK || errs != "" {
		t.Fatalf("status %d: %s\n%s", status, errs, shown)
	}
	wantLines(t, shown, "soak", "connections", "messages in", "messages out", "heap", "at the ebb", "end", "did", "verdict")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r soak.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Opens == 0 || r.Opens != r.Closes || r.Options.Seed != 99 || len(r.Ebbs) != 3 || r.Machine.Processors == 0 {
		t.Errorf("%s", data)
	}
}

func TestSoakFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"bench soak --quiet --conns 2000000000", "limit of"},
		{"bench soak --quiet --conns=-1", "negative"},
		{"bench soak --quiet --patience 1ms", "too small"},
		{"bench soak --quiet --json /nowhere/at/all.json", "/nowhere/at"},
	} {
		status, out, errs := ran(strings.Fields(c.args)...)
		if status != exitFailed || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %q, want one line about %s", c.args, status, errs, c.want)
		}
	}
	if _, out, _ := ran("bench", "--help"); !strings.Contains(out, "bench soak ") || strings.Contains(out, "soak-child") {
		t.Errorf("soak is missing, or the hidden command is not hidden, in\n%s", out)
	}
}

// TestSoakInterrupted: ^C, which the terminal sends to the server too, ends a run in order and shows what was
// seen. Nothing is left of it.
func TestSoakInterrupted(t *testing.T) {
	mark := fmt.Sprintf("%d-%s", os.Getpid(), t.Name())
	run := exec.Command(os.Args[0], strings.Fields("bench soak --conns 10 --duration 1h --tide 200ms --pause 5ms")...)
	run.Env = append(os.Environ(), asCommand+"="+mark)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "tide 1,") {
	}
	if children := others(mark, run.Process.Pid); len(children) != 1 {
		t.Errorf("children %v, want a server", children)
	}
	syscall.Kill(-run.Process.Pid, syscall.SIGINT)
	for lines.Scan() { // to its end
	}
	var exit *exec.ExitError
	if err := run.Wait(); errors.As(err, &exit) {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(table.String(), "(interrupted)") || !strings.Contains(table.String(), "nothing wrong") {
		t.Errorf("shown: %s", table.String())
	}
	eventually(t, "the end of the server", func() bool { return len(others(mark, 0)) == 0 })
}
