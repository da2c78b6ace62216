package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// tickComparison is what the peers binary would write of the contest tick, if the servers took so
// much processor time a tick.
func tickComparison(cpu map[string]float64) *bench.Comparison {
	c := &bench.Comparison{Name: "tick", Job: bench.Job{Tick: &bench.TickOptions{}}}
	for name, us := range cpu {
		r := &bench.TickResult{Common: bench.Common{Messages: 1, Server: &bench.Use{CPUUsPerMessage: us}, Memory: &bench.Memory{}}}
		c.Servers = append(c.Servers, bench.Contestant{Name: name, Rounds: []bench.Sample{{Tick: r}, {Tick: r}, {Tick: r}}})
	}
	return c
}

// fakePeers makes a program that stands for the peers binary: it notes its arguments in the file args,
// says something, and writes the comparison where it is asked to.
func fakePeers(t *testing.T, c *bench.Comparison, script string) (program, args string) {
	t.Helper()
	dir := t.TempDir()
	program, args = filepath.Join(dir, "fake"), filepath.Join(dir, "args")
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "result"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\ndir=" + dir + "\nfor arg; do echo \"$arg\" >>$dir/args; case $arg in --json=*) out=${arg#--json=};; esac; done\n" +
		"echo peers: error: no luck >&2\n" + script + "\n"
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, args
}

const deliver = "cp $dir/result $out"

func TestCheckStatus(t *testing.T) {
	good := map[string]float64{"stillpool": 5, "floor-spread": 5, "floor": 4}
	dear := map[string]float64{"stillpool": 6, "floor-spread": 5, "floor": 4}
	for _, c := range []struct {
		name   string
		cpu    map[string]float64
		script string
		status int
		want   []string
	}{
		{"held", good, deliver, exitOK, []string{"held   tick-cpu, quiet: 1.00", "beside: 1.25 (1.25 to 1.25) of floor", "1 held, 0 short, 0 not measured"}},
		{"short", dear, deliver, exitShort, []string{"SHORT  tick-cpu, quiet: 1.20", "0 held, 1 short, 0 not measured"}},
		{"server missing", map[string]float64{"stillpool": 5}, deliver, exitUnmeasured, []string{"--     tick-cpu, quiet", "floor-spread was not measured"}},
		{"peers failed", good, "exit 3", exitUnmeasured, []string{"exit status 3", "no luck"}},
		{"nothing written", good, "exit 0", exitUnmeasured, []string{"comparison.json"}},
		{"no JSON", good, "echo nonsense >$out", exitUnmeasured, []string{"invalid character"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			program, _ := fakePeers(t, tickComparison(c.cpu), c.script)
			status, out, errs := ran("bench", "check", "--busy=0", "--only=tick-cpu", "--peers-bin="+program)
			if status != c.status {
				t.Errorf("status %d, want %d\n%s", status, c.status, errs)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in\n%s", want, out)
				}
			}
		})
	}
}

// A budget that is short says more than one that could not be measured.
func TestCheckShortBeforeUnmeasured(t *testing.T) {
	program, _ := fakePeers(t, tickComparison(map[string]float64{"stillpool": 6, "floor-spread": 5, "floor": 4}), deliver)
	file := filepath.Join(t.TempDir(), "check.json")
	status, out, _ := ran("bench", "check", "--busy=0", "--only=tick-cpu,lateness", "--peers-bin="+program, "--json="+file)
	if status != exitShort || !strings.Contains(out, "0 held, 1 short, 1 not measured") {
		t.Errorf("status %d\n%s", status, out)
	}
	var r checkResult
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Budgets) != 2 || r.Budgets[0].Verdict.Judged.Median != 1.2 || r.Budgets[1].Error == "" || len(r.Comparisons) != 1 {
		t.Errorf("%+v", r)
	}
}

// Each budget is held on a quiet machine and on a busy one, and each verdict says on which.
func TestCheckHoldsBudgetsOnBothMachines(t *testing.T) {
	program, args := fakePeers(t, tickComparison(map[string]float64{"stillpool": 5, "floor-spread": 5, "floor": 4}), deliver)
	file := filepath.Join(t.TempDir(), "check.json")
	status, out, _ := ran("bench", "check", "--busy=3", "--only=tick-cpu", "--peers-bin="+program, "--json="+file)
	if status != exitOK || !strings.Contains(out, "2 held, 0 short") {
		t.Errorf("status %d\n%s", status, out)
	}
	for _, want := range []string{"held   tick-cpu, quiet: ", "held   tick-cpu, busy: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	var busy []string
	data, _ := os.ReadFile(args)
	for _, arg := range strings.Fields(string(data)) {
		if strings.HasPrefix(arg, "--busy=") {
			busy = append(busy, arg)
		}
	}
	if !slices.Equal(busy, []string{"--busy=0", "--busy=3"}) {
		t.Errorf("the peers were asked with %q", busy)
	}
	var r checkResult
	if err := bench.ReadFile(file, &r); err != nil || r.Budgets[0].Busy != 0 || r.Budgets[1].Busy != 3 || r.Budgets[1].Verdict.Budget.Busy != 3 {
		t.Errorf("%v, %+v", err, r.Budgets)
	}
}

// Only the servers that the chosen budgets are about are measured.
func TestCheckAsksPeers(t *testing.T) {
	for _, c := range []struct {
		flags string
		want  []string
	}{
		{"--only=memory", []string{"compare", "tick", "--servers=stillpool", "--conns=18000", "--rounds=5", "--duration=10s"}},
		{"--only=tick-cpu --quick", []string{"--servers=stillpool,floor-spread,floor", "--rounds=3", "--duration=3s"}},
		{"--only=echo-1k --quick --rounds=7", []string{"echo", "--servers=stillpool,quickws", "--inflight=2000", "--rounds=7", "--duration=3s"}},
	} {
		program, args := fakePeers(t, nil, "exit 1")
		ran(append(strings.Fields("bench check "+c.flags), "--peers-bin="+program)...)
		data, err := os.ReadFile(args)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(data))
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s is missing in %q", c.flags, want, got)
			}
		}
	}
}

func TestCheckSaysHowToBuildPeers(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	status, out, _ := ran("bench", "check", "--only=memory")
	if status != exitUnmeasured || !strings.Contains(out, "make check") || !strings.Contains(out, "--peers-bin") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// An interruption ends what was started, and is no verdict.
func TestCheckInterrupted(t *testing.T) {
	program, args := fakePeers(t, nil, "echo $$ >$dir/pid; trap 'echo ended >>$dir/args; exit 1' TERM; while :; do sleep 0.01; done")
	done := make(chan int, 1)
	var out journal
	go func() {
		done <- run([]string{"bench", "check", "--busy=0", "--only=memory,connect", "--peers-bin=" + program}, streams{&out, &out})
	}()
	eventually(t, "the peers to run", func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(program), "pid"))
		return err == nil
	})
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	select {
	case status := <-done:
		if status != exitUnmeasured || strings.Count(out.String(), "could not be measured: interrupted") != 2 {
			t.Errorf("status %d\n%s", status, out.String())
		}
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
	if data, _ := os.ReadFile(args); !strings.Contains(string(data), "ended") {
		t.Errorf("the peers were not asked to end: %q", data)
	}
}

// Each budget can be judged: its metric is one of its contest's scenario, and nothing is missing.
func TestBudgetsAreWhole(t *testing.T) {
	jobs := map[string]bench.Job{
		"tick":    {Tick: &bench.TickOptions{}},
		"connect": {Connect: &bench.ConnectOptions{}},
		"attack":  {Attack: &bench.AttackOptions{}},
		"echo":    {Echo: &bench.EchoOptions{}},
		"idle":    {Idle: &bench.IdleOptions{}},
		"":        {Echo: &bench.EchoOptions{}}, // of the contests that no peer takes part in
	}
	seen := map[string]bool{}
	for _, c := range contests {
		if (c.scenario == "") != (c.by != nil) {
			t.Errorf("%s is measured by both or none", c.name)
		}
		with := bench.Comparison{Job: jobs[c.scenario]}
		if c.name == "storm" { // of which nobody but those that stay, and are ticked, is compared
			with.Job = jobs["tick"]
		}
		for _, busy := range []bool{false, true} {
			for _, b := range c.on(busy).budgets {
				if _, ok := with.Metric(b.Metric); !ok {
					t.Errorf("%s: no metric %s in %s", b.Name, b.Metric, c.scenario)
				}
				name := fmt.Sprint(b.Name, busy)
				if seen[name] || b.Name == "" || b.Sentence == "" || b.Server != own || b.Limit <= 0 {
					t.Errorf("something is missing, or repeated, in %+v", b)
				}
				seen[name] = true
			}
		}
	}
}

func TestStartServerFails(t *testing.T) {
	t.Setenv(asCommand, "1")
	if _, err := startServer(t.Context(), "serve", "--addr", "nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
	if _, err := startServer(t.Context(), "version"); err == nil || !strings.Contains(err.Error(), "not where it is") {
		t.Errorf("got %v", err)
	}
}

func TestStatusOf(t *testing.T) {
	if got := statusOf(errors.Join(nil, outcome{"short", exitShort})); got != exitShort {
		t.Errorf("%d", got)
	}
	if got := statusOf(outcome{"not measured", exitUnmeasured}); got != exitUnmeasured {
		t.Errorf("%d", got)
	}
	if got := statusOf(os.ErrNotExist); got != exitFailed {
		t.Errorf("%d", got)
	}
}
