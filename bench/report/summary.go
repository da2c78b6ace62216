package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// summaryRow is a metric of a comparison.
type summaryRow struct{ title, comparison, metric string }

// summaryRows are what most people want to know first.
var summaryRows = []summaryRow{
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

// busyRows are the same on a busy machine.
var busyRows = []summaryRow{
	{"CPU to accept and upgrade a connection", "connect-busy", "open_cpu"},
	{"CPU of a tick", "tick-busy", "server_cpu"},
	{"lateness of a tick, median", "tick-busy", "lateness_p50"},
	{"lateness of a tick, p99", "tick-busy", "lateness_p99"},
	{"CPU of an echo, 64 B", "echo-64-busy", "server_cpu"},
	{"echoes of 64 B a second", "echo-64-busy", "rate"},
	{"CPU of an echo, 1 KiB", "echo-1k-busy", "server_cpu"},
	{"echoes of 1 KiB a second, for each percent of a core", "echo-1k-busy", "per_cpu"},
	{"echo of 50 good clients beside 500 that send bulk and never read, p99", "bulk-busy", "p99_beside"},
	{"memory taken meanwhile", "bulk-busy", "peak"},
}

// summary is the tables of the README and what is said about them.
func summary(r *results) string {
	used := slices.Concat(r.used(summaryRows), r.used(busyRows), r.series(attackKinds))
	if len(used) == 0 {
		return "None of the comparisons of this table has been made.\n"
	}
	var b strings.Builder
	for _, m := range r.machines() {
		fmt.Fprintf(&b, "Measured on %s; %s, %s.\n\n", machineLine(m), r.days(), roundsLine(used))
	}
	if len(r.used(summaryRows)) > 0 {
		r.summaryTable(&b, summaryRows, r.servers)
	}
	r.busyTable(&b)
	r.kindTable(&b)
	b.WriteString("\n" + r.legend(used))
	if r.million != nil {
		b.WriteString("\n" + millionLine(r.million))
	}
	return b.String()
}

// used are the comparisons that there are of those that the rows are about.
func (r *results) used(rows []summaryRow) (all []*bench.Comparison) {
	for _, row := range rows {
		if c := r.named(row.comparison); c != nil && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// summaryTable has a row for each of rows whose comparison there is, and a column a server.
func (r *results) summaryTable(b *strings.Builder, rows []summaryRow, servers []string) {
	var table [][]string
	for _, row := range rows {
		c := r.named(row.comparison)
		if c == nil {
			continue
		}
		m, ok := c.Metric(row.metric)
		if !ok {
			continue
		}
		cells := []string{withUnit(row.title, m.Unit)}
		for _, server := range servers {
			cells = append(cells, summaryCell(cellOf(c, m, server)))
		}
		table = append(table, cells)
	}
	writeTable(b, append([]string{""}, r.heads(servers)...), table)
}

// busyTable shows what was measured beside processes that compute, with the servers of which that was.
func (r *results) busyTable(b *strings.Builder) {
	used := r.used(busyRows)
	if len(used) == 0 {
		return
	}
	fmt.Fprintf(b, "\nOn a busy machine, where %d other processes compute all the time:\n\n", used[0].Job.Options().Busy)
	r.summaryTable(b, busyRows, slices.DeleteFunc(slices.Clone(r.servers), func(server string) bool {
		return !slices.ContainsFunc(used, func(c *bench.Comparison) bool { return c.Server(server) != nil })
	}))
}

// attackKinds is the series of comparisons that differ in what hostile clients do.
const attackKinds = "attack-kind"

// kindTable has a row for each kind of hostile clients: the latency of good clients, and the memory of the server.
func (r *results) kindTable(b *strings.Builder) {
	kinds := r.series(attackKinds)
	if len(kinds) == 0 {
		return
	}
	o := kinds[0].Job.Attack
	fmt.Fprintf(b, "\nEchoes of %s good clients beside %s hostile ones, by what these do (`stillpool bench attack --help` describes the kinds): p99 in ms, and the memory that the server takes meanwhile in MB:\n\n",
		number(float64(o.Conns), 0), number(float64(o.Hostile), 0))
	servers := serversOf(kinds[0])
	head := []string{""}
	for _, what := range []string{"p99", "memory"} {
		for _, server := range servers {
			head = append(head, server+" "+what)
		}
	}
	var rows [][]string
	for _, c := range kinds {
		row := []string{c.Point.Name}
		for _, metric := range []string{"p99_beside", "peak"} {
			m, _ := c.Metric(metric)
			for _, server := range servers {
				text := summaryCell(cellOf(c, m, server))
				if harmed := medianOf(c, "harmed", server); metric == "p99_beside" && harmed > 0 {
					text += ", " + number(harmed, 0) + " harmed"
				}
				row = append(row, text)
			}
		}
		rows = append(rows, row)
	}
	writeTable(b, head, rows)
}

// heads are servers with their versions.
func (r *results) heads(servers []string) (all []string) {
	for _, server := range servers {
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
