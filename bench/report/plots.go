package main

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/stillpool/stillpool/bench"
)

// figures are those for which there are results.
func (r *results) figures() (all []*figure, err error) {
	for _, make := range []func(*results) *figure{
		memoryFigure, latenessFigure, tickRateFigure, echoFigure, echoLatencyFigure, connectFigure,
		broadcastFigure, attackFigure, attackKindFigure,
		rampFigure, millionMemoryFigure, millionTicksFigure, millionCPUFigure,
	} {
		f := make(r)
		if f == nil || len(f.lines) == 0 {
			continue
		}
		if err := f.render(); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// median of a value over the rounds of a server; NaN if there is none.
func median(s *bench.Contestant, of func(bench.Sample) float64) float64 {
	var values []float64
	for _, sample := range s.Rounds {
		values = append(values, of(sample))
	}
	return bench.SpreadOf(values).Median
}

// medianOf a metric; NaN if the comparison does not have it.
func medianOf(c *bench.Comparison, metric, server string) float64 {
	m, ok := c.Metric(metric)
	s := c.Server(server)
	if !ok || s == nil {
		return math.NaN()
	}
	return finite(m, s).Median
}

// draw leaves out what has no place on the axes, and lines without points.
func (f *figure) draw(l line) {
	l.points = slices.DeleteFunc(l.points, func(p plotter.XY) bool { return !f.x.has(p.X) || !f.y.has(p.Y) })
	if len(l.points) > 0 {
		f.lines = append(f.lines, l)
	}
}

func (a axis) has(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || !a.log) }

func memoryFigure(r *results) *figure {
	c := r.named("idle")
	if c == nil {
		return nil
	}
	f := &figure{
		id: "memory", title: "Memory by idle connections",
		text: "Resident memory of the server process while it holds so many connections that say nothing. " +
			"The axis of memory is logarithmic; what the kernel holds for sockets is not in it.",
		x: axis{label: "connections", zero: true},
		y: axis{label: "resident memory, MB", log: true},
	}
	for i := range c.Servers {
		s := &c.Servers[i]
		f.draw(line{name: s.Name, style: r.styleOf(s.Name), points: memoryPoints(s)})
	}
	return f
}

// memoryPoints are the medians of the steps, which all rounds have alike.
func memoryPoints(s *bench.Contestant) (points plotter.XYs) {
	if len(s.Rounds) == 0 {
		return nil
	}
	for i, step := range s.Rounds[0].Idle.Steps {
		mb := median(s, func(sample bench.Sample) float64 {
			if i >= len(sample.Idle.Steps) {
				return math.NaN()
			}
			return float64(sample.Idle.Steps[i].RSSBytes) / 1e6
		})
		points = append(points, plotter.XY{X: float64(step.Conns), Y: mb})
	}
	return points
}

func latenessFigure(r *results) *figure {
	c := r.named("tick")
	if c == nil {
		return nil
	}
	f := &figure{
		id: "lateness", title: "How late ticks come",
		text: c.Title + ": so many percent of the messages came at most so late. " +
			"The axis of percentiles is logarithmic in what is left to 100: each step to the right is a tenth of the messages. " +
			"Less than 0.01 ms is drawn as that.",
		x: axis{label: "percentile of messages, %", ticks: percentileTicks},
		y: axis{label: "lateness, ms", log: true},
	}
	for i := range c.Servers {
		s := &c.Servers[i]
		curve := curveOf(s, func(sample bench.Sample) ([]bench.CurvePoint, int64) {
			return sample.Tick.Curve, sample.Tick.Messages
		})
		f.draw(line{name: s.Name, style: r.styleOf(s.Name), points: curve, marks: marked(curve)})
	}
	return f
}

// tail is where a percentile is on a logarithmic axis: 90 at 1, 99 at 2, 99.9 at 3.
func tail(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

var percentileTicks = func() (all []plot.Tick) {
	for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		all = append(all, plot.Tick{Value: tail(p), Label: tickLabel(p)})
	}
	return all
}()

// leastLate is where the axis begins, in microseconds: what is less is nothing.
const leastLate = 10

// curveOf takes the median of the rounds at each percentile, up to where one message of a round is left:
// beyond that all percentiles are the latest message's.
func curveOf(s *bench.Contestant, of func(bench.Sample) ([]bench.CurvePoint, int64)) (points plotter.XYs) {
	if len(s.Rounds) == 0 {
		return nil
	}
	first, messages := of(s.Rounds[0])
	for i, p := range first {
		if (100-p.Percentile)/100*float64(messages) < 1 {
			break
		}
		us := median(s, func(sample bench.Sample) float64 {
			curve, _ := of(sample)
			if i >= len(curve) {
				return math.NaN()
			}
			return float64(max(leastLate, curve[i].US))
		})
		points = append(points, plotter.XY{X: tail(p.Percentile), Y: us / 1000})
	}
	return points
}

// marked are the points of a curve that have markers: those at the ticks, but for the first, where all
// are the same.
func marked(curve plotter.XYs) (marks plotter.XYs) {
	for _, p := range curve {
		for _, t := range percentileTicks {
			if t.Value > 0 && math.Abs(p.X-t.Value) < 1e-6 {
				marks = append(marks, p)
			}
		}
	}
	return marks
}

func tickRateFigure(r *results) *figure {
	points := r.series("tick-rate")
	if len(points) == 0 {
		return nil
	}
	f := &figure{
		id: "tick-rate", title: "CPU by the rate of ticks",
		text: "Processor time of the server while it sends to 9,000 connections, each in a fixed period.",
		x:    axis{label: "messages a second", zero: true},
		y:    axis{label: "server CPU, % of a core", zero: true},
	}
	if c := r.named("tick"); c != nil {
		points = append([]*bench.Comparison{c}, points...)
	}
	for _, server := range serversOf(points[len(points)-1]) {
		l := line{name: server, style: r.styleOf(server)}
		for _, c := range points {
			if s := c.Server(server); s != nil {
				l.points = append(l.points, plotter.XY{X: median(s, messageRate), Y: median(s, cpuPercent)})
			}
		}
		f.draw(l)
	}
	return f
}

func serversOf(c *bench.Comparison) (all []string) {
	for _, s := range c.Servers {
		all = append(all, s.Name)
	}
	return all
}

func messageRate(s bench.Sample) float64 { return s.Common().MessagesPerSecond }

func cpuPercent(s bench.Sample) float64 {
	if u := s.Common().Server; u != nil {
		return u.CPUPercent
	}
	return math.NaN()
}

func echoFigure(r *results) *figure {
	f := &figure{
		id: "echo", title: "Echoes against CPU",
		text: "Echoes of 64 bytes over 5,000 connections. A line is a server at fixed rates; a marker by itself is " +
			"the same server with 500 messages always in flight, as fast as they come back. Further to the right is better, and lower.",
		x: axis{label: "echoes a second", zero: true},
		y: axis{label: "server CPU, % of a core", zero: true},
	}
	rates, closed := r.series("echo-rate"), r.named("echo-64")
	for _, server := range r.servers {
		l := line{name: server, style: r.styleOf(server)}
		for _, c := range rates {
			if s := c.Server(server); s != nil {
				l.points = append(l.points, plotter.XY{X: median(s, messageRate), Y: median(s, cpuPercent)})
			}
		}
		f.draw(l)
		if closed == nil {
			continue
		}
		if s := closed.Server(server); s != nil {
			alone := line{style: r.styleOf(server), bare: true}
			if len(l.points) == 0 {
				alone.name = server
			}
			alone.points = plotter.XYs{{X: median(s, messageRate), Y: median(s, cpuPercent)}}
			f.draw(alone)
		}
	}
	return f
}

func echoLatencyFigure(r *results) *figure {
	points := r.series("echo-rate")
	if len(points) == 0 {
		return nil
	}
	f := &figure{
		id: "echo-latency", title: "Latency by the rate of echoes",
		text: "99th percentile of the time from when a message was due until it was back, so that a server that falls " +
			"behind is not spared the messages that had to wait.",
		x: axis{label: "messages due a second", zero: true},
		y: axis{label: "latency p99, ms", log: true},
	}
	for _, server := range serversOf(points[0]) {
		l := line{name: server, style: r.styleOf(server)}
		for _, c := range points {
			l.points = append(l.points, plotter.XY{X: c.Point.Value, Y: medianOf(c, "latency_p99", server)})
		}
		f.draw(l)
	}
	return f
}
