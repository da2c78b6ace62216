package main

import (
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/stillpool/stillpool/bench"
)

// part is one of several values of each server that are drawn on the server's row.
type part struct {
	name  string
	shape draw.GlyphDrawer
	of    func(*bench.Comparison, string) float64 // of a server
}

// metric is a part that is one.
func metric(name string) func(*bench.Comparison, string) float64 {
	return func(c *bench.Comparison, server string) float64 { return medianOf(c, name, server) }
}

// ranges has a row a server, the first at the top, with a marker for each part and a line through them.
func (f *figure) ranges(r *results, c *bench.Comparison, parts []part) {
	var rows []string
	for _, s := range c.Servers {
		if len(s.Rounds) > 0 {
			rows = append(rows, s.Name)
		}
	}
	slices.Reverse(rows)
	f.y.names = rows
	for i, server := range rows {
		var across plotter.XYs
		for _, p := range parts {
			at := plotter.XY{X: p.of(c, server), Y: float64(i)}
			across = append(across, at)
			f.draw(line{style: style{color: r.styleOf(server).color, shape: p.shape}, points: plotter.XYs{at}, bare: true})
		}
		f.draw(line{style: style{color: r.styleOf(server).color}, points: across})
	}
	for _, p := range parts {
		f.keys = append(f.keys, line{name: p.name, style: style{color: ink, shape: p.shape}, bare: true})
	}
}

func connectFigure(r *results) *figure {
	c := r.named("connect")
	if c == nil {
		return nil
	}
	f := &figure{
		id: "connect", title: "Processor time of a connection",
		text: c.Title + ": what the server spends to accept and upgrade one, and to close it.",
		x:    axis{label: "server CPU a connection, µs", log: true},
	}
	f.ranges(r, c, []part{
		{"to open", dot, metric("open_cpu")},
		{"to close", ring, metric("close_cpu")},
	})
	return f
}

func broadcastFigure(r *results) *figure {
	c := r.named("broadcast")
	if c == nil {
		return nil
	}
	f := &figure{
		id: "broadcast", title: "Broadcast",
		text: c.Title + ": from when a message was due until the first connection has it, half of them, and the last. Medians of the messages.",
		x:    axis{label: "time until received, ms", log: true},
	}
	f.ranges(r, c, []part{
		{"first", ring, metric("first_p50")},
		{"half", cross{}, metric("median_p50")},
		{"last", dot, metric("last_p50")},
	})
	return f
}

func attackFigure(r *results) *figure {
	c := r.named("attack")
	if c == nil || c.Job.Attack == nil || c.Job.Attack.Each {
		return nil
	}
	f := &figure{
		id: "attack", title: "Good clients beside hostile ones",
		text: c.Title + ": 99th percentile of the good clients' echoes, alone, while another server on the machine is attacked, and " +
			"while their own is. How many good clients were harmed is in the table.",
		x: axis{label: "latency p99 of good clients, ms", log: true},
	}
	f.ranges(r, c, []part{
		{"alone", ring, metric("p99_alone")},
		{"beside an attack on another server", shape{corners: 3, turn: quarter}, controlP99},
		{"beside an attack on theirs", dot, metric("p99_beside")},
	})
	return f
}

// attackKindFigure has a row a kind, with a marker for each server.
func attackKindFigure(r *results) *figure {
	kinds := r.series("attack-kind")
	if len(kinds) == 0 {
		return nil
	}
	f := &figure{
		id: "attack-kind", title: "Good clients beside each kind of hostile ones",
		text: kinds[0].Title + ": 99th percentile of the good clients' echoes while their server is attacked.",
		x:    axis{label: "latency p99 of good clients, ms", log: true},
	}
	slices.Reverse(kinds)
	for _, c := range kinds {
		f.y.names = append(f.y.names, c.Point.Name)
	}
	for _, server := range serversOf(kinds[0]) {
		l := line{name: server, style: r.styleOf(server), bare: true}
		for i, c := range kinds {
			l.points = append(l.points, plotter.XY{X: medianOf(c, "p99_beside", server), Y: float64(i)})
		}
		f.draw(l)
	}
	return f
}

func controlP99(c *bench.Comparison, server string) float64 {
	return median(c.Server(server), func(s bench.Sample) float64 {
		control := s.Attack.Rounds[0].Control
		if control == nil {
			return math.NaN()
		}
		return float64(control.Latency.P99) / 1000
	})
}
