package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/stillpool/stillpool/bench"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// page is what the template is given.
type page struct {
	Style    template.CSS
	Days     string
	Rounds   string
	Machines []string
	Servers  []serverRow
	Figures  []pageFigure
	Sections []section
	Million  millionPart
}

// millionPart is empty if there is no such result.
type millionPart struct{ Title, Machine, Table string }

type serverRow struct {
	Name               string
	Versions, Settings []string
}

type pageFigure struct {
	ID, Title, Text string
	SVG             template.HTML
	Legend          []entry
}

// section is a comparison.
type section struct {
	Name, Title, Job, Rounds, Started string
	Machine                           string // if there are several
	Repeat                            string // the command
	Metrics                           []heading
	Rows                              []row
	Failures, Warnings                []string
}

type heading struct{ Title, Unit string }

type row struct {
	Name, Version string
	Cells         []pageCell
}

type pageCell struct {
	Median, Times, Spread string
	Better                bool
	Failed                string
}

// writePage writes one file that needs no other.
func writePage(w io.Writer, r *results) error {
	figures, err := r.figures()
	if err != nil {
		return err
	}
	p := page{Style: template.CSS(colours() + pageStyle), Days: r.days(), Rounds: roundsLine(r.comparisons)}
	for _, m := range r.machines() {
		p.Machines = append(p.Machines, machineLine(m))
	}
	for _, server := range r.servers {
		p.Servers = append(p.Servers, serverRow{server, r.versions(server), r.settings(server)})
	}
	for _, f := range figures {
		p.Figures = append(p.Figures, pageFigure{f.id, f.title, f.text, f.svg, f.legend})
	}
	for _, c := range r.comparisons {
		s := sectionOf(c)
		if len(p.Machines) > 1 {
			s.Machine = machineLine(c.Machine)
		}
		p.Sections = append(p.Sections, s)
	}
	if m := r.million; m != nil {
		table, err := millionTable(m)
		if err != nil {
			return err
		}
		p.Million = millionPart{millionTitle(m), machineLine(m.Machine), table}
	}
	return pageTemplate.Execute(w, p)
}

func sectionOf(c *bench.Comparison) section {
	s := section{
		Name: c.Name, Title: c.Title, Job: c.Job.Describe(), Rounds: capital(roundsLine([]*bench.Comparison{c})),
		Started:  c.Started.UTC().Format("2 January 2006 15:04 UTC"),
		Repeat:   fmt.Sprintf("bin/peers suite --stillpool-bin bin/stillpool --out DIR --only %s --rounds %d", series(c), rounds(c)),
		Failures: failures(c), Warnings: warnings(c),
	}
	metrics := metricsOf(c)
	for _, m := range metrics {
		s.Metrics = append(s.Metrics, heading{m.Title, m.Unit})
	}
	for _, server := range c.Servers {
		r := row{Name: server.Name, Version: shortVersion(server.Version)}
		for _, m := range metrics {
			r.Cells = append(r.Cells, pageCellOf(cellOf(c, m, server.Name)))
		}
		s.Rows = append(s.Rows, r)
	}
	return s
}

func pageCellOf(x cell) pageCell {
	p := pageCell{Median: x.median(), Times: x.times(), Spread: x.spreads(), Better: x.better}
	if x.failed > 0 && x.failed < x.rounds {
		p.Failed = fmt.Sprintf("%d of %d failed", x.failed, x.rounds)
	}
	return p
}

// colours are the variables of the style sheet.
func colours() string {
	light, dark := "", ""
	for _, t := range tones {
		light += t.name + ":" + t.light + ";"
		dark += t.name + ":" + t.dark + ";"
	}
	return ":root{" + light + "}\n@media screen and (prefers-color-scheme:dark){:root{" + dark + "}}\n"
}
