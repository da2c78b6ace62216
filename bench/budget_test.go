package bench

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// took makes a contestant whose server took so much processor time a message, round by round.
func took(name string, cpu ...float64) Contestant {
	c := Contestant{Name: name}
	for _, us := range cpu {
		c.Rounds = append(c.Rounds, Sample{Tick: &TickResult{Common: Common{Messages: 1, Server: &Use{CPUUsPerMessage: us}, Memory: &Memory{}}}})
	}
	return c
}

// failedIn is c with a round in between of which there is no sample.
func failedIn(round int, c Contestant) Contestant {
	c.Failures = append(c.Failures, Failure{Round: round, Reason: "it died"})
	return c
}

func tickOf(servers ...Contestant) *Comparison {
	return &Comparison{Job: Job{Tick: &TickOptions{}}, Servers: servers}
}

var cheap = Budget{Name: "tick-cpu", Server: "own", Metric: "server_cpu", Against: "floor", Limit: 1.15}

func TestJudge(t *testing.T) {
	atLeast := cheap
	atLeast.AtLeast, atLeast.Limit = true, 1.2
	absolute := cheap
	absolute.Against, absolute.Limit = "", 4.5
	for _, c := range []struct {
		name   string
		budget Budget
		with   *Comparison
		held   bool
		judged Spread
		rounds []float64
	}{
		// The machine was slower in each round than in the one before; the ratios of pairs don't care.
		{"held", cheap, tickOf(took("own", 4, 11, 20), took("floor", 4, 10, 20)), true, Spread{1, 1, 1.1}, []float64{1, 1.1, 1}},
		{"short", cheap, tickOf(took("own", 5, 12, 10), took("floor", 4, 10, 10)), false, Spread{1.2, 1, 1.25}, []float64{1.25, 1.2, 1}},
		{"just held", cheap, tickOf(took("own", 115), took("floor", 100)), true, Spread{1.15, 1.15, 1.15}, []float64{1.15}},
		{"even rounds", cheap, tickOf(took("floor", 8, 8), took("own", 8, 12)), false, Spread{1.25, 1, 1.5}, []float64{1, 1.5}},
		{"at least", atLeast, tickOf(took("own", 13), took("floor", 10)), true, Spread{1.3, 1.3, 1.3}, []float64{1.3}},
		{"not so much", atLeast, tickOf(took("own", 11), took("floor", 10)), false, Spread{1.1, 1.1, 1.1}, []float64{1.1}},
		// Its second sample is of the third round.
		{"other failed once", cheap, tickOf(took("own", 4, 9, 24), failedIn(2, took("floor", 4, 12))), false, Spread{1.5, 1, 2}, []float64{1, 2}},
		{"absolute", absolute, tickOf(took("own", 5, 4, 4)), true, Spread{4, 4, 5}, []float64{5, 4, 4}},
		{"absolute, short", absolute, tickOf(took("own", 5, 4, 5)), false, Spread{5, 4, 5}, []float64{5, 4, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := c.budget.Judge(c.with)
			if err != nil {
				t.Fatal(err)
			}
			if v.Held != c.held || v.Judged != c.judged || !slices.Equal(v.Rounds, c.rounds) {
				t.Errorf("held %v, %v, %v; want %v, %v, %v", v.Held, v.Judged, v.Rounds, c.held, c.judged, c.rounds)
			}
		})
	}
}

// What can't be judged is said to be so, and held by nobody.
func TestJudgeCannot(t *testing.T) {
	with := func(change func(*Budget)) Budget { b := cheap; change(&b); return b }
	both := tickOf(took("own", 4), took("floor", 4))
	for _, c := range []struct {
		name   string
		budget Budget
		with   *Comparison
		want   string
	}{
		{"own server missing", cheap, tickOf(took("floor", 4)), "own was not measured"},
		{"other server missing", cheap, tickOf(took("own", 4)), "floor was not measured"},
		{"server beside missing", with(func(b *Budget) { b.Beside = []string{"gws"} }), both, "gws was not measured"},
		{"no rounds", cheap, tickOf(took("own"), took("floor")), "own came through no round"},
		{"no such metric", with(func(b *Budget) { b.Metric = "beauty" }), both, `"beauty"`},
		{"metric of another scenario", with(func(b *Budget) { b.Metric = "per_cpu" }), both, `"per_cpu"`},
		{"no scenario", cheap, &Comparison{}, "server_cpu"},
		{"no number", cheap, tickOf(took("own", 4, math.NaN()), took("floor", 4, 4)), "own is no number in round 2"},
		{"other is no number", cheap, tickOf(took("own", 4), took("floor", math.Inf(1))), "floor is no number in round 1"},
		{"nothing to be in ratio to", cheap, tickOf(took("own", 4, 4), took("floor", 4, 0)), "no ratio of 4 to 0 in round 2"},
		{"own server failed", cheap, tickOf(failedIn(2, took("own", 4)), took("floor", 4, 4)), "own failed in round 2: it died"},
		{"no pair", cheap, tickOf(took("own", 4), failedIn(1, took("floor", 4))), "no round that both came through"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := c.budget.Judge(c.with)
			if v != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v, want an error about %s", v, err, c.want)
			}
		})
	}
}

func TestVerdictTable(t *testing.T) {
	b := cheap
	b.Sentence, b.Beside = "What a tick costs.", []string{"burst"}
	own, floor := took("own", 4, 5, 6, 5), failedIn(4, took("floor", 4, 4, 4))
	floor.Version = "v1.2.3"
	floor.Rounds[1].Tick.Warnings = []string{"the client was late"}
	own.Rounds[2].Tick.Conns, own.Rounds[2].Tick.Open, own.Rounds[2].Tick.MissingTicks = 10, 7, 5
	v, err := b.Judge(tickOf(own, floor, took("burst", 2, 2, 2, 2)))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := v.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	const want = `SHORT  tick-cpu, quiet: 1.25 (1.00 to 1.50) of floor, at most 1.15
       What a tick costs.
       server CPU a message: own 5.00 µs (4.00 to 6.00), floor v1.2.3 4.00 µs (4.00 to 4.00), burst 2.00 µs (2.00 to 2.00)
       beside: 2.50 (2.00 to 3.00) of burst
       DOUBTFUL round 3, own: 3 connections failed or lost
       DOUBTFUL round 3, own: 5 ticks missing
       DOUBTFUL round 2, floor: the client was late
       DOUBTFUL round 4, floor: left out, it failed: it died
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	b.Against, b.Limit, b.AtLeast, b.Beside, b.Busy = "", 4, true, nil, 2
	if v, err = b.Judge(tickOf(took("own", 4))); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	v.WriteTable(&out)
	if line, _, _ := strings.Cut(out.String(), "\n"); line != "held   tick-cpu, busy: 4.00 µs (4.00 to 4.00), at least 4 µs" {
		t.Errorf("got %s", line)
	}
}

// An attack that lost good clients is doubtful, whatever its ratio.
func TestDoubtsOfAttacks(t *testing.T) {
	phase := func(p99, missing int64) *Phase {
		return &Phase{Missing: missing, Latency: Percentiles{P50: p99, P99: p99}}
	}
	c := &Comparison{Job: Job{Attack: &AttackOptions{}}, Servers: []Contestant{{Name: "own", Rounds: []Sample{
		{Attack: &AttackResult{Rounds: []*Round{{Alone: phase(1, 0), Control: phase(10, 0), Beside: phase(15, 3)}}}},
	}}}}
	v, err := Budget{Server: "own", Metric: "p99_of_control", Limit: 2}.Judge(c)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Held || v.Judged.Median != 1.5 || len(v.Doubts) != 1 || v.Doubts[0] != (Doubt{1, "own", "3 good clients harmed"}) {
		t.Errorf("%+v", v)
	}
}
