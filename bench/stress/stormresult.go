package stress

import (
	"fmt"
	"io"
	"runtime"

	"github.com/stillpool/stillpool/bench"
)

// StormResult is what [Storm] measured.
type StormResult struct {
	Options StormOptions `json:"options"`
	Control *StormRun    `json:"control,omitempty"` // while the storm came over another server
	Own     *StormRun    `json:"own,omitempty"`
	Stayed  int          `json:"stayed"` // of those that were to stay
}

// StormRun is one storm: what those that stay saw of it, and how it went.
type StormRun struct {
	Server Handle `json:"server"` // over which it came
	Before *Spell `json:"before"`
	During *Spell `json:"during"` // from the drop until all are back
	After  *Spell `json:"after"`

	DropSeconds float64        `json:"drop_seconds"` // until all ends were dropped
	BackSeconds float64        `json:"back_seconds"` // from the drop until all were back
	Back        int            `json:"back"`
	Failed      map[string]int `json:"failed,omitempty"` // tries to come back, by reason
	Lost        map[string]int `json:"lost,omitempty"`   // of those that were back
	Refused     uint64         `json:"refused"`          // by the server, with an HTTP status
	Rests       uint64         `json:"rests"`            // of accepting, for want of descriptors
	// Network is what the kernel of this machine lost meanwhile, or saved: ListenOverflows and
	// ListenDrops are tries that found the queue of a listener full.
	Network map[string]int64 `json:"network,omitempty"`
	Peaks   Peaks            `json:"peaks"`

	ServerCPUPercent float64 `json:"server_cpu_percent"` // of one core, of the server that it came over
	ClientCPUPercent float64 `json:"client_cpu_percent"`
}

// Ratio is the 99th percentile of the lateness of those that stay during the storm, in times of that
// during the control; 0 without a control.
func (r *StormResult) Ratio() float64 {
	if r.Control == nil || r.Control.During.Lateness.P99 == 0 {
		return 0
	}
	return float64(r.Own.During.Lateness.P99) / float64(r.Control.During.Lateness.P99)
}

// crowdedPercent is how much of all processors may be taken by what is measured, before part of the
// lateness is certainly for want of one.
const crowdedPercent = 95

// Warnings say where more than the server was the bottleneck.
func (r *StormResult) Warnings() (all []string) {
	for _, x := range []struct {
		name string
		run  *StormRun
	}{{"control", r.Control}, {"storm", r.Own}} {
		if x.run == nil {
			continue
		}
		if used := x.run.ServerCPUPercent + x.run.ClientCPUPercent; used >= crowdedPercent*float64(runtime.NumCPU()) {
			all = append(all, fmt.Sprintf("%s: all processors were busy (%.0f%%): look at the ratio to the control", x.name, used))
		}
		if used := x.run.ClientCPUPercent; used >= crowdedPercent && x.run.ServerCPUPercent < used {
			all = append(all, fmt.Sprintf("%s: the client was the bottleneck of coming back: it took %.0f%% of a core, the server %.0f%%",
				x.name, used, x.run.ServerCPUPercent))
		}
	}
	return all
}

// WriteTable writes the result for people.
func (r *StormResult) WriteTable(w io.Writer) error {
	o := r.Options
	pace := "all at once"
	if o.Within > 0 {
		pace = fmt.Sprintf("spread over %v", o.Within)
	}
	t := newTable(w)
	t.row("storm", "%d connections dropped by %s and back %s; %d stay, with a tick every %v%s", o.Storm, o.Drop, pace, o.Stay, o.Every,
		bench.BesideBusy(o.Busy))
	for _, x := range []struct {
		name string
		run  *StormRun
	}{{"control", r.Control}, {"storm", r.Own}} {
		if x.run != nil {
			x.run.rows(t, x.name)
		}
	}
	if ratio := r.Ratio(); ratio > 0 {
		t.row("p99 during", "%.2f times that of the control", ratio)
	}
	t.row("stayed", "%d of %d", r.Stayed, o.Stay)
	for _, warning := range r.Warnings() {
		t.row("WARNING", "%s", warning)
	}
	return t.Flush()
}

func (r *StormRun) rows(t table, name string) {
	t.row(name, "")
	t.row("  before", "%s", r.Before)
	t.row("  during", "%s", r.During)
	t.row("  after", "%s", r.After)
	t.row("  back", "%d in %.2f s, of which dropping took %.2f", r.Back, r.BackSeconds, r.DropSeconds)
	t.row("  refused", "%d by the server; tries that failed: %s", r.Refused, bench.OrNone(r.Failed))
	if len(r.Lost) > 0 {
		t.row("  LOST", "%s", bench.Reasons(r.Lost))
	}
	p := r.Peaks
	t.row("  peaks", "%d waited to be accepted, %d handshakes, %d in the run queue, %s resident",
		p.AcceptQueue, p.Handshaking, p.RunQueue, bench.Size(float64(p.RSSBytes)))
	t.row("  kernel", "%s", bench.OrNone(r.Network))
	t.row("  CPU", "server %.0f%% of a core, client %.0f%%", r.ServerCPUPercent, r.ClientCPUPercent)
}

// String shows both ends' views.
func (s *Spell) String() string {
	l := s.Lateness
	return fmt.Sprintf("late p50 %s  p99 %s  max %s ms, by the server's count p50 ≤ %v  p99 ≤ %v  max ≤ %v; %d messages, %d missing, %d skipped",
		bench.Millis(l.P50), bench.Millis(l.P99), bench.Millis(l.Max), s.Server.P50, s.Server.P99, s.Server.Max,
		s.Messages, s.Missing, s.Server.Skipped)
}
