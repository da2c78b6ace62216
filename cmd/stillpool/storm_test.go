package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/bench/stress"
)

// stressed is the result of a scenario that starts its own servers.
func stressed[R any](t *testing.T, args string) (r R, shown string) {
	t.Helper()
	t.Setenv(asCommand, "1") // for the servers
	file := filepath.Join(t.TempDir(), "result.json")
	shown = stdout(t, func() {
		if status, _, errs := ran(strings.Fields("bench " + args + " --json " + file)...); status != exitOK {
			t.Fatalf("%s: status %d: %s", args, status, errs)
		}
	})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r, shown
}

func TestBenchStorm(t *testing.T) {
	r, shown := stressed[stress.StormResult](t, "storm --stay 10 --every 20ms --storm 50 --within 100ms --quiet 200ms --settle 0s")
	if r.Stayed != 10 || r.Own.Back != 50 || r.Control.Back != 50 || r.Own.Server.PID == r.Control.Server.PID || r.Own.During.Messages == 0 {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "storm", "control", "stayed")
	r, _ = stressed[stress.StormResult](t, "storm --stay 10 --storm 50 --within 0s --quiet 200ms --settle 0s --no-control --drop server")
	if r.Control != nil || r.Own.Back != 50 || r.Options.Drop != stress.ByServer || r.Options.Within != 0 {
		t.Errorf("%+v", r)
	}
}

func TestBenchOverload(t *testing.T) {
	r, shown := stressed[stress.OverloadResult](t, "overload --conns 50 --work 1ms --rate 400 --times 100 --duration 300ms --closes 10")
	if len(r.Loads) != 1 || r.Loads[0].Server.Skipped == 0 || r.Loads[0].Close.Done != 3 || r.Options.Work != time.Millisecond {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "overload", "100 times")
}

// What those saw that stayed is what the budget is about.
func TestStormBudget(t *testing.T) {
	of := contests[slices.IndexFunc(contests, func(c contest) bool { return c.name == "storm" })]
	run := func(p99 int64) *stress.StormRun {
		return &stress.StormRun{During: &stress.Spell{Seconds: 1, Messages: 100, Lateness: bench.Percentiles{P99: p99}}}
	}
	r := &stress.StormResult{Options: stress.StormOptions{Stay: 10, Every: time.Second}, Stayed: 9}
	for p99, held := range map[int64]bool{7_900: true, 8_100: false} {
		c := &bench.Comparison{
			Job: bench.Job{Tick: &bench.TickOptions{}},
			Servers: []bench.Contestant{
				{Name: own, Rounds: []bench.Sample{stayed(r, run(p99))}}, {Name: stormElsewhere, Rounds: []bench.Sample{stayed(r, run(4_000))}},
			},
		}
		v, err := of.budgets[0].Judge(c)
		if err != nil {
			t.Fatal(err)
		}
		if v.Held != held || len(v.Doubts) == 0 || !strings.Contains(v.Doubts[0].Reason, "1 ") { // one did not stay
			t.Errorf("%d µs: %+v", p99, v)
		}
	}
}
