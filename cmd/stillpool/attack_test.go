package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stillpool/stillpool/bench"
)

// TestAttackOnTheDemonstration runs all kinds at once against package server, with the attackers in a
// process of their own. That has the lowest priority, so on a busy machine they may not come to much: then
// they get more time.
func TestAttackOnTheDemonstration(t *testing.T) {
	t.Setenv(asCommand, "1") // for the hostile process
	addr, _ := started(t)
	var faults []string
	for _, duration := range []string{"1s", "5s", "20s"} {
		if faults = attacked(t, addr, duration); len(faults) == 0 {
			return
		}
	}
	t.Error(strings.Join(faults, "\n"))
}

// attacked tells what is wrong with the result of an attack.
func attacked(t *testing.T, addr, duration string) (faults []string) {
	t.Helper()
	fault := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	file := filepath.Join(t.TempDir(), "result.json")
	args := "bench attack --addr " + addr + " --pid " + strconv.Itoa(os.Getpid()) + " --json " + file +
		" --conns 20 --rate 100 --newcomers 10 --hostile 44 --warmup 0s --settle 0s --drip 20ms --duration " + duration
	if status, _, errs := ran(strings.Fields(args)...); status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r bench.AttackResult
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	round := r.Rounds[0]
	for _, p := range []*bench.Phase{round.Alone, round.Beside} {
		if p.Messages == 0 || len(p.Lost) > 0 || p.Newcomers.Served == 0 {
			fault("good clients: %+v", p)
		}
	}
	if round.Beside.HostileCPUPercent == 0 || round.Memory.PeakBytes == 0 {
		fault("hostile CPU %v, memory %+v", round.Beside.HostileCPUPercent, round.Memory)
	}
	if len(round.Hostile) != len(bench.KindNames()) {
		fault("%d kinds, want %v", len(round.Hostile), bench.KindNames())
	}
	for _, k := range round.Hostile {
		if k.Came < 4 || (k.Upgraded == 0) != (k.Kind == "half-handshake") {
			fault("%s: %d came and %d were upgraded", k.Kind, k.Came, k.Upgraded)
		}
	}
	return faults
}

func TestAttackFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"bench attack --addr 192.0.2.1:80", bench.ErrNotLoopback.Error()},
		{"bench attack --addr 127.0.0.1:1 --control 192.0.2.1:80", bench.ErrNotLoopback.Error()},
		{"bench attack --addr 127.0.0.1:1 --kinds bomb,rudeness", `"rudeness"`},
		{"bench attack --addr 127.0.0.1:1 --conns 3", "connection refused"},
		{"bench attack --url ws://127.0.0.1:1/elsewhere --conns 3", "connection refused"},
		{"bench tick --url ws://127.0.0.1:1/elsewhere --conns 3", "connection refused"},
	} {
		status, out, errs := ran(strings.Fields(c.args)...)
		if status != exitFailed || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %q, want one line about %s", c.args, status, errs, c.want)
		}
	}
}

func TestAttackHelpListsTheKinds(t *testing.T) {
	_, out, _ := ran("bench", "attack", "--help")
	for _, name := range bench.KindNames() {
		if !strings.Contains(out, "\n    "+name+" ") {
			t.Errorf("%s is missing in\n%s", name, out)
		}
	}
	if _, out, _ := ran("bench", "--help"); !strings.Contains(out, "attack") || strings.Contains(out, "bench hostile") {
		t.Errorf("attack is missing, or the hidden command is not hidden, in\n%s", out)
	}
}
