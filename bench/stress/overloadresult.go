package stress

import (
	"fmt"
	"io"

	"github.com/stillpool/stillpool/bench"
)

// OverloadResult is what [Overload] measured.
type OverloadResult struct {
	Options       OverloadOptions `json:"options"`
	RatePerSecond float64         `json:"sustainable_per_second"` // found out, or given
	Light         *Load           `json:"light,omitempty"`        // a quarter of it, for comparison
	Loads         []*Load         `json:"loads"`
}

// Load is a rate of ticks, and how it treated what was beside it.
type Load struct {
	Times          float64 `json:"times"` // of what is sustainable
	EverySeconds   float64 `json:"every_seconds"`
	AskedPerSecond float64 `json:"asked_per_second"`
	Seconds        float64 `json:"seconds"`
	PerSecond      float64 `json:"messages_per_second"` // that came
	Server         View    `json:"server"`
	Deposed        uint64  `json:"deposed"` // loops, by the server
	Share          Share   `json:"share"`   // of messages, over the ticked connections

	Echo       bench.Percentiles `json:"echo"` // from when a message was due
	Unanswered int64             `json:"unanswered"`
	Opening    float64           `json:"opening_seconds"` // of all connections with echoes, under the load
	Close      Closes            `json:"close"`

	Lost             map[string]int `json:"lost,omitempty"` // ticked connections, since the beginning
	ServerCPUPercent float64        `json:"server_cpu_percent"`
	ClientCPUPercent float64        `json:"client_cpu_percent"`
	Recovery         *Recovery      `json:"recovery,omitempty"`
	Warnings         []string       `json:"warnings,omitempty"`
}

// WriteTable writes the result for people.
func (r *OverloadResult) WriteTable(w io.Writer) error {
	o := r.Options
	t := newTable(w)
	t.row("overload", "%d connections, ticks of %v; %.0f a second can be carried%s", o.Conns, o.Work, r.RatePerSecond, bench.BesideBusy(o.Busy))
	for _, l := range append([]*Load{r.Light}, r.Loads...) {
		if l != nil {
			l.rows(t)
		}
	}
	return t.Flush()
}

func (l *Load) rows(t table) {
	t.row(fmt.Sprintf("%.4g times", l.Times), "%.0f ticks a second asked for, %.0f came in %.1f s", l.AskedPerSecond, l.PerSecond, l.Seconds)
	t.row("  ticks", "%d run, %d late, %d skipped; late p50 ≤ %v  p99 ≤ %v  max ≤ %v", l.Server.Ticks, l.Server.Late,
		l.Server.Skipped, l.Server.P50, l.Server.P99, l.Server.Max)
	s := l.Share
	t.row("  a connection", "%d to %d messages, half of them %d; Jain's index %.4f", s.Least, s.Most, s.Median, s.Jain)
	t.row("  echo", "%s; %d unanswered; %d connections opened in %.3f s", l.Echo, l.Unanswered, besideConns, l.Opening)
	t.row("  close", "%s; %d done, failed: %s", l.Close.Times, l.Close.Done, bench.OrNone(l.Close.Failed))
	if len(l.Lost) > 0 {
		t.row("  LOST", "%s", bench.Reasons(l.Lost))
	}
	t.row("  CPU", "server %.0f%% of a core, client %.0f%%; %d times a loop was deposed", l.ServerCPUPercent, l.ClientCPUPercent, l.Deposed)
	if r := l.Recovery; r != nil {
		t.row("  recovery", "%s", r)
	}
	for _, warning := range l.Warnings {
		t.row("  WARNING", "%s", warning)
	}
}

// String tells how long it took.
func (r *Recovery) String() string {
	if !r.Calm {
		return fmt.Sprintf("ticks were still late after %v", patience)
	}
	return fmt.Sprintf("no tick late %.2f s after the load went; all had the new interval after %.3f s", r.CalmSeconds, r.EasedSeconds)
}
