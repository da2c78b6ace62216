package million

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stillpool/stillpool/bench"
)

// table is a list of names and values, the values aligned.
type table struct{ *tabwriter.Writer }

func (t table) row(name, format string, values ...any) {
	fmt.Fprintf(t, name+"\t"+format+"\n", values...) // Flush tells of errors
}

// WriteTable writes the result for people.
func (r *Result) WriteTable(w io.Writer) error {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	cut := ""
	if r.Interrupted {
		cut = " (interrupted)"
	}
	t.row("million", "%d connections, %d server and %d client processes%s%s", r.Options.Conns, r.Servers, r.Clients, bench.BesideBusy(r.Options.Busy), cut)
	t.row("opened", "%d in %.1f s, %.0f/s; %.1f µs of the servers' CPU and %.1f of the clients' for each",
		r.Ramp.Opened, r.Ramp.Seconds, r.Ramp.ConnsPerSec, r.Ramp.ServerCPUUs, r.Ramp.ClientCPUUs)
	if len(r.Ramp.Failed) > 0 {
		t.row("tried again", "%s", bench.Reasons(r.Ramp.Failed))
	}
	t.row("open", "%d at the end", r.Open)
	t.row("lost", "%s", bench.OrNone(r.Lost))
	for _, d := range r.Deaths {
		t.row("DIED", "%s %d at %.0f s: %s", d.Role, d.Index, d.Second, d.Why)
	}
	r.memoryRows(t)
	if i := r.Idle; i != nil {
		t.row("idle", "%.2f%% of a core for all servers together: %.1f ms in %.0f s without a message", i.ServerCPUPercent,
			1000*i.ServerCPUSeconds, i.Seconds)
	}
	r.Hold.rows(t, "hold")
	r.Overload.rows(t, "overload")
	if rec := r.Recovery; rec != nil {
		t.row("recovery", "%s", rec)
	}
	r.After.rows(t, "after")
	t.row("messages", "%d sent, %d received", r.Sent, r.Received)
	t.row("network", "%s", bench.OrNone(r.Network))
	return t.Flush()
}

func (r *Result) memoryRows(t table) {
	m := r.Memory
	if m.Open.Conns == 0 {
		return
	}
	slope := ""
	if m.SlopeStart != nil {
		slope = fmt.Sprintf(", %.0f B from %d on", m.ServerRSSSlopePerConn, m.SlopeStart.Conns)
	}
	t.row("servers' memory", "%.0f B a connection (PSS %.0f B)%s; %s in all", m.ServerRSSPerConn, m.ServerPSSPerConn, slope, size(m.Open.ServerRSSBytes))
	t.row("clients' memory", "%.0f B a connection (PSS)", m.ClientPSSPerConn)
	t.row("kernel's memory", "%.0f B a connection, for both ends (%.0f B of MemAvailable)", m.KernelPerPair, m.AvailablePerPair)
}

func (l *Load) rows(t table, name string) {
	if l == nil {
		return
	}
	t.row(name, "a message every %.4g s for %.0f s: %.0f a second of %.0f asked for, %d connections lost",
		l.EverySeconds, l.Seconds, l.MessagesPerSecond, l.AskedPerSecond, l.Lost)
	all := float64(max(1, l.Ticks+l.Skipped))
	t.row("", "%.2f%% on time (%.0f ms), %.2f%% later, %.2f%% skipped", 100*float64(l.OnTime)/all,
		1000*l.OnTimeSeconds, 100*float64(l.Ticks-l.OnTime)/all, 100*float64(l.Skipped)/all)
	t.row("", "lateness at the servers p50 ≤ %.4g  p99 ≤ %.4g  p99.9 ≤ %.4g ms", 1000*l.ServerLateness.P50Seconds,
		1000*l.ServerLateness.P99Seconds, 1000*l.ServerLateness.P999Seconds)
	t.row("", "lateness at the clients %s", l.Lateness)
	t.row("", "each connection got %d to %d messages; %d missing, %d silent", l.Spread.Least, l.Spread.Most, l.Missing, l.Silent)
	t.row("", "servers %.0f%% of a core, %.1f µs a message; clients %.0f%%, %.1f µs", l.ServerCPUPercent, l.ServerCPUUs,
		l.ClientCPUPercent, l.ClientCPUUs)
}

func (r *Recovery) String() string {
	s := fmt.Sprintf("servers at the longer interval after %.2f s (half of them %.2f s), all read after %.2f s", r.EasedSeconds, r.HalfEasedSeconds, r.DrainedSeconds)
	if r.OnTimeSeconds < 0 {
		return s + fmt.Sprintf(", not on time within %.0f s", r.WatchedSeconds)
	}
	return s + fmt.Sprintf(", on time after %.2f s", r.OnTimeSeconds)
}
