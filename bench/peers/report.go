package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// metric is a number of a sample.
type metric struct {
	name   string
	digits int
	of     func(sample) float64
}

var (
	serverCPU = metric{"server CPU a message, µs", 2, func(s sample) float64 {
		return s.common().Server.CPUUsPerMessage
	}}
	openCPU = metric{"server CPU to open a connection, µs", 1, func(s sample) float64 {
		return s.common().Opening.ServerCPUUs
	}}
	memory = metric{"memory a connection, bytes (slope)", 0, func(s sample) float64 {
		m := s.common().Memory
		if m.SlopeStart.Conns > 0 {
			return m.SlopeBytesPerConn
		}
		return m.BytesPerConn
	}}
	gone = metric{"connections failed or lost", 0, func(s sample) float64 {
		return float64(s.common().Conns - s.common().Open)
	}}
	clientCPU = metric{"client CPU, % of a core", 0, func(s sample) float64 {
		return s.common().Client.CPUPercent
	}}
)

var tickMetrics = []metric{
	serverCPU,
	{"lateness p50, ms", 3, func(s sample) float64 { return float64(s.Tick.Lateness.P50) / 1000 }},
	{"lateness p99, ms", 3, func(s sample) float64 { return float64(s.Tick.Lateness.P99) / 1000 }},
	{"ticks missing", 0, func(s sample) float64 { return float64(s.Tick.MissingTicks) }},
	memory, openCPU, gone, clientCPU,
}

var echoMetrics = []metric{
	{"messages a second", 0, func(s sample) float64 { return s.Echo.MessagesPerSecond }},
	serverCPU,
	{"latency p50, ms", 3, func(s sample) float64 { return float64(s.Echo.Latency.P50) / 1000 }},
	{"latency p99, ms", 3, func(s sample) float64 { return float64(s.Echo.Latency.P99) / 1000 }},
	{"messages unanswered or never sent", 0, func(s sample) float64 {
		return float64(s.Echo.Unanswered + s.Echo.Unsent)
	}},
	memory, openCPU, gone, clientCPU,
}

// report prints a block a metric: median, least and most of the rounds, and the ratio of the median
// to that of the first server.
func report(out io.Writer, contestants []*contestant, metrics []metric) error {
	w := bufio.NewWriter(out)
	for _, m := range metrics {
		fmt.Fprintf(w, "\n%-38s%12s%12s%12s%8s\n", m.name, "median", "min", "max", "ratio")
		first := median(m.values(contestants[0].samples))
		for _, c := range contestants {
			v := m.values(c.samples)
			fmt.Fprintf(w, "  %-36s%12.*f%12.*f%12.*f%8s\n", c.name+" "+c.version,
				m.digits, median(v), m.digits, v[0], m.digits, v[len(v)-1], ratio(median(v), first))
		}
	}
	warn(w, contestants)
	return w.Flush()
}

// warn repeats what the client said of its own runs.
func warn(w io.Writer, contestants []*contestant) {
	for _, c := range contestants {
		for i, s := range c.samples {
			for _, warning := range s.warnings() {
				fmt.Fprintf(w, "\nWARNING %s, round %d: %s", c.name, i+1, warning)
			}
		}
	}
	fmt.Fprintln(w)
}

func (s sample) warnings() (all []string) {
	if s.Attack == nil {
		return s.common().Warnings
	}
	for _, r := range s.Attack.Rounds {
		for _, w := range r.Beside.Warnings {
			all = append(all, strings.Join(r.Kinds, ", ")+": "+w)
		}
	}
	return all
}

// values are those of all samples, sorted.
func (m metric) values(samples []sample) []float64 {
	var v []float64
	for _, s := range samples {
		v = append(v, m.of(s))
	}
	slices.Sort(v)
	return v
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func ratio(value, first float64) string {
	if first <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", value/first)
}

// writeSamples writes every result of every server to a file.
func writeSamples(name string, contestants []*contestant) error {
	if name == "" {
		return nil
	}
	type entry struct {
		Server  string   `json:"server"`
		Version string   `json:"version,omitempty"`
		Rounds  []sample `json:"rounds"`
	}
	var all []entry
	for _, c := range contestants {
		all = append(all, entry{c.name, c.version, c.samples})
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}
