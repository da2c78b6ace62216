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
	t.row("tick", "%s, one message every %.3g s", r.URL, r.EverySeconds)
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
	t.row("echo", "%s, %d bytes, %s, at most %d in flight and %d a connection",
		r.URL, r.SizeBytes, how, r.Inflight, r.Pipeline)
	r.head(&t)
	t.row("latency", "%s", r.Latency)
	if r.SendDelay != nil {
		t.row("of it unsent", "%s", r.SendDelay)
	}
	t.row("missing", "%d unanswered, %d never sent", r.Unanswered, r.Unsent)
	r.tail(&t)
	return t.write(w)
}

func (c *Common) head(t *table) {
	o := c.Opening
	t.row("opened", "%d of %d in %.2f s, %.0f/s", o.Opened, c.Conns, o.Seconds, o.ConnsPerSec)
	if len(o.Failed) > 0 {
		t.row("failed", "%s", reasons(o.Failed))
	}
	if len(c.Lost) > 0 {
		t.row("lost", "%s", reasons(c.Lost))
	}
	cut := ""
	if c.Interrupted {
		cut = " (interrupted)"
	}
	t.row("messages", "%d in %.2f s%s, %.0f/s, %s", c.Messages, c.DurationSeconds, cut,
		c.MessagesPerSecond, size(float64(c.ReceivedBytes)))
}

func (c *Common) tail(t *table) {
	if c.Server != nil {
		t.row("server CPU", "%s; %.1f µs to open a connection", c.Server, c.Opening.ServerCPUUs)
		t.row("server memory", "%s", c.Memory)
	}
	t.row("client CPU", "%s", c.Client)
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
	return fmt.Sprintf("%.2f µs a message, %.1f%% of a core", u.CPUUsPerMessage, u.CPUPercent)
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
