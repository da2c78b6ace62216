package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/bench/million"
)

// millionFile is the result of stillpool bench million, which is no comparison.
const millionFile = "million.json"

// loadMillion is nil without an error if there is no such result.
func loadMillion(dir string) (*million.Result, error) {
	var m million.Result
	path := filepath.Join(dir, millionFile)
	err := bench.ReadFile(path, &m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(m.Series) == 0 {
		return nil, fmt.Errorf("%s: it has no series", path)
	}
	return &m, nil
}

// millionTitle is by how many there were indeed.
func millionTitle(m *million.Result) string {
	return number(float64(m.Options.Conns), 0) + " connections"
}

// phases tell when each began.
func phases(m *million.Result) string {
	var all []string
	phase := ""
	for _, p := range m.Series {
		if p.Phase != phase {
			phase = p.Phase
			all = append(all, fmt.Sprintf("%s from %s s", phase, number(p.Second, 0)))
		}
	}
	return capital(strings.Join(all, ", ")) + "."
}

// overTime is a line of the series.
type overTime struct {
	name string
	of   func(million.Point) float64
}

// series draws lines by the time of the run.
func (f *figure) series(m *million.Result, lines ...overTime) *figure {
	f.x = axis{label: "time, s", zero: true}
	for i, l := range lines {
		var points plotter.XYs
		for _, p := range m.Series {
			points = append(points, plotter.XY{X: p.Second, Y: l.of(p)})
		}
		s := style{color: hex(tones[i].light), dashes: dashes[i]}
		f.draw(line{name: l.name, style: s, points: points})
	}
	return f
}

func rampFigure(r *results) *figure {
	if r.million == nil {
		return nil
	}
	f := &figure{
		id: "ramp", title: millionTitle(r.million) + ": open",
		text: "Connections of all client processes together that are open. " + phases(r.million),
		y:    axis{label: "connections open, thousands", zero: true},
	}
	return f.series(r.million, overTime{"open", func(p million.Point) float64 { return float64(p.Open) / 1000 }})
}

func millionMemoryFigure(r *results) *figure {
	if r.million == nil {
		return nil
	}
	f := &figure{
		id: "ramp-memory", title: millionTitle(r.million) + ": memory",
		text: "Resident memory of all server and all client processes, and what the kernel holds for both ends of the " +
			"connections and everything else (its slabs).",
		y: axis{label: "memory, GB", zero: true},
	}
	return f.series(r.million,
		overTime{"servers", func(p million.Point) float64 { return float64(p.ServerRSSBytes) / 1e9 }},
		overTime{"clients", func(p million.Point) float64 { return float64(p.ClientRSSBytes) / 1e9 }},
		overTime{"kernel", func(p million.Point) float64 { return float64(p.SlabBytes) / 1e9 }},
	)
}

func millionTicksFigure(r *results) *figure {
	if r.million == nil {
		return nil
	}
	f := &figure{
		id: "ramp-ticks", title: millionTitle(r.million) + ": messages",
		text: "Ticks that the servers handled a second, those of them that were not late, and those that they skipped " +
			"because the next one was due. " + phases(r.million),
		y: axis{label: "ticks a second, thousands", zero: true},
	}
	return f.series(r.million,
		overTime{"handled", func(p million.Point) float64 { return p.TicksPerSecond / 1000 }},
		overTime{"on time", func(p million.Point) float64 { return p.OnTimePerSecond / 1000 }},
		overTime{"skipped", func(p million.Point) float64 { return p.SkippedPerSecond / 1000 }},
	)
}

func millionCPUFigure(r *results) *figure {
	if r.million == nil {
		return nil
	}
	f := &figure{
		id: "ramp-cpu", title: millionTitle(r.million) + ": CPU",
		text: "Processor time of all server and all client processes, which share the machine.",
		y:    axis{label: "CPU, % of a core", zero: true},
	}
	return f.series(r.million,
		overTime{"servers", func(p million.Point) float64 { return p.ServerCPUPercent }},
		overTime{"clients", func(p million.Point) float64 { return p.ClientCPUPercent }},
	)
}

// millionTable is what the command itself prints.
func millionTable(m *million.Result) (string, error) {
	var b strings.Builder
	err := m.WriteTable(&b)
	return b.String(), err
}

// millionLine is the sentence of the README.
func millionLine(m *million.Result) string {
	s := fmt.Sprintf("`stillpool bench million` held %s connections, of %d server and %d client processes: %s were open at the end, "+
		"%s bytes of the servers' memory a connection",
		number(float64(m.Options.Conns), 0), m.Servers, m.Clients, number(float64(m.Open), 0), number(m.Memory.ServerRSSPerConn, 0))
	if h := m.Hold; h != nil {
		s += fmt.Sprintf("; a message to each every %s s for %s s, %s in all, %s missing",
			number(h.EverySeconds, 0), number(h.Seconds, 0), number(float64(h.Messages), 0), number(float64(h.Missing), 0))
	}
	return s + ".\n"
}
