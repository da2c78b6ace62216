package bench

import "time"

// ConnectResult is what [Connect] measured. In Common, Opening is that of all rounds together, Open is
// what was left at the end, and Client and Server are the processor time of opening, without the
// pauses.
type ConnectResult struct {
	Common
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	PauseSeconds  float64 `json:"pause_seconds"`
	Rounds        int     `json:"rounds"`
	// Undialled connections were due when the time was over, at a given rate. They are in Latency with
	// the time that they had waited; those that failed are not in it.
	Undialled int64 `json:"undialled,omitempty"`
	// Latency counts from connect, or at a given rate from when a connection was due, until the answer
	// to the upgrade was checked. DialDelay is how much of it had passed before the client connected,
	// for its own slowness or because so many others were under way.
	Latency   Percentiles  `json:"latency"`
	Curve     []CurvePoint `json:"latency_curve,omitempty"`
	DialDelay *Percentiles `json:"dial_delay,omitempty"`
	Closing   Closing      `json:"closing"`
}

// Closing tells how the connections closed, of all rounds together.
type Closing struct {
	Closed int `json:"closed"` // by the server, after our close frame
	// Unclosed connections were still there after the ConnectTimeout; the client closed them.
	Unclosed    int     `json:"unclosed,omitempty"`
	Seconds     float64 `json:"seconds"` // pauses left out
	ClientCPUUs float64 `json:"client_cpu_us_per_conn"`
	// ServerCPUUs has what the server did in the pause after it, as that of Opening has.
	ServerCPUUs float64 `json:"server_cpu_us_per_conn,omitempty"`
}

func (c *connectRun) resultAfter(took time.Duration) *ConnectResult {
	r, o := c.run, c.options
	res := &ConnectResult{
		RatePerSecond: o.Rate, PauseSeconds: o.Pause.Seconds(), Rounds: c.rounds, Undialled: c.undialled,
		Latency: percentilesOf(c.latency), Curve: curveOf(c.latency), Closing: c.closingResult(),
	}
	if o.Rate > 0 {
		p := percentilesOf(c.delay)
		res.DialDelay = &p
	}
	res.URL, res.Conns, res.Loops, res.Busy = o.URL, o.Conns, o.Loops, o.Busy
	res.Opening = c.openingResult()
	res.Lost = c.lost
	res.DurationSeconds, res.Interrupted = took.Seconds(), r.interrupted
	res.ReceivedBytes = c.bytesIn
	res.Client = useOf(c.opening.client, c.opening.time, 0)
	if r.server != nil {
		use := useOf(c.opening.server, c.opening.time, 0)
		res.Server, res.Memory = &use, r.memory.withRatios()
	}
	res.Warnings = append(bottleneck(res.Client, o.Loops), tardiness("the client", percentilesOf(c.late), res.Latency)...)
	return res
}

func (c *connectRun) openingResult() Opening {
	o := Opening{Opened: c.opened, Failed: c.failed, Seconds: c.opening.time.Seconds()}
	o.clientCPU, o.serverCPU = c.opening.client, c.opening.server+c.opening.late
	o.withRatios()
	return o
}

func (c *connectRun) closingResult() Closing {
	n := float64(max(1, c.closed+c.unclosed))
	return Closing{
		Closed: c.closed, Unclosed: c.unclosed, Seconds: c.closing.time.Seconds(),
		ClientCPUUs: micros(c.closing.client) / n,
		ServerCPUUs: micros(c.closing.server+c.closing.late) / n,
	}
}
