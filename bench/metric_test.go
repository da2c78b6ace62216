package bench

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

// fullJobs are one of each scenario, and samples of them that have all there can be.
func fullJobs() map[string]struct {
	job    Job
	sample Sample
} {
	measured := Common{Conns: 10, Open: 9, Messages: 4, Client: Use{WaitPercent: 20},
		Server: &Use{CPUPercent: 50, CPUUsPerMessage: 3, WaitPercent: 30}, Memory: &Memory{BytesPerConn: 200}}
	connected := &ConnectResult{Common: measured, Closing: Closing{ServerCPUUs: 7}}
	connected.Opening.Failed, connected.Lost = map[string]int{"refused": 2}, map[string]int{"reset": 3}
	return map[string]struct {
		job    Job
		sample Sample
	}{
		"tick": {Job{Tick: &TickOptions{}}, Sample{Tick: &TickResult{Common: measured}}},
		"echo": {Job{Echo: &EchoOptions{}}, Sample{Echo: &EchoResult{Common: measured}}},
		"broadcast": {Job{Broadcast: &BroadcastOptions{}}, Sample{Broadcast: &BroadcastResult{
			Common: measured, Missing: 5, Unsent: 2, Last: Percentiles{P50: 1500, P99: 2500}}}},
		"stalled": {Job{Broadcast: &BroadcastOptions{Stalled: 4}}, Sample{Broadcast: &BroadcastResult{
			Common: measured, Stalled: &StalledResult{EndedMeanwhile: 1, Ends: map[string]int{"reset": 1, "end": 2},
				RSS: &Level{1e6, 3e6, 2e6}, Sockets: Level{2e6, 6e6, 0}}}}},
		"connect": {Job{Connect: &ConnectOptions{}}, Sample{Connect: connected}},
		"idle": {Job{Idle: &IdleOptions{}}, Sample{Idle: &IdleResult{Common: measured, PerConn: PerConn{
			RSSBytes: 200, KernelBytes: 4000, Runtime: &RuntimePerConn{HeapBytes: 150, StackBytes: 20, RestBytes: 30}}}}},
		"attack": {Job{Attack: &AttackOptions{}}, Sample{Attack: &AttackResult{Rounds: []*Round{{
			Alone: &Phase{}, Control: &Phase{}, Beside: &Phase{}, Memory: &AttackMemory{}}}}}},
	}
}

// Comparisons are kept, and budgets name metrics, so the names stay.
func TestMetricsHaveTheirNames(t *testing.T) {
	for scenario, want := range map[string]string{
		"tick":      "server_cpu lateness_p50 lateness_p99 missing memory open_cpu gone client_cpu client_wait server_wait",
		"echo":      "rate server_cpu per_cpu latency_p50 latency_p99 missing memory open_cpu gone client_cpu client_wait server_wait",
		"broadcast": "first_p50 median_p50 last_p50 last_p99 server_cpu missing gone client_cpu",
		"stalled": "first_p50 median_p50 last_p50 last_p99 server_cpu missing gone client_cpu " +
			"stalled_peak stalled_sockets stalled_ended",
		"connect": "rate open_cpu close_cpu open_p50 open_p99 gone client_cpu",
		"idle":    "memory heap stacks runtime kernel idle_cpu gone",
		"attack":  "p99_alone p99_beside p99_of_alone p99_of_control harmed peak peak_total server_cpu",
	} {
		x := fullJobs()[scenario]
		c := &Comparison{Job: x.job, Servers: []Contestant{{Name: "a", Rounds: []Sample{x.sample}}}}
		var got []string
		for _, m := range c.Metrics() {
			got = append(got, m.Name)
			if scenario == "attack" || m.Name == "per_cpu" {
				continue // quotients of what this sample does not have
			}
			if v := m.Of(x.sample); math.IsNaN(v) || v != m.Spread(&c.Servers[0]).Median {
				t.Errorf("%s of %s is %v", m.Name, scenario, v)
			}
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s has %v, want %s", scenario, got, want)
		}
		if x.job.Scenario() != scenario && scenario != "stalled" {
			t.Errorf("%s is called %q", scenario, x.job.Scenario())
		}
	}
}

func TestMetricsOfWhatIsThere(t *testing.T) {
	for _, want := range []struct {
		scenario, metric string
		value            float64
	}{
		{"broadcast", "last_p50", 1.5}, {"broadcast", "last_p99", 2.5}, {"broadcast", "missing", 5 + 2*10},
		{"broadcast", "server_cpu", 3}, {"broadcast", "gone", 1}, {"stalled", "gone", 0},
		{"stalled", "stalled_peak", 2}, {"stalled", "stalled_sockets", 4}, {"stalled", "stalled_ended", 3}, {"connect", "close_cpu", 7}, {"connect", "gone", 5},
		{"idle", "memory", 200}, {"idle", "heap", 150}, {"idle", "stacks", 20}, {"idle", "runtime", 30},
		{"idle", "kernel", 4000}, {"idle", "idle_cpu", 50}, {"tick", "memory", 200},
	} {
		x := fullJobs()[want.scenario]
		m, ok := (&Comparison{Job: x.job}).Metric(want.metric)
		if got := m.Of(x.sample); !ok || got != want.value {
			t.Errorf("%s of %s: %v, want %v", want.metric, want.scenario, got, want.value)
		}
	}
}

// TestWhatWasNotMeasuredIsNotZero takes the process id and pprof away.
func TestWhatWasNotMeasuredIsNotZero(t *testing.T) {
	for scenario, want := range map[string]string{
		"tick":      "server_cpu memory open_cpu server_wait",
		"echo":      "server_cpu per_cpu memory open_cpu server_wait",
		"broadcast": "server_cpu",
		"stalled":   "server_cpu stalled_peak",
		"connect":   "open_cpu close_cpu",
		"idle":      "heap stacks runtime idle_cpu",
		"attack":    "p99_of_control peak peak_total",
	} {
		x := fullJobs()[scenario]
		if c := x.sample.Common(); c != nil {
			c.Server, c.Memory = nil, nil
		}
		if x.sample.Idle != nil {
			x.sample.Idle.PerConn.Runtime = nil
		}
		if x.sample.Broadcast != nil && x.sample.Broadcast.Stalled != nil {
			x.sample.Broadcast.Stalled.RSS = nil
		}
		if x.sample.Attack != nil {
			x.sample.Attack.Rounds[0].Control, x.sample.Attack.Rounds[0].Memory = nil, nil
		}
		var unknown []string
		for _, m := range x.job.Metrics() {
			if !m.Spread(&Contestant{Rounds: []Sample{x.sample}}).Known() {
				unknown = append(unknown, m.Name)
			}
		}
		if !slices.Equal(unknown, strings.Fields(want)) {
			t.Errorf("%s: %v are unknown, want %s", scenario, unknown, want)
		}
		if _, err := json.Marshal(x.sample); err != nil {
			t.Errorf("%s: %v", scenario, err)
		}
	}
}

// TestWhoSendsNothingIsNotTheCheapest: there is no cost of a message where none came.
func TestWhoSendsNothingIsNotTheCheapest(t *testing.T) {
	for _, scenario := range []string{"tick", "echo", "broadcast"} {
		x := fullJobs()[scenario]
		x.sample.Common().Messages, x.sample.Common().Server.CPUUsPerMessage = 0, 0
		m, _ := (&Comparison{Job: x.job}).Metric("server_cpu")
		if v := m.Of(x.sample); !math.IsNaN(v) {
			t.Errorf("a message of %s costs %v", scenario, v)
		}
	}
}

func TestSpreadOf(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, Spread{2.5, 1, 4}},
		{[]float64{nan, 2, nan, 4}, Spread{3, 2, 4}},
		{[]float64{0}, Spread{0, 0, 0}},
	} {
		if got := SpreadOf(slices.Clone(c.values)); got != c.want || !got.Known() {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
	for _, none := range [][]float64{nil, {nan, nan}} {
		if got := SpreadOf(none); got.Known() || !math.IsNaN(got.Min) || !math.IsNaN(got.Max) {
			t.Errorf("%v: got %v", none, got)
		}
	}
}

// TestJobsTravel holds that a job arrives as it was sent, with the address and the path that its scenario has.
func TestJobsTravel(t *testing.T) {
	for scenario, path := range map[string]string{
		"tick": "/ws", "echo": "/echo", "broadcast": "/broadcast", "connect": "/echo", "idle": "/echo", "attack": "/echo",
	} {
		text, err := json.Marshal(fullJobs()[scenario].job.At("127.0.0.1:1", 7, "127.0.0.1:2"))
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]map[string]any
		if err := json.Unmarshal(text, &back); err != nil || len(back) != 1 {
			t.Fatalf("%s, %v", text, err)
		}
		o := back[scenario]
		if o["url"] != "ws://127.0.0.1:1"+path || o["pid"] != 7.0 {
			t.Errorf("%s: %s", scenario, text)
		}
		var j Job
		if err := json.Unmarshal(text, &j); err != nil || j.Scenario() != scenario {
			t.Errorf("%s is %s when it arrives, %v", scenario, j.Scenario(), err)
		}
	}
}

// TestJobsRun lets each new scenario fail in its own words, which shows that it was that one.
func TestJobsRun(t *testing.T) {
	at := Options{URL: "ws://127.0.0.1:1/", Settle: -1, Conns: 1}
	for want, j := range map[string]Job{
		"negative rate":         {Connect: &ConnectOptions{Options: at, Rate: -1}},
		"process id":            {Idle: &IdleOptions{Options: at}},
		"rate must be positive": {Broadcast: &BroadcastOptions{Options: at, Rate: -1}},
		"without a scenario":    {},
	} {
		if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestPairs: two servers are put in ratio by rounds, and a round that one of them failed in, or that has no ratio, is
// no pair.
func TestPairs(t *testing.T) {
	c := tickOf(took("stillpool", 4, 6, 9, 5), failedIn(2, took("against", 2, 3, 0)))
	m, _ := c.Metric("server_cpu")
	if got, want := m.Pairs(c, "stillpool", "against"), []float64{2, 3}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
