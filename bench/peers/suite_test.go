package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// TestMain lets this binary be the command that the tests start as servers and clients, with two peers
// more, that fail.
func TestMain(m *testing.M) {
	peers = append(slices.Clip(peers),
		peer{name: "mortal", about: "dies of its fifth connection", serve: serveMortal},
		peer{name: "mute", about: "accepts and says nothing", serve: serveMute})
	if os.Getenv("PEERS_MAIN") != "" {
		main()
		return
	}
	os.Setenv("PEERS_MAIN", "1")
	os.Exit(runWithoutLeaks(m))
}

func serveMortal(s *settings) error {
	var count atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) == 5 {
			go panic("the fifth")
		}
		http.NotFound(w, r)
	}
	return serveHTTP(s, h, h, h)
}

// muted are kept, or the collector would close them.
var muted []net.Conn

func serveMute(s *settings) error {
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		muted = append(muted, conn)
	}
}

func small(conns int) bench.Options {
	return bench.Options{Conns: conns, Duration: 200 * time.Millisecond, Settle: time.Millisecond, SlopeFrom: -1}
}

var smallPlan = []planned{
	{
		name: "tick", title: "Few ticks", takes: time.Second,
		job: bench.Job{Tick: &bench.TickOptions{Every: 50 * time.Millisecond, Options: small(20)}},
	},
	{
		name: "echo-rate", title: "Few echoes", takes: time.Second, servers: []string{"gws"}, parameter: "messages/s",
		points: []point{
			{value: 100, job: bench.Job{Echo: &bench.EchoOptions{Options: small(10), Rate: 100, Warmup: -1}}},
			{value: 200, job: bench.Job{Echo: &bench.EchoOptions{Options: small(10), Rate: 200, Warmup: -1}}},
		},
	},
}

func named(t *testing.T, names ...string) []*contestant {
	t.Helper()
	all, err := contestantsNamed(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, dir, name string) *bench.Comparison {
	t.Helper()
	c, err := bench.ReadComparison(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSuiteKeepsAFileAComparison(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	var log bytes.Buffer
	if err := runSuite(t.Context(), smallPlan, named(t, "gws", "floor"), 2, dir, &log); err != nil {
		t.Fatal(err)
	}
	c := read(t, dir, "tick.json")
	if c.Title != "Few ticks" || len(c.Servers) != 2 || c.Point != nil || c.Started.IsZero() || c.Machine.Processors == 0 {
		t.Errorf("tick.json is %+v", c)
	}
	for _, s := range c.Servers {
		if len(s.Rounds) != 2 || len(s.Failures) != 0 || s.Rounds[0].Tick.Messages == 0 {
			t.Errorf("%s has %d samples and %v", s.Name, len(s.Rounds), s.Failures)
		}
	}
	if c.Servers[0].Name != "gws" || c.Servers[0].Settings == "" {
		t.Errorf("the first server is %+v", c.Servers[0])
	}
	c = read(t, dir, "echo-rate-200.json")
	if len(c.Servers) != 1 || c.Point == nil || *c.Point != (bench.Point{Series: "echo-rate", Parameter: "messages/s", Value: 200}) {
		t.Errorf("echo-rate-200.json is %+v at %+v", c, c.Point)
	}
	order := "tick, round 1 of 2: gws|tick, round 1 of 2: floor|tick, round 2 of 2: floor|tick, round 2 of 2: gws|echo-rate-100, round 1 of 2: gws|"
	if got := withoutTimes(log.String()); !strings.HasPrefix(got, order) {
		t.Errorf("the order was %s", got)
	}
}

// withoutTimes joins the lines of progress, without how long is left.
func withoutTimes(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		what, _, _ := strings.Cut(line, " (")
		b.WriteString(what + "|")
	}
	return b.String()
}

func TestDeadServerIsAResult(t *testing.T) {
	t.Parallel()
	c := smallPlan[0].contests(named(t, "mortal", "gws"), 2)[0]
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(c.result.Server("gws").Rounds); n != 2 {
		t.Errorf("gws has %d samples beside a server that dies", n)
	}
	checkFailures(t, c.result.Server("mortal"), "the server ended: exit status 2: panic: the fifth", 1, 2)
	path := filepath.Join(t.TempDir(), "tick.json")
	if err := bench.WriteFile(path, c.result); err != nil {
		t.Fatal(err)
	}
	read(t, filepath.Dir(path), "tick.json")
}

func TestHangingServerIsAResult(t *testing.T) {
	t.Parallel()
	c := smallPlan[0].contests(named(t, "mute"), 1)[0]
	c.bound = time.Second
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkFailures(t, c.result.Server("mute"), "not done after 1s", 1)
}

func checkFailures(t *testing.T, c *bench.Contestant, want string, rounds ...int) {
	t.Helper()
	if len(c.Rounds) != 0 || len(c.Failures) != len(rounds) {
		t.Fatalf("%s has %d samples, and failures %+v", c.Name, len(c.Rounds), c.Failures)
	}
	for i, f := range c.Failures {
		if f.Round != rounds[i] || !strings.Contains(f.Reason, want) || strings.Contains(f.Reason, "\n") {
			t.Errorf("%s failed in round %d because of %q, want %q", c.Name, f.Round, f.Reason, want)
		}
	}
}

func TestOnlyFailuresAreAnError(t *testing.T) {
	t.Parallel()
	err := runSuite(t.Context(), smallPlan[:1], named(t, "mortal"), 1, t.TempDir(), new(bytes.Buffer))
	if err == nil {
		t.Error("no error where no server came through")
	}
}

// TestInterruptionKeepsWhatIsDone interrupts when the second of two servers is about to be measured.
func TestInterruptionKeepsWhatIsDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := writerFunc(func(p []byte) {
		if strings.Contains(string(p), ": floor") {
			cancel()
		}
	})
	err := runSuite(ctx, smallPlan, named(t, "gws", "floor"), 1, dir, log)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("the error is %v", err)
	}
	c := read(t, dir, "tick.json")
	if len(c.Servers[0].Rounds) != 1 || len(c.Servers[1].Rounds) != 0 || len(c.Servers[1].Failures) != 0 {
		t.Errorf("kept: %+v", c.Servers)
	}
	if _, err := os.Stat(filepath.Join(dir, "echo-rate-100.json")); err == nil {
		t.Error("there is a file of what was never run")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestChosenComparisons(t *testing.T) {
	t.Parallel()
	chosen, err := chosenOf(plan, []string{"echo-64", "tick"})
	if err != nil || len(chosen) != 2 || chosen[0].name != "tick" {
		t.Errorf("chosen: %v, %v", chosen, err)
	}
	usual, err := chosenOf(plan, nil)
	if err != nil || !slices.ContainsFunc(usual, func(p planned) bool { return p.name == "idle" }) ||
		slices.ContainsFunc(usual, func(p planned) bool { return p.asked }) {
		t.Errorf("without names: %v, %v", usual, err)
	}
	if _, err := chosenOf(plan, []string{"tock"}); err == nil || !strings.Contains(err.Error(), `"tock"`) {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestPlan checks what a reader of the plan relies on.
func TestPlan(t *testing.T) {
	t.Parallel()
	var contestants []*contestant
	for _, name := range allServers() {
		if name != "mortal" && name != "mute" {
			contestants = append(contestants, &contestant{name: name})
		}
	}
	names, total := map[string]bool{}, time.Duration(0)
	for _, p := range plan {
		for _, server := range p.servers {
			if !slices.ContainsFunc(contestants, func(c *contestant) bool { return c.name == server }) {
				t.Errorf("%s: no server %s", p.name, server)
			}
		}
		for _, c := range p.contests(contestants, 0) {
			if names[c.result.Name] {
				t.Errorf("two comparisons are called %s", c.result.Name)
			}
			names[c.result.Name] = true
			if !p.asked {
				total += c.planned()
			}
			if c.contestants[0].name != "stillpool" {
				t.Errorf("%s does not begin with stillpool, to which the others are put in ratio", c.result.Name)
			}
			if c.rounds < 3 && c.result.Job.Attack == nil {
				t.Errorf("%s has %d rounds: too few for a median", c.result.Name, c.rounds)
			}
		}
		for _, c := range p.contests(contestants, 7) {
			if c.rounds != 7 {
				t.Errorf("%s has %d rounds where 7 were asked for", c.result.Name, c.rounds)
			}
		}
	}
	if limit := 20 * time.Minute; total > limit {
		t.Errorf("the suite takes %v, more than %v", total, limit)
	}
}

func TestClipKeepsBothEnds(t *testing.T) {
	t.Parallel()
	var c clip
	if c.Write([]byte("little")); c.String() != "little" {
		t.Errorf("a little is kept as %q", c.String())
	}
	for range 100 {
		c.Write([]byte(strings.Repeat("x", 99) + "\n"))
	}
	c.Write([]byte("the end"))
	if s := c.String(); len(s) != 2*clipSize || !strings.HasPrefix(s, "littlexxx") || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes: %.10q ... %q", len(s), s, s[max(0, len(s)-10):])
	}
}

// TestCompareBuilds: two builds are measured in both orders beside a busy process, and their pairs are put in ratio.
func TestCompareBuilds(t *testing.T) {
	all := named(t, "gws", "gws")
	all[0].name, all[1].name = stillpool, against
	var order []string
	j := bench.Job{Echo: &bench.EchoOptions{Options: small(4), Rate: 100, Warmup: -1}}
	j.Echo.Busy = 1
	c := newContest("echo", "echo", j, all, 2)
	c.before = func(_ int, name string) { order = append(order, name) }
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{stillpool, against, against, stillpool}; !slices.Equal(order, want) {
		t.Errorf("the order was %v", order)
	}
	if busy := c.result.Servers[0].Rounds[0].Echo.Busy; busy != 1 {
		t.Errorf("%d busy processes", busy)
	}
	var out bytes.Buffer
	if err := report(&out, c.result); err != nil {
		t.Fatal(err)
	}
	_, pairs, _ := strings.Cut(out.String(), "stillpool in ratio to against, pair by pair")
	line, _, _ := strings.Cut(pairs[strings.Index(pairs, "server CPU a message"):], "\n")
	if f := strings.Fields(line); f[len(f)-1] != "2" {
		t.Errorf("the pairs are shown as %q", line)
	}
}

// TestCompareFlags: what one can leave out, and what the short forms stand for.
func TestCompareFlags(t *testing.T) {
	t.Parallel()
	builds := compareFlags{Against: "b"}
	builds.setDefaults(7, stillpool, "gws")
	if !slices.Equal(builds.Servers, []string{stillpool, against}) || builds.Rounds != 15 || builds.Conns != 7 {
		t.Errorf("two builds: %+v", builds)
	}
	beside := compareFlags{Against: "b", Servers: []string{stillpool, "gws"}, Rounds: 2}
	beside.setDefaults(7)
	if !slices.Equal(beside.Servers, []string{stillpool, against, "gws"}) || beside.Rounds != 2 {
		t.Errorf("beside a peer: %+v", beside)
	}
	for _, c := range []struct {
		given compareTickCmd
		conns int
		every time.Duration
	}{
		{compareTickCmd{}, 5_000, time.Second},
		{compareTickCmd{Saturated: true}, 12_000, 100 * time.Millisecond},
		{compareTickCmd{Sparse: true}, 2_000, 20 * time.Second},
		{compareTickCmd{Sparse: true, Every: time.Minute}, 2_000, time.Minute},
	} {
		if c.given.load(); c.given.Conns != c.conns || c.given.Every != c.every || (c.given.OpenTime > 0) != c.given.Sparse {
			t.Errorf("%+v", c.given)
		}
	}
	block := &contestant{command: []string{"x", "serve"}, misbehaving: []string{"x", "bench", "misbehaving"}}
	j := bench.Job{Echo: &bench.EchoOptions{Misbehaving: &bench.Misbehaving{Ask: "block 1ms"}}}
	if got := strings.Join(block.serverCommand(j, "a:1", ""), " "); got != "x bench misbehaving --addr a:1" || able("gws", j) || !able(stillpool, j) {
		t.Errorf("handlers that block are served by %q", got)
	}
}
