package million

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProgress: lines where there is no terminal, a bar where there is one, and nothing for nobody.
func TestProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var said lines
		p := newProgress(Options{Progress: &said, Terminal: terminal})
		p.checks([]Check{{Name: "ports", Says: "enough", Fine: true}, {Name: "memory", Says: "little", Needed: true, Change: []string{"buy some"}}})
		p.begin(opening, 100)
		p.told = time.Time{} // long ago
		p.update(counts{opened: 40, open: 39, lost: 1}, Point{OpenedPerSecond: 7, ReceivedPerSecond: 8, SkippedPerSecond: 9, AvailableBytes: 5e9})
		p.update(counts{opened: 50, open: 50}, Point{})
		p.say("by the way")
		p.begin("closing", 0)
		p.end()
		for _, want := range []string{
			"ports        fine: enough\n", "memory       too low: little\n", "             buy some\n",
			"opening: 39 open, 7 a second, 8 messages a second, 9 skipped, 1 lost, 5 GB free", "by the way\n", "closing\n",
		} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("terminal %v: %q is missing in\n%s", terminal, want, said.String())
			}
		}
		if bar := strings.Contains(said.String(), "40%"); bar != terminal {
			t.Errorf("terminal %v: %s", terminal, said.String())
		}
		if often := strings.Contains(said.String(), "50 open"); often != terminal {
			t.Errorf("terminal %v: said too often, or not at all:\n%s", terminal, said.String())
		}
	}
	nobody := newProgress(Options{})
	nobody.begin(opening, 1)
	nobody.end()
}

// TestTable: each part of a result is in its table, and a part that is missing breaks nothing.
func TestTable(t *testing.T) {
	load := &Load{EverySeconds: 20, Seconds: 600, MessagesPerSecond: 50_000, AskedPerSecond: 50_001, Ticks: 90, OnTime: 60, Skipped: 10,
		OnTimeSeconds: 0.05, Spread: Spread{Least: 29, Most: 31}, Missing: 77, ServerCPUPercent: 61}
	after := *load
	after.AskedPerSecond = 4711
	r := &Result{
		Options: Options{Conns: 1_000_000}, Servers: 53, Clients: 51, Interrupted: true,
		Ramp: Ramp{Opened: 999_999, Seconds: 50, ConnsPerSec: 20_000, Failed: map[string]int{"refused": 12}},
		Memory: Memory{SlopeStart: &Weight{Conns: 159_000}, Open: Weight{Conns: 999_999}, ServerRSSSlopePerConn: 166,
			KernelPerPair: 10_359, AvailablePerPair: 6_293},
		Open: 999_998, Lost: map[string]int{"reset": 1}, Deaths: []Death{{Role: RoleClient, Index: 7, Second: 33, Why: "signal: killed"}},
		Idle: &Idle{ServerCPUPercent: 0.25, Seconds: 10}, Hold: load, Overload: load, After: &after,
		Recovery: &Recovery{EasedSeconds: 1.25, HalfEasedSeconds: 0.75, DrainedSeconds: 1.5, OnTimeSeconds: 2.75},
		Sent:     1234, Received: 1233, Network: map[string]int64{"ListenOverflows": 4},
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"53 server and 51 client processes (interrupted)", "999999 in 50.0 s, 20000/s", "12 refused", "999998 at the end", "1 reset",
		"client 7 at 33 s: signal: killed", "166 B from 159000 on", "10359 B a connection, for both ends (6293 B", "0.25% of a core",
		"every 20 s for 600 s: 50000 a second of 50001", "50000 a second of 4711",
		"60.00% on time (50 ms), 30.00% later, 10.00% skipped", "got 29 to 31 messages; 77 missing",
		"after 1.25 s (half of them 0.75 s), all read after 1.50 s, on time after 2.75 s", "1234 sent, 1233 received", "4 ListenOverflows",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is missing in\n%s", want, table.String())
		}
	}
	if s := (&Recovery{OnTimeSeconds: -1, WatchedSeconds: 30}).String(); !strings.Contains(s, "not on time within 30 s") {
		t.Errorf("no recovery: %s", s)
	}
	table.Reset()
	if err := new(Result).WriteTable(&table); err != nil || strings.Contains(table.String(), "hold") || !strings.Contains(table.String(), "none") {
		t.Errorf("of nothing: %v\n%s", err, table.String())
	}
}

// TestFixFails: when one setting can't be changed, those before it are put back, and the error is told.
func TestFixFails(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "net", "a")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("1\t2  3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	order, _ := json.Marshal(fixOrder{Root: root, Settings: []Setting{{"net.a", "7 8 9"}, {"net.none", "1"}}})
	var out bytes.Buffer
	if err := serveFix(bytes.NewReader(order), &out); err != nil {
		t.Errorf("putting back: %v", err)
	}
	reports := json.NewDecoder(&out)
	var first, last fixReport
	if err := reports.Decode(&first); err != nil || !strings.Contains(first.Error, "none") || len(first.Changes) != 1 {
		t.Errorf("first %+v, %v", first, err)
	}
	want := Change{Name: "net.a", From: "1 2 3", To: "7 8 9", Restored: true}
	if err := reports.Decode(&last); err != nil || last.Error != "" || len(last.Changes) != 1 || last.Changes[0] != want {
		t.Errorf("last %+v, %v", last, err)
	}
	if data, _ := os.ReadFile(file); string(data) != "1 2 3" {
		t.Errorf("left as %q", data)
	}
	if err := serveFix(strings.NewReader("{"), io.Discard); err == nil {
		t.Error("half an order was taken")
	}
}
