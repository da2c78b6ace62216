package main

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"github.com/stillpool/stillpool/bench"
)

// report prints a block a metric: median, least and most of the rounds, and the ratio of the median
// to that of the first server.
func report(out io.Writer, result *bench.Comparison) error {
	w := bufio.NewWriter(out)
	for _, m := range result.Metrics() {
		title := m.Title
		if m.Unit != "" {
			title += ", " + m.Unit
		}
		fmt.Fprintf(w, "\n%-48s%12s%12s%12s%8s\n", title, "median", "min", "max", "ratio")
		first := m.Spread(&result.Servers[0]).Median
		for i := range result.Servers {
			c := &result.Servers[i]
			s := m.Spread(c)
			fmt.Fprintf(w, "  %-46s%12s%12s%12s%8s\n", c.Name+" "+c.Version,
				number(s.Median, m.Digits), number(s.Min, m.Digits), number(s.Max, m.Digits), ratio(s.Median, first))
		}
	}
	writePairs(w, result)
	warn(w, result)
	return w.Flush()
}

// writePairs prints the ratios of two builds of Stillpool, pair by pair, if there are two.
func writePairs(w io.Writer, result *bench.Comparison) {
	if result.Server(stillpool) == nil || result.Server(against) == nil {
		return
	}
	fmt.Fprintf(w, "\n%-48s%12s%12s%12s%8s\n", "stillpool in ratio to against, pair by pair", "median", "min", "max", "pairs")
	for _, m := range result.Metrics() {
		pairs := m.Pairs(result, stillpool, against)
		s := bench.SpreadOf(pairs)
		fmt.Fprintf(w, "  %-46s%12s%12s%12s%8d\n", m.Title, number(s.Median, 3), number(s.Min, 3), number(s.Max, 3), len(pairs))
	}
}

// warn repeats what the client said of its own runs, and tells of those that failed.
func warn(w io.Writer, result *bench.Comparison) {
	for _, c := range result.Servers {
		for _, f := range c.Failures {
			fmt.Fprintf(w, "\nFAILED %s, round %d: %s", c.Name, f.Round, f.Reason)
		}
		for i, s := range c.Rounds {
			for _, warning := range s.Warnings() {
				fmt.Fprintf(w, "\nWARNING %s, round %d: %s", c.Name, c.Round(i), warning)
			}
		}
	}
	fmt.Fprintln(w)
}

// number shows what was not measured as such.
func number(value float64, digits int) string {
	if math.IsNaN(value) {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, value)
}

func ratio(value, first float64) string {
	if math.IsNaN(value/first) || first <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", value/first)
}
