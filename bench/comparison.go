package bench

import (
	"math"
	"slices"
	"time"
)

// Comparison is one job done with several servers in turn, round after round, so that what else the
// machine does meanwhile falls on all of them alike. It is what is kept as JSON, and what tables,
// plots and budgets are made of.
type Comparison struct {
	Name    string    `json:"name"` // of the file, as echo-64
	Title   string    `json:"title"`
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Job     Job       `json:"job"` // without the addresses
	// Point is set if this is one of several comparisons that differ in one thing.
	Point *Point `json:"point,omitempty"`
	// Servers are in the order in which they are shown; Order is that in which they were measured.
	Servers []Contestant `json:"servers"`
}

// Point is the place of a comparison in a series, as one of several rates or kinds.
type Point struct {
	Series    string  `json:"series"`    // its name, as echo-rate
	Parameter string  `json:"parameter"` // in which its comparisons differ, with the unit
	Value     float64 `json:"value,omitempty"`
	Name      string  `json:"name,omitempty"` // where there is no value
}

// Contestant is a server of a comparison and what was measured of it, a sample a round.
type Contestant struct {
	Name     string   `json:"name"`
	Version  string   `json:"version,omitempty"`
	Settings string   `json:"settings,omitempty"` // how it is served, in a line
	Rounds   []Sample `json:"rounds"`             // those that it came through
	// Failures are the rounds of which there is no sample.
	Failures []Failure `json:"failures,omitempty"` // in order
}

// Failure is a round that a server did not come through.
type Failure struct {
	Round  int    `json:"round"` // from 1
	Reason string `json:"reason"`
}

// Order is in which order n servers are measured in a round, counted from 0. Who comes first, or right
// after a certain other one, may have it easier, as on a machine that was idle before; so each round
// begins with another server and goes the other way round than the one before. Then each comes first
// equally often, and of any two each is before the other equally often: over twice as many rounds as
// there are servers, and of two servers over two.
func Order(n, round int) []int {
	order := make([]int, n)
	step := 1 - 2*(round%2)
	for i := range order {
		order[i] = ((round+i*step)%n + n) % n
	}
	return order
}

// Server finds a contestant by its name; nil if it is not there.
func (c *Comparison) Server(name string) *Contestant {
	for i := range c.Servers {
		if c.Servers[i].Name == name {
			return &c.Servers[i]
		}
	}
	return nil
}

// Round is the number of the round that Rounds[i] is of, from 1.
func (c *Contestant) Round(i int) int {
	round := i + 1
	for _, f := range c.Failures { // in order
		if f.Round <= round {
			round++
		}
	}
	return round
}

// Spread is the median of some values, and the least and the greatest of them; all NaN if there are
// none.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Known is false if there was nothing to make a Spread of.
func (s Spread) Known() bool { return !math.IsNaN(s.Median) }

// SpreadOf sorts values, and leaves out those that are NaN.
func SpreadOf(values []float64) Spread {
	values = slices.DeleteFunc(values, math.IsNaN)
	if len(values) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}
