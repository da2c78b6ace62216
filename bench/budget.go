package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Budget is a limit of a metric, which a server is held against in a comparison: in ratio to another
// server of the same round, because on a machine that others use an absolute time says little, or
// absolute, where the metric hardly depends on the machine.
type Budget struct {
	Name     string `json:"name"`
	Sentence string `json:"sentence"` // what is promised
	Server   string `json:"server"`   // whose promise it is
	Metric   string `json:"metric"`
	// Against is the server that the metric is put in ratio to. Without one, Limit has the metric's
	// own unit.
	Against string `json:"against,omitempty"`
	// Beside are other servers to which the ratio is told, and not judged.
	Beside  []string `json:"beside,omitempty"`
	Limit   float64  `json:"limit"`
	AtLeast bool     `json:"at_least,omitempty"` // Limit is the least, and not the most
	Busy    int      `json:"busy,omitempty"`     // processes that compute meanwhile
}

// Verdict is a budget held against what was measured.
type Verdict struct {
	Budget Budget `json:"budget"`
	Held   bool   `json:"held"`
	// Judged is what the budget limits, the ratio or the metric itself, of which the median counts,
	// and Rounds is that in each round.
	Judged Spread    `json:"judged"`
	Rounds []float64 `json:"rounds"`
	// Figures are the metric of each server that is part of it, that of the budget first.
	Figures []Figure `json:"figures"`
	// Doubts are what the client said of single rounds, which are counted all the same, and rounds that
	// another server failed in.
	Doubts []Doubt `json:"doubts,omitempty"`

	metric Metric
}

// Figure is the metric of one server.
type Figure struct {
	Server  string `json:"server"`
	Version string `json:"version,omitempty"`
	Value   Spread `json:"value"`
	// Ratio is that of the budget's server to this one, round by round; nil for the first itself.
	Ratio *Spread `json:"ratio,omitempty"`
}

// Doubt is a reason not to trust a round.
type Doubt struct {
	Round  int    `json:"round"` // from 1
	Server string `json:"server"`
	Reason string `json:"reason"`
}

// Judge holds a budget against a comparison. An error says why that can't be done: a server or the
// metric is missing in it, the budget's own server failed in a round, or a round's number is none.
// Rounds in which another server failed are left out of the ratio to it.
func (b Budget) Judge(c *Comparison) (*Verdict, error) {
	m, ok := c.Metric(b.Metric)
	if !ok {
		return nil, fmt.Errorf("the scenario %s has no metric %q", c.Job.Scenario(), b.Metric)
	}
	v := &Verdict{Budget: b, metric: m}
	own, err := m.rounds(c, b.Server)
	if err != nil {
		return nil, err
	}
	if failed := c.Server(b.Server).Failures; len(failed) > 0 {
		return nil, fmt.Errorf("%s failed in round %d: %s", b.Server, failed[0].Round, failed[0].Reason)
	}
	v.Rounds = valuesOf(own)
	v.add(c, b.Server, own, nil)
	for _, name := range b.others() {
		others, err := m.rounds(c, name)
		if err != nil {
			return nil, err
		}
		ratios, err := ratiosOf(own, others)
		if err != nil {
			return nil, fmt.Errorf("%s of %s to that of %s: %w", m.Name, b.Server, name, err)
		}
		v.add(c, name, others, ratios)
		if name == b.Against {
			v.Rounds = ratios
		}
	}
	v.Judged = spreadOf(v.Rounds)
	v.Held = b.holds(v.Judged.Median)
	return v, nil
}

// others are the servers that the budget's own is put in ratio to.
func (b Budget) others() []string {
	if b.Against == "" {
		return b.Beside
	}
	return append([]string{b.Against}, b.Beside...)
}

func (b Budget) holds(value float64) bool {
	if b.AtLeast {
		return value >= b.Limit
	}
	return value <= b.Limit
}

// roundValue is a metric of one server in one round.
type roundValue struct {
	round int // from 1
	value float64
}

// rounds is the metric of a server in the rounds that it came through.
func (m Metric) rounds(c *Comparison, name string) (values []roundValue, err error) {
	server := c.Server(name)
	if server == nil {
		return nil, fmt.Errorf("%s was not measured", name)
	}
	for i, s := range server.Rounds {
		v := roundValue{server.Round(i), m.Of(s)}
		if !finite(v.value) {
			return nil, fmt.Errorf("%s of %s is no number in round %d", m.Name, name, v.round)
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%s came through no round", name)
	}
	return values, nil
}

func valuesOf(rounds []roundValue) (values []float64) {
	for _, r := range rounds {
		values = append(values, r.value)
	}
	return values
}

// ratiosOf are the quotients of the rounds that both have.
func ratiosOf(own, others []roundValue) (ratios []float64, err error) {
	for _, o := range own {
		i := slices.IndexFunc(others, func(other roundValue) bool { return other.round == o.round })
		if i < 0 {
			continue
		}
		ratio := o.value / others[i].value
		if !finite(ratio) {
			return nil, fmt.Errorf("no ratio of %v to %v in round %d", o.value, others[i].value, o.round)
		}
		ratios = append(ratios, ratio)
	}
	if len(ratios) == 0 {
		return nil, errors.New("no round that both came through")
	}
	return ratios, nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// spreadOf is SpreadOf for values that stay in the order of their rounds.
func spreadOf(values []float64) Spread { return SpreadOf(slices.Clone(values)) }

// add takes in a server.
func (v *Verdict) add(c *Comparison, name string, rounds []roundValue, ratios []float64) {
	server := c.Server(name)
	f := Figure{Server: name, Version: server.Version, Value: spreadOf(valuesOf(rounds))}
	if ratios != nil {
		ratio := spreadOf(ratios)
		f.Ratio = &ratio
	}
	v.Figures = append(v.Figures, f)
	doubt := func(round int, reason string) {
		v.Doubts = append(v.Doubts, Doubt{Round: round, Server: name, Reason: reason})
	}
	for i, s := range server.Rounds {
		for _, reason := range append(s.Warnings(), c.harm(s)...) {
			doubt(server.Round(i), reason)
		}
	}
	for _, f := range server.Failures {
		doubt(f.Round, "left out, it failed: "+f.Reason)
	}
}

// harm says what a server did not do in a round: one that serves fewer has less to do.
func (c *Comparison) harm(s Sample) (all []string) {
	for _, name := range []string{"gone", "missing", "harmed"} {
		if m, ok := c.Metric(name); ok && m.Of(s) > 0 {
			all = append(all, fmt.Sprintf("%.0f %s", m.Of(s), m.Title))
		}
	}
	return all
}
