package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// summaryRows are what most people want to know first: each is a metric of a comparison.
var summaryRows = []struct{ title, comparison, metric string }{
	{"memory of an idle connection", "idle", "memory"},
	{"CPU to accept and upgrade a connection", "connect", "open_cpu"},
	{"CPU of a tick", "tick", "server_cpu"},
	{"lateness of a tick, median", "tick", "lateness_p50"},
	{"lateness of a tick, p99", "tick", "lateness_p99"},
	{"CPU of an echo, 64 B", "echo-64", "server_cpu"},
	{"CPU of an echo, 1 KiB", "echo-1k", "server_cpu"},
	{"echoes of 1 KiB a second, for each percent of a core", "echo-1k", "per_cpu"},
	{"broadcast, until the last has it", "broadcast", "last_p50"},
	{"CPU while nothing happens", "idle", "idle_cpu"},
	{"echo of good clients beside 2,000 hostile ones, p99", "attack", "p99_beside"},
	{"good clients harmed meanwhile", "attack", "harmed"},
	{"memory taken meanwhile", "attack", "peak"},
}

// summary is the table of the README and what is said about it.
func summary(r *results) string {
	var used []*bench.Comparison
	var rows [][]string
	for _, row := range summaryRows {
		c := r.named(row.comparison)
		if c == nil {
			continue
		}
		m, ok := c.Metric(row.metric)
		if !ok {
			continue
		}
		cells := []string{withUnit(row.title, m.Unit)}
		for _, server := range r.servers {
			cells = append(cells, summaryCell(cellOf(c, m, server)))
		}
		rows = append(rows, cells)
		if !slices.Contains(used, c) {
			used = append(used, c)
		}
	}
	if len(rows) == 0 {
		return "None of the comparisons of this table has been made.\n"
	}
	var b strings.Builder
	for _, m := range r.machines() {
		fmt.Fprintf(&b, "Measured on %s; %s, %s.\n\n", machineLine(m), r.days(), roundsLine(used))
	}
	writeTable(&b, append([]string{""}, r.heads()...), rows)
	b.WriteString("\n" + r.legend(used))
	if r.million != nil {
		b.WriteString("\n" + millionLine(r.million))
	}
	return b.String()
}

// heads are the servers with their versions.
func (r *results) heads() (all []string) {
	for _, server := range r.servers {
		var versions []string
		for _, v := range r.versions(server) {
			if v = shortVersion(v); v != "" {
				versions = append(versions, v)
			}
		}
		all = append(all, strings.TrimSpace(server+" "+strings.Join(versions, ", ")))
	}
	return all
}

func summaryCell(x cell) string {
	s := x.median()
	if t := x.times(); t != "" {
		s += " (" + t + ")"
	}
	if x.better {
		s = "**" + s + "**"
	}
	if x.failed > 0 {
		s += " †"
	}
	return s
}

// legend says how to read the table, and what it does not show.
func (r *results) legend(used []*bench.Comparison) string {
	var b strings.Builder
	b.WriteString("In parentheses is the ratio to Stillpool. **Bold** is where another is better than Stillpool.\n")
	for _, server := range r.servers {
		if settings := r.settings(server); len(r.versions(server)) == 0 && len(settings) > 0 {
			fmt.Fprintf(&b, "`%s` is %s.\n", server, strings.Join(settings, "; or "))
		}
	}
	var failed, lost []string
	warned := 0
	for _, c := range used {
		failed = append(failed, failures(c)...)
		lost = append(lost, losses(c)...)
		warned += len(warnings(c))
	}
	writeList(&b, "† It failed in some rounds:", failed)
	writeList(&b, "Lost or missing:", lost)
	if warned > 0 {
		fmt.Fprintf(&b, "\nThe client warned %s that it or its machine was too busy; the tables of all comparisons say when.\n", times(warned))
	}
	return b.String()
}

// settings are the ways in which a server was served, usually one.
func (r *results) settings(server string) (all []string) {
	for _, c := range r.comparisons {
		if s := c.Server(server); s != nil && s.Settings != "" && !slices.Contains(all, s.Settings) {
			all = append(all, s.Settings)
		}
	}
	return all
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
