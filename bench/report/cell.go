package main

import (
	"math"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/stillpool/stillpool/bench"
)

// reference is the server that the others are put in ratio to.
const reference = "stillpool"

// cell is what a table says of one metric of one server.
type cell struct {
	metric bench.Metric
	spread bench.Spread
	ratio  float64 // of the median to that of the reference; NaN for the reference itself
	better bool    // than the reference, as far as the digits show

	absent bool // the server is not in the comparison
	failed int  // rounds that it did not come through
	rounds int  // all
}

func cellOf(c *bench.Comparison, m bench.Metric, server string) cell {
	s := c.Server(server)
	if s == nil {
		return cell{absent: true, ratio: math.NaN()}
	}
	x := cell{
		metric: m, spread: finite(m, s), ratio: math.NaN(),
		failed: len(s.Failures), rounds: len(s.Failures) + len(s.Rounds),
	}
	first := c.Server(reference)
	if first == nil || server == reference {
		return x
	}
	base := finite(m, first).Median
	if base > 0 {
		x.ratio = x.spread.Median / base
	}
	x.better = better(m, x.spread.Median, base)
	return x
}

// finite is the spread without rounds in which a metric divides by nothing.
func finite(m bench.Metric, s *bench.Contestant) bench.Spread {
	var values []float64
	for _, sample := range s.Rounds {
		if v := m.Of(sample); !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	return bench.SpreadOf(values)
}

// metricsOf are those that a table shows: without those that no server has, and without the memory of a
// connection where what the server takes by itself is in it.
func metricsOf(c *bench.Comparison) []bench.Metric {
	return slices.DeleteFunc(slices.Clone(c.Metrics()), func(m bench.Metric) bool {
		return m.Name == "memory" && !sloped(c) || unmeasured(c, m)
	})
}

func unmeasured(c *bench.Comparison, m bench.Metric) bool {
	return !slices.ContainsFunc(c.Servers, func(s bench.Contestant) bool { return finite(m, &s).Known() })
}

// sloped tells whether memory was taken at several numbers of connections.
func sloped(c *bench.Comparison) bool {
	for _, s := range c.Servers {
		for _, sample := range s.Rounds {
			if sample.Idle != nil {
				return true
			}
			if o := sample.Common(); o != nil && o.Memory != nil && o.Memory.SlopeStart.Conns > 0 {
				return true
			}
		}
	}
	return false
}

// better compares what is shown: what differs in a digit that nobody sees is the same.
func better(m bench.Metric, value, base float64) bool {
	unit := math.Pow10(m.Digits)
	value, base = math.Round(value*unit), math.Round(base*unit)
	switch {
	case m.Neutral:
		return false
	case m.HigherIsBetter:
		return value > base // false if either is not a number
	}
	return value < base
}

// median in words, for a cell of its own.
func (x cell) median() string {
	switch {
	case x.absent:
		return ""
	case x.rounds > 0 && x.failed == x.rounds:
		return "failed"
	}
	return x.number(x.spread.Median)
}

// number shows what is not known as a dash.
func (x cell) number(value float64) string { return number(value, x.metric.Digits) }

func (x cell) times() string {
	if math.IsNaN(x.ratio) {
		return ""
	}
	return number(x.ratio, 2)
}

// spreads is empty where there is no more than the median.
func (x cell) spreads() string {
	if x.absent || !x.spread.Known() || x.rounds-x.failed < 2 {
		return ""
	}
	return x.number(x.spread.Min) + " to " + x.number(x.spread.Max)
}

var english = message.NewPrinter(language.English)

// number groups digits by thousands.
func number(value float64, digits int) string {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return "–"
	}
	return english.Sprintf("%.*f", digits, value)
}

// metricTitle is with the unit.
func metricTitle(m bench.Metric) string { return withUnit(m.Title, m.Unit) }

func withUnit(title, unit string) string {
	if unit == "" {
		return title
	}
	return title + ", " + unit
}

// shortVersion leaves out what a Go version begins with, and what only says that there is none.
func shortVersion(v string) string {
	if v == "(devel)" || strings.HasPrefix(v, "v0.0.0-") {
		return ""
	}
	words := strings.Fields(v)
	for i := range words {
		words[i] = strings.TrimPrefix(words[i], "v")
	}
	return strings.Join(words, " ")
}
