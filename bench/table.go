package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table is a list of names and values, the values aligned.
type table struct{ rows []string }

func (t *table) row(name, format string, values ...any) {
	t.rows = append(t.rows, name+"\t"+fmt.Sprintf(format, values...)+"\n")
}

func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(tw, strings.Join(t.rows, "")); err != nil {
		return err
	}
	return tw.Flush()
}

// WriteTable writes the result for people.
func (r *TickResult) WriteTable(w io.Writer) error {
	var t table
	t.row("tick", "%s, one message every %.3g s%s", r.URL, r.EverySeconds, BesideBusy(r.Busy))
	r.head(&t)
	t.row("lateness", "%s", r.Lateness)
	t.row("missing", "%d ticks, %d silent connections", r.MissingTicks, r.SilentConns)
	r.tail(&t)
	return t.write(w)
}

// WriteTable writes the result for people.
func (r *EchoResult) WriteTable(w io.Writer) error {
	var t table
	how := "closed loop"
	if r.RatePerSecond > 0 {
		how = fmt.Sprintf("%.6g a second", r.RatePerSecond)
	}
	t.row("echo", "%s, %d bytes, %s, at most %d in flight and %d a connection%s",
		r.URL, r.SizeBytes, how, r.Inflight, r.Pipeline, BesideBusy(r.Busy))
	r.head(&t)
	t.row("latency", "%s", r.Latency)
	if r.SendDelay != nil {
		t.row("of it unsent", "%s", r.SendDelay)
	}
	t.row("missing", "%d unanswered, %d never sent", r.Unanswered, r.Unsent)
	r.tail(&t)
	return t.write(w)
}

// WriteTable writes the result for people.
func (r *BroadcastResult) WriteTable(w io.Writer) error {
	var t table
	t.row("broadcast", "%s, %d bytes, %.6g a second to %d connections%s", r.URL, r.SizeBytes, r.RatePerSecond, r.Conns, BesideBusy(r.Busy))
	r.head(&t)
	t.row("first receipt", "%s", r.First)
	t.row("half of them", "%s", r.Median)
	t.row("last receipt", "%s", r.Last)
	t.row("of it unsent", "%s", r.SendDelay)
	t.row("missing", "%d deliveries, %d messages never sent", r.Missing, r.Unsent)
	if r.Stalled != nil {
		r.Stalled.rows(&t)
	}
	r.tail(&t)
	return t.write(w)
}

// WriteTable writes the result for people.
func (r *ConnectResult) WriteTable(w io.Writer) error {
	var t table
	how := "as fast as they open"
	if r.RatePerSecond > 0 {
		how = fmt.Sprintf("%.6g a second", r.RatePerSecond)
	}
	t.row("connect", "%s, %d connections, %s, %d times in %.2f s%s%s", r.URL, r.Conns, how, r.Rounds, r.DurationSeconds, r.cut(), BesideBusy(r.Busy))
	t.row("opened", "%d in %.2f s, %.0f/s", r.Opening.Opened, r.Opening.Seconds, r.Opening.ConnsPerSec)
	r.trouble(&t)
	t.row("time to open", "%s", r.Latency)
	if r.DialDelay != nil {
		t.row("of it undialled", "%s", r.DialDelay)
		t.row("never dialled", "%d", r.Undialled)
	}
	t.row("closed", "%d by the server in %.2f s, %d by the client", r.Closing.Closed, r.Closing.Seconds, r.Closing.Unclosed)
	if r.Server != nil {
		t.row("server CPU", "%.1f µs to open a connection and %.1f to close it; %.1f%% of a core while opening",
			r.Opening.ServerCPUUs, r.Closing.ServerCPUUs, r.Server.CPUPercent)
	}
	t.row("client CPU", "%.1f µs to open a connection and %.1f to close it; %.1f%% of a core while opening",
		r.Opening.ClientCPUUs, r.Closing.ClientCPUUs, r.Client.CPUPercent)
	r.warn(&t)
	return t.write(w)
}

// WriteTable writes the result for people.
func (r *IdleResult) WriteTable(w io.Writer) error {
	var t table
	t.row("idle", "%s%s", r.URL, BesideBusy(r.Busy))
	r.head(&t)
	for _, s := range r.Steps {
		t.row(fmt.Sprintf("%d connections", s.Conns), "%s", &s)
	}
	t.row("a connection", "%s", r.PerConn)
	t.row("server CPU", "%.2f%% of a core; %.1f µs to open a connection", r.Server.CPUPercent, r.Opening.ServerCPUUs)
	t.row("client CPU", "%.2f%% of a core", r.Client.CPUPercent)
	r.warn(&t)
	return t.write(w)
}

func (c *Common) head(t *table) {
	o := c.Opening
	t.row("opened", "%d of %d in %.2f s, %.0f/s", o.Opened, c.Conns, o.Seconds, o.ConnsPerSec)
	c.trouble(t)
	t.row("messages", "%d in %.2f s%s, %.0f/s, %s", c.Messages, c.DurationSeconds, c.cut(),
		c.MessagesPerSecond, size(float64(c.ReceivedBytes)))
}

func (c *Common) trouble(t *table) {
	if len(c.Opening.Failed) > 0 {
		t.row("failed", "%s", reasons(c.Opening.Failed))
	}
	if len(c.Lost) > 0 {
		t.row("lost", "%s", reasons(c.Lost))
	}
}

func (c *Common) cut() string {
	if c.Interrupted {
		return " (interrupted)"
	}
	return ""
}

func (c *Common) tail(t *table) {
	if c.Server != nil {
		t.row("server CPU", "%s; %.1f µs to open a connection", c.Server, c.Opening.ServerCPUUs)
		t.row("server memory", "%s", c.Memory)
	}
	t.row("client CPU", "%s", c.Client)
	c.warn(t)
}

func (c *Common) warn(t *table) {
	for _, warning := range c.Warnings {
		t.row("WARNING", "%s", warning)
	}
}

// String shows times in milliseconds.
func (p Percentiles) String() string {
	ms := func(us int64) string { return fmt.Sprintf("%.4g", float64(us)/1000) }
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms",
		ms(p.P50), ms(p.P90), ms(p.P99), ms(p.P999), ms(p.Max))
}

func (u Use) String() string {
	return fmt.Sprintf("%.2f µs a message, %.1f%% of a core, waited for one %.0f%% of the time", u.CPUUsPerMessage, u.CPUPercent, u.WaitPercent)
}

func (m *Memory) String() string {
	s := fmt.Sprintf("%s before, %s with %d connections, %s at the end; %.0f B a connection",
		size(float64(m.Before.RSSBytes)), size(float64(m.Open.RSSBytes)), m.Open.Conns,
		size(float64(m.End.RSSBytes)), m.BytesPerConn)
	if m.SlopeStart.Conns > 0 {
		s += fmt.Sprintf(", %.0f B from %d on", m.SlopeBytesPerConn, m.SlopeStart.Conns)
	}
	return s
}

// String shows what there is, resident and in the kernel.
func (s *IdleStep) String() string {
	text := size(float64(s.RSSBytes))
	if m := s.Runtime; m != nil {
		text += fmt.Sprintf(": heap %s, stacks %s, rest %s",
			size(float64(m.HeapInuse)), size(float64(m.StackInuse)), size(float64(s.Rest())))
	}
	return text + "; kernel " + size(float64(s.Kernel.Total()))
}

func (p PerConn) String() string {
	text := fmt.Sprintf("%.0f B", p.RSSBytes)
	if r := p.Runtime; r != nil {
		text += fmt.Sprintf(": heap %.0f, stacks %.0f, rest %.0f", r.HeapBytes, r.StackBytes, r.RestBytes)
	}
	return text + fmt.Sprintf("; kernel %.0f for this end (from %d connections on)", p.KernelBytes, p.FromConns)
}

// size shows bytes in the unit that fits.
func size(bytes float64) string {
	for _, unit := range []string{"B", "kB", "MB"} {
		if bytes < 1000 {
			return fmt.Sprintf("%.3g %s", bytes, unit)
		}
		bytes /= 1000
	}
	return fmt.Sprintf("%.3g GB", bytes)
}
