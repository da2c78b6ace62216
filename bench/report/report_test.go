package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stillpool/stillpool/bench"
)

// The results of testdata are made up, so that each kind of cell is among them: a peer that is better,
// one that is not in a comparison, one that failed in a round or in all, and one that divides by nothing.

func testResults(t *testing.T) *results {
	t.Helper()
	r, err := load("testdata/results")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cells are those of a Markdown table, by row and by column.
func cells(t *testing.T, markdown string) map[string]map[string]string {
	t.Helper()
	table := map[string]map[string]string{}
	var head []string
	for line := range strings.Lines(markdown) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") {
			continue
		}
		fields := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if head == nil {
			head = fields
			continue
		}
		if len(fields) != len(head) {
			t.Fatalf("%d cells under %d heads: %s", len(fields), len(head), line)
		}
		table[fields[0]] = map[string]string{}
		for i, f := range fields {
			table[fields[0]][head[i]] = f
		}
	}
	return table
}

func TestSummary(t *testing.T) {
	t.Parallel()
	text := summary(testResults(t))
	table := cells(t, text)
	for _, want := range []struct{ row, column, cell, why string }{
		{"CPU of a tick, µs", "stillpool", "9.00", "the median of 8, 10 and 9, and no ratio to itself"},
		{"CPU of a tick, µs", "quick 1.2.3", "**7.00 (0.78)**", "less processor time is better"},
		{"CPU of a tick, µs", "slow 0.4.0 + ws 1.5.0", "21.11 (2.35) †", "the median of the two rounds that it came through"},
		{"lateness of a tick, median, ms", "quick 1.2.3", "0.350 (4.38)", "worse"},
		{"lateness of a tick, p99, ms", "quick 1.2.3", "**0.800 (0.89)**", "better"},
		{"CPU of an echo, 64 B, µs", "slow 0.4.0 + ws 1.5.0", "–", "it answered nothing"},
		{"CPU of an echo, 64 B, µs", "floor", "", "it is not in the comparison"},
		{"CPU of an echo, 1 KiB, µs", "quick 1.2.3", "failed †", "it failed in all rounds"},
		{"echoes of 1 KiB a second, for each percent of a core", "stillpool", "1,000", "digits are grouped"},
		{"CPU while nothing happens, % of a core", "slow 0.4.0 + ws 1.5.0", "**0.00 (0.00)**", "nothing is better than little"},
		{"good clients harmed meanwhile", "quick 1.2.3", "87", "no ratio to nothing"},
	} {
		if got, ok := table[want.row][want.column]; !ok || got != want.cell {
			t.Errorf("%s of %s is %q, want %q: %s", want.row, want.column, got, want.cell, want.why)
		}
	}
	for _, want := range []string{
		"**Bold** is where another is better than Stillpool.",
		"- slow failed in round 2 of tick: the server ended: exit status 2: panic: too \\*many\\* connections",
		"- quick failed in round 1 of echo-1k: not done after 1m20s",
		"- slow: up to 3 connections failed or lost in a round of tick",
		"`floor` is no library: bare writes.",
		"The client warned once",
		"Test CPU @ 2 GHz, 2 processors",
		"2 January 2026, medians of 1 to 3 interleaved rounds",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q:\n%s", want, text)
		}
	}
}

// TestSummaryOfBusyMachine: what was measured beside busy processes has a table of its own, with its servers only; so
// have the kinds of attacks.
func TestSummaryOfBusyMachine(t *testing.T) {
	t.Parallel()
	r := testResults(t)
	if strings.Contains(summary(r), "busy machine") {
		t.Error("there is a table of what was not measured")
	}
	data, err := json.Marshal(r.named("echo-64"))
	if err != nil {
		t.Fatal(err)
	}
	busy := new(bench.Comparison)
	if err := json.Unmarshal(data, busy); err != nil {
		t.Fatal(err)
	}
	busy.Name, busy.Job.Echo.Busy = "echo-64-busy", 2
	busy.Servers = busy.Servers[:2]
	r.comparisons = append(r.comparisons, busy)
	_, text, found := strings.Cut(summary(r), "On a busy machine, where 2 other processes compute all the time:\n")
	text, kinds, _ := strings.Cut(text, "\nEchoes of 500 good clients beside 2,000 hostile ones")
	if !found || !strings.Contains(busy.Job.Describe(), "beside 2 busy processes") {
		t.Errorf("it does not say that the machine was busy:\n%s\n%s", text, busy.Job.Describe())
	}
	quiet, table := cells(t, summary(testResults(t))), cells(t, text)
	const row = "CPU of an echo, 64 B, µs"
	for _, server := range []string{"stillpool", "quick 1.2.3"} {
		if got, want := table[row][server], quiet[row][server]; got != want || got == "" {
			t.Errorf("%s of %s is %q, want %q", row, server, got, want)
		}
	}
	if n := len(table[row]); n != 3 {
		t.Errorf("%d columns, want those of the two servers and the names", n)
	}
	attacks := cells(t, kinds)
	if got := attacks["bomb"]["quick p99"]; got != "90.000 (5.00), 3 harmed" {
		t.Errorf("p99 beside bombs is %q", got)
	}
	if _, ok := attacks["ping-flood"]["stillpool memory"]; !ok {
		t.Errorf("the kinds are\n%s", kinds)
	}
}

func TestLongTablesHaveSpreads(t *testing.T) {
	t.Parallel()
	text := longTables(testResults(t))
	_, tick, _ := strings.Cut(text, "## tick\n")
	tick, echo, _ := strings.Cut(tick, "## echo-64\n")
	for _, want := range []string{
		"| **7.00 (0.78)**<br>6.00 to 8.00 |",
		"| 9.00<br>8.00 to 10.00 |",
		"- quick, round 2: the client was &lt;b>busy&lt;/b>",
	} {
		if !strings.Contains(tick, want) {
			t.Errorf("the table of ticks does not have %s:\n%s", want, tick)
		}
	}
	if echo, _, _ = strings.Cut(echo, "## "); strings.Contains(echo, "<br>") {
		t.Errorf("there is a spread of a single round:\n%s", echo)
	}
}

// TestMemoryNeedsASlope: from the start on, what a server takes by itself would be taken for its connections'.
func TestMemoryNeedsASlope(t *testing.T) {
	t.Parallel()
	r := testResults(t)
	has := func(name string) bool {
		return slices.ContainsFunc(metricsOf(r.named(name)), func(m bench.Metric) bool { return m.Name == "memory" })
	}
	if has("tick") || !has("idle") {
		t.Errorf("memory is shown of tick: %v, of idle: %v", has("tick"), has("idle"))
	}
	r.named("tick").Servers[1].Rounds[0].Tick.Memory.SlopeStart.Conns = 3000
	if !has("tick") {
		t.Error("memory is not shown in spite of a slope")
	}
}

// TestBetter is about what the bold cells depend on.
func TestBetter(t *testing.T) {
	t.Parallel()
	less := bench.Metric{Digits: 1}
	more := bench.Metric{Digits: 1, HigherIsBetter: true}
	for _, x := range []struct {
		metric      bench.Metric
		value, base float64
		want        bool
	}{
		{less, 1.0, 2.0, true}, {less, 2.0, 1.0, false}, {less, 1.0, 1.0, false},
		{more, 2.0, 1.0, true}, {more, 1.0, 2.0, false},
		{less, 1.01, 1.04, false}, // both are shown as 1.0
		{bench.Metric{Neutral: true}, 1, 2, false},
		{less, math.NaN(), 1, false}, {less, 1, math.NaN(), false},
	} {
		if got := better(x.metric, x.value, x.base); got != x.want {
			t.Errorf("%v beside %v is better: %v (%+v)", x.value, x.base, got, x.metric)
		}
	}
}

// copyResults copies testdata, and changes one file of it.
func copyResults(t *testing.T, name string, change func(map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/results")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	change(content)
	if data, err = json.Marshal(content); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func firstServer(c map[string]any) map[string]any { return c["servers"].([]any)[0].(map[string]any) }

func firstSample(c map[string]any) map[string]any {
	return firstServer(c)["rounds"].([]any)[0].(map[string]any)
}

// TestBadResults wants an error that names the file and what is wrong with it.
func TestBadResults(t *testing.T) {
	t.Parallel()
	for what, x := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"unknown field":      {func(c map[string]any) { c["colour"] = "red" }, `unknown field "colour"`},
		"unknown deep field": {func(c map[string]any) { firstSample(c)["tick"].(map[string]any)["x"] = 1 }, `unknown field "x"`},
		"other scenario": {func(c map[string]any) {
			s := firstSample(c)
			s["echo"] = map[string]any{}
			delete(s, "tick")
		}, "stillpool, sample 1: not the result of a job tick"},
		"another name": {func(c map[string]any) { c["name"] = "tock" }, "it has the comparison tock"},
		"no servers":   {func(c map[string]any) { c["servers"] = []any{} }, "must have a name, a job and servers"},
		"no job":       {func(c map[string]any) { c["job"] = map[string]any{} }, "must have a name, a job and servers"},
		"wrong type":   {func(c map[string]any) { c["title"] = 7 }, "cannot unmarshal number"},
	} {
		dir := copyResults(t, "tick.json", x.change)
		_, err := load(dir)
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), filepath.Join(dir, "tick.json")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadJSON(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tick.json", "million.json"} {
		for _, text := range []string{"", "{", "[]", "{} {}", "{}"} {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := load(dir); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("%s with %q: %v", name, text, err)
			}
		}
	}
	if _, err := load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there are no results") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestSeriesAreInTheOrderOfTheirValues(t *testing.T) {
	t.Parallel()
	r := testResults(t)
	var names []string
	for _, c := range r.comparisons {
		names = append(names, c.Name)
	}
	want := "tick tick-rate-18000 tick-rate-36000 echo-64 echo-1k echo-rate-5000 echo-rate-20000 connect idle broadcast " +
		"attack attack-kind-bomb attack-kind-ping-flood"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the order is %s", got)
	}
	if want := []string{"stillpool", "quick", "slow", "floor"}; !slices.Equal(r.servers, want) {
		t.Errorf("the servers are %v", r.servers)
	}
}

func TestReplaceBetween(t *testing.T) {
	t.Parallel()
	old := "before\n" + beginLine + "\nold\n" + endLine + "\nafter\n"
	once, err := replaceBetween(old, "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + beginLine + "\n\nnew\n\n" + endLine + "\nafter\n"; once != want {
		t.Errorf("it is now:\n%s", once)
	}
	if twice, err := replaceBetween(once, "new\n"); err != nil || twice != once {
		t.Errorf("again it is:\n%s(%v)", twice, err)
	}
	for _, bad := range []string{
		"", beginLine + "\n", endLine + "\n" + beginLine + "\n", old + old, old + endLine + "\n", beginLine + "\n" + old,
	} {
		if _, err := replaceBetween(bad, "new\n"); err == nil {
			t.Errorf("no error for:\n%s", bad)
		}
	}
}

// TestCommittedTables checks that nobody typed what is generated: run make report if it fails.
func TestCommittedTables(t *testing.T) {
	t.Parallel()
	r, err := load("../results")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want, err := replaceBetween(string(readme), summary(r)); err != nil || want != string(readme) {
		t.Errorf("the table of README.md is not that of bench/results (%v)", err)
	}
	tables, err := os.ReadFile("../results/tables.md")
	if err != nil || string(tables) != longTables(r) {
		t.Errorf("bench/results/tables.md is not that of its results (%v)", err)
	}
	if runtime.GOARCH != "amd64" {
		return // others round the last digit of a place in a plot differently
	}
	page, err := os.ReadFile("../results/report.html")
	if err != nil || string(page) != render(t, r) {
		t.Errorf("bench/results/report.html is not that of its results (%v)", err)
	}
}

func render(t *testing.T, r *results) string {
	t.Helper()
	var b strings.Builder
	if err := writePage(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
