package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// longTables are all comparisons with all metrics, a column a server.
func longTables(r *results) string {
	var b strings.Builder
	b.WriteString("# Results\n\n")
	for _, m := range r.machines() {
		fmt.Fprintf(&b, "Measured on %s.\n\n", machineLine(m))
	}
	b.WriteString("Each cell has the median of the rounds, in parentheses its ratio to Stillpool's, and the least and\n" +
		"the greatest. **Bold** is where another is better than Stillpool.\n")
	for _, c := range r.comparisons {
		b.WriteString("\n## " + c.Name + "\n\n")
		fmt.Fprintf(&b, "%s: %s. %s, %s.\n\n", c.Title, c.Job.Describe(), capital(roundsLine([]*bench.Comparison{c})),
			c.Started.UTC().Format("2 January 2006 15:04 UTC"))
		longTable(&b, c)
		writeList(&b, "Failed:", failures(c))
		writeList(&b, "Warnings of the client:", warnings(c))
	}
	return b.String()
}

func longTable(b *strings.Builder, c *bench.Comparison) {
	head := []string{""}
	for _, s := range c.Servers {
		head = append(head, strings.TrimSpace(s.Name+" "+shortVersion(s.Version)))
	}
	var rows [][]string
	for _, m := range metricsOf(c) {
		row := []string{metricTitle(m)}
		for _, s := range c.Servers {
			x := cellOf(c, m, s.Name)
			text := summaryCell(x)
			if spreads := x.spreads(); spreads != "" {
				text += "<br>" + spreads
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	writeTable(b, head, rows)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func writeTable(b *strings.Builder, head []string, rows [][]string) {
	writeRow(b, head)
	b.WriteString("|" + strings.Repeat(" --- |", len(head)) + "\n")
	for _, row := range rows {
		writeRow(b, row)
	}
}

func writeRow(b *strings.Builder, cells []string) {
	b.WriteByte('|')
	for _, cell := range cells {
		if cell = strings.ReplaceAll(cell, "|", `\|`); cell != "" {
			cell = " " + cell
		}
		b.WriteString(cell + " |")
	}
	b.WriteByte('\n')
}

// writeList writes nothing if there is nothing to list.
func writeList(b *strings.Builder, head string, items []string) {
	if len(items) == 0 {
		return
	}
	b.WriteString("\n" + head + "\n\n")
	for _, item := range items {
		b.WriteString("- " + plain.Replace(item) + "\n")
	}
}

// plain keeps what servers and clients said from being taken for Markdown.
var plain = strings.NewReplacer("*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "[", `\[`)

// What stands between these two lines of a README is made by this command.
const (
	beginLine = "<!-- The table is made by make report: do not edit it. -->"
	endLine   = "<!-- The end of the table. -->"
)

var errMarkers = errors.New("it must have the lines \"" + beginLine + "\" and \"" + endLine + "\" once each, in this order")

func replaceBetween(old, text string) (string, error) {
	before, _, err := between(old)
	if err != nil {
		return "", err
	}
	_, after, _ := strings.Cut(old, endLine+"\n")
	return before + beginLine + "\n\n" + text + "\n" + endLine + "\n" + after, nil
}

// between is what comes before the lines, and what stands between them.
func between(old string) (before, text string, err error) {
	if strings.Count(old, beginLine+"\n") != 1 || strings.Count(old, endLine+"\n") != 1 {
		return "", "", errMarkers
	}
	before, rest, _ := strings.Cut(old, beginLine+"\n")
	text, _, ok := strings.Cut(rest, endLine+"\n")
	if !ok {
		return "", "", errMarkers
	}
	return before, text, nil
}
