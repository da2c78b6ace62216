package bench

import (
	"math"
	"slices"
)

// Metric is a number that a sample of a scenario has. One that was not measured, as for want of the
// server's process id or of its pprof, is NaN; that is never written to JSON, which has none, because
// metrics are worked out from samples when they are needed.
type Metric struct {
	Name   string // as in JSON and in budgets: server_cpu
	Title  string // as in tables, without the unit
	Unit   string // empty for a count
	Digits int    // after the point
	// HigherIsBetter tells which server is best; Neutral metrics are there to judge the run.
	HigherIsBetter bool
	Neutral        bool

	of func(Sample) float64
}

// Of is the metric's value in a sample of the scenario that it belongs to.
func (m Metric) Of(s Sample) float64 { return m.of(s) }

// Spread is that of all rounds of a server in which it was measured.
func (m Metric) Spread(c *Contestant) Spread {
	var values []float64
	for _, s := range c.Rounds {
		values = append(values, m.of(s))
	}
	return SpreadOf(values)
}

// Pairs returns the metric of one server in ratio to that of another in each round that both came through. It leaves
// out rounds without such a ratio.
func (m Metric) Pairs(c *Comparison, name, other string) (ratios []float64) {
	a, b := c.Server(name), c.Server(other)
	of := map[int]float64{} // of the other one, by rounds
	for i, s := range b.Rounds {
		of[b.Round(i)] = m.of(s)
	}
	for i, s := range a.Rounds {
		if ratio := m.of(s) / of[a.Round(i)]; finite(ratio) {
			ratios = append(ratios, ratio)
		}
	}
	return ratios
}

// Metrics are those of the comparison's scenario, in the order of importance.
func (c *Comparison) Metrics() []Metric { return c.Job.Metrics() }

// Metrics are those of the job's scenario, in the order of importance.
func (j Job) Metrics() []Metric {
	switch {
	case j.Tick != nil:
		return tickMetrics
	case j.Echo != nil:
		return echoMetrics
	case j.Broadcast != nil:
		return j.Broadcast.metrics()
	case j.Connect != nil:
		return connectMetrics
	case j.Idle != nil:
		return idleMetrics
	case j.Attack != nil:
		return j.Attack.metrics()
	}
	return nil
}

// Metric finds one by its name.
func (c *Comparison) Metric(name string) (Metric, bool) {
	all := c.Metrics()
	i := slices.IndexFunc(all, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return all[i], true
}

var (
	serverCPU = Metric{Name: "server_cpu", Title: "server CPU a message", Unit: "µs", Digits: 2,
		of: ofServer(func(c *Common) float64 {
			if c.Messages == 0 {
				return math.NaN() // it is not the cheapest that sends none
			}
			return c.Server.CPUUsPerMessage
		})}
	openCPU = Metric{Name: "open_cpu", Title: "server CPU to open a connection", Unit: "µs", Digits: 1,
		of: ofServer(func(c *Common) float64 { return c.Opening.ServerCPUUs })}
	memory = Metric{Name: "memory", Title: "memory a connection", Unit: "B",
		of: ofServer(func(c *Common) float64 { return c.Memory.perConn() })}
	gone = Metric{Name: "gone", Title: "connections failed or lost",
		of: func(s Sample) float64 { return float64(s.Common().Conns - s.Common().Open) }}
	clientCPU = Metric{Name: "client_cpu", Title: "client CPU", Unit: "% of a core", Neutral: true,
		of: func(s Sample) float64 { return s.Common().Client.CPUPercent }}
	clientWait = Metric{Name: "client_wait", Title: "client waited for a processor", Unit: "% of the time", Neutral: true,
		of: func(s Sample) float64 { return s.Common().Client.waited() }}
	serverWait = Metric{Name: "server_wait", Title: "server waited for a processor", Unit: "% of the time", Neutral: true,
		of: ofServer(func(c *Common) float64 { return c.Server.waited() })}
)

// waited is NaN where the kernel does not account for it.
func (u *Use) waited() float64 {
	if u.WaitPercent == 0 {
		return math.NaN()
	}
	return u.WaitPercent
}

// ofServer is for what takes the server's process id.
func ofServer(value func(*Common) float64) func(Sample) float64 {
	return func(s Sample) float64 {
		c := s.Common()
		if c.Server == nil {
			return math.NaN()
		}
		return value(c)
	}
}

var tickMetrics = []Metric{
	serverCPU,
	{Name: "lateness_p50", Title: "lateness, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Tick.Lateness.P50) }},
	{Name: "lateness_p99", Title: "lateness, p99", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Tick.Lateness.P99) }},
	{Name: "missing", Title: "ticks missing",
		of: func(s Sample) float64 { return float64(s.Tick.MissingTicks) }},
	memory, openCPU, gone, clientCPU, clientWait, serverWait,
}

var echoMetrics = []Metric{
	{Name: "rate", Title: "messages a second", HigherIsBetter: true,
		of: func(s Sample) float64 { return s.Echo.MessagesPerSecond }},
	serverCPU,
	{Name: "per_cpu", Title: "messages a second for each percent of a core", HigherIsBetter: true,
		of: ofServer(func(c *Common) float64 { return c.MessagesPerSecond / c.Server.CPUPercent })},
	{Name: "latency_p50", Title: "latency, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Echo.Latency.P50) }},
	{Name: "latency_p99", Title: "latency, p99", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Echo.Latency.P99) }},
	{Name: "missing", Title: "messages unanswered or never sent",
		of: func(s Sample) float64 { return float64(s.Echo.Unanswered + s.Echo.Unsent) }},
	memory, openCPU, gone, clientCPU, clientWait, serverWait,
}

var broadcastMetrics = []Metric{
	{Name: "first_p50", Title: "first receipt, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Broadcast.First.P50) }},
	{Name: "median_p50", Title: "median receipt, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Broadcast.Median.P50) }},
	{Name: "last_p50", Title: "last receipt, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Broadcast.Last.P50) }},
	{Name: "last_p99", Title: "last receipt, p99", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Broadcast.Last.P99) }},
	{Name: "server_cpu", Title: "server CPU a delivery", Unit: "µs", Digits: 2, of: serverCPU.of},
	{Name: "missing", Title: "deliveries missing",
		of: func(s Sample) float64 {
			return float64(s.Broadcast.Missing + s.Broadcast.Unsent*int64(s.Broadcast.Conns))
		}},
	{Name: "gone", Title: "connections failed or lost",
		of: func(s Sample) float64 {
			n := gone.of(s)
			if st := s.Broadcast.Stalled; st != nil {
				n -= float64(st.EndedMeanwhile) // which is not to be held against a server
			}
			return n
		}},
	clientCPU,
}

// stalledMetrics are those of a broadcast with connections that never read.
var stalledMetrics = []Metric{
	{Name: "stalled_peak", Title: "server memory more at the peak", Unit: "MB", Digits: 1,
		of: ofStalled(func(s *StalledResult) *Level { return s.RSS })},
	{Name: "stalled_sockets", Title: "memory of sockets more at the peak", Unit: "MB", Digits: 1,
		of: ofStalled(func(s *StalledResult) *Level { return &s.Sockets })},
	{Name: "stalled_ended", Title: "stalled connections that the server ended", Neutral: true,
		of: func(s Sample) float64 { return float64(sum(s.Broadcast.Stalled.Ends)) }},
}

// ofStalled is how far a memory grew, in MB; nil is for what was not measured.
func ofStalled(level func(*StalledResult) *Level) func(Sample) float64 {
	return func(s Sample) float64 {
		if l := level(s.Broadcast.Stalled); l != nil {
			return float64(l.Peak-l.Before) / 1e6
		}
		return math.NaN()
	}
}

func (o *BroadcastOptions) metrics() []Metric {
	if o.Stalled == 0 {
		return broadcastMetrics
	}
	return slices.Concat(broadcastMetrics, stalledMetrics)
}

var connectMetrics = []Metric{
	{Name: "rate", Title: "connections a second", HigherIsBetter: true,
		of: func(s Sample) float64 { return s.Connect.Opening.ConnsPerSec }},
	openCPU,
	{Name: "close_cpu", Title: "server CPU to close a connection", Unit: "µs", Digits: 1,
		of: func(s Sample) float64 {
			if s.Connect.Server == nil {
				return math.NaN()
			}
			return s.Connect.Closing.ServerCPUUs
		}},
	{Name: "open_p50", Title: "time to open, median", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Connect.Latency.P50) }},
	{Name: "open_p99", Title: "time to open, p99", Unit: "ms", Digits: 3,
		of: func(s Sample) float64 { return millis(s.Connect.Latency.P99) }},
	{Name: "gone", Title: "connections failed or lost",
		of: func(s Sample) float64 { return float64(sum(s.Connect.Opening.Failed) + sum(s.Connect.Lost)) }},
	clientCPU,
}

var idleMetrics = []Metric{
	{Name: "memory", Title: "memory a connection", Unit: "B",
		of: func(s Sample) float64 { return s.Idle.PerConn.RSSBytes }},
	{Name: "heap", Title: "of it heap", Unit: "B",
		of: ofRuntime(func(r *RuntimePerConn) float64 { return r.HeapBytes })},
	{Name: "stacks", Title: "of it stacks", Unit: "B",
		of: ofRuntime(func(r *RuntimePerConn) float64 { return r.StackBytes })},
	{Name: "runtime", Title: "of it the rest of the runtime", Unit: "B",
		of: ofRuntime(func(r *RuntimePerConn) float64 { return r.RestBytes })},
	{Name: "kernel", Title: "kernel memory of one end", Unit: "B",
		of: func(s Sample) float64 { return s.Idle.PerConn.KernelBytes }},
	{Name: "idle_cpu", Title: "server CPU while nothing happens", Unit: "% of a core", Digits: 2,
		of: ofServer(func(c *Common) float64 { return c.Server.CPUPercent })},
	gone,
}

// ofRuntime is for what takes the server's pprof.
func ofRuntime(value func(*RuntimePerConn) float64) func(Sample) float64 {
	return func(s Sample) float64 {
		if r := s.Idle.PerConn.Runtime; r != nil {
			return value(r)
		}
		return math.NaN()
	}
}

// metrics are those of each attack; if there are several, their names begin with that of the kind.
func (o *AttackOptions) metrics() (all []Metric) {
	if !o.Each {
		return attackMetrics("", 0)
	}
	kinds := o.Kinds
	if len(kinds) == 0 {
		kinds = KindNames()
	}
	for i, name := range kinds {
		all = append(all, attackMetrics(name+": ", i)...)
	}
	return all
}

func attackMetrics(prefix string, round int) []Metric {
	of := func(name, title, unit string, digits int, value func(*Round) float64) Metric {
		return Metric{Name: prefix + name, Title: prefix + title, Unit: unit, Digits: digits,
			of: func(s Sample) float64 { return value(s.Attack.Rounds[round]) }}
	}
	return []Metric{
		of("p99_alone", "p99 alone", "ms", 3, func(r *Round) float64 { return millis(r.Alone.Latency.P99) }),
		of("p99_beside", "p99 beside", "ms", 3, func(r *Round) float64 { return millis(r.Beside.Latency.P99) }),
		of("p99_of_alone", "p99, times of alone", "", 2, func(r *Round) float64 { _, p99 := r.Ratios(); return p99 }),
		of("p99_of_control", "p99, times of control", "", 2, func(r *Round) float64 {
			if r.Control == nil {
				return math.NaN()
			}
			return float64(r.Beside.Latency.P99) / float64(r.Control.Latency.P99)
		}),
		of("harmed", "good clients harmed", "", 0, func(r *Round) float64 { return float64(r.Beside.Harm()) }),
		of("peak", "memory more at the peak", "MB", 0, func(r *Round) float64 {
			if r.Memory == nil {
				return math.NaN()
			}
			return float64(r.Memory.PeakBytes-r.Memory.BeforeBytes) / 1e6
		}),
		of("peak_total", "server memory at the peak", "MB", 0, func(r *Round) float64 {
			if r.Memory == nil {
				return math.NaN()
			}
			return float64(r.Memory.PeakBytes) / 1e6
		}),
		of("server_cpu", "server CPU", "% of a core", 0, func(r *Round) float64 { return r.Beside.ServerCPUPercent }),
	}
}

func millis(us int64) float64 { return float64(us) / 1000 }
