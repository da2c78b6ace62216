package bench

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the result for people.
func (r *AttackResult) WriteTable(w io.Writer) error {
	o := r.Options
	var t table
	t.row("attack", "%s, %d good connections, %.6g messages of %d bytes and %.6g newcomers a second%s",
		o.URL, o.Conns, o.Rate, o.Size, max(0, o.Newcomers), BesideBusy(o.Busy))
	if err := t.write(w); err != nil {
		return err
	}
	for _, round := range r.Rounds {
		if err := round.write(w, o); err != nil {
			return err
		}
	}
	if r.Interrupted {
		_, err := fmt.Fprintln(w, "interrupted")
		return err
	}
	return nil
}

func (r *Round) write(out io.Writer, o AttackOptions) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%d hostile: %s\n", o.Hostile, strings.Join(r.Kinds, ", "))
	fmt.Fprintln(w, "good clients\tp50\tp99\tmax ms\tp50 ratio\tp99 ratio\tlost\tmissing\tnewcomers failed\tp99 ms\tCPU %: server\tclient\thostile")
	for _, x := range []struct {
		name  string
		phase *Phase
	}{{"alone", r.Alone}, {"control", r.Control}, {"beside", r.Beside}} {
		if x.phase != nil {
			x.phase.row(w, x.name, r.Alone)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.details(out)
}

func (p *Phase) row(w io.Writer, name string, alone *Phase) {
	p50, p99 := p.over(alone)
	ms := func(us int64) string { return fmt.Sprintf("%.4g", float64(us)/1000) }
	n := p.Newcomers
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f\t%.2f\t%d\t%d\t%d of %d\t%s\t%.0f\t%.0f\t%.0f\n", name,
		ms(p.Latency.P50), ms(p.Latency.P99), ms(p.Latency.Max), p50, p99, sum(p.Lost), p.Missing+p.Unsent,
		sum(n.Failed), n.Came, ms(n.Latency.P99), p.ServerCPUPercent, p.ClientCPUPercent, p.HostileCPUPercent)
}

// details are what has no column.
func (r *Round) details(w io.Writer) error {
	var t table
	if m := r.Memory; m != nil {
		t.row("server memory", "%s before, %s at its peak, %s after; %s more, %.0f B an attacker", size(float64(m.BeforeBytes)),
			size(float64(m.PeakBytes)), size(float64(m.AfterBytes)), size(float64(m.PeakBytes-m.BeforeBytes)), m.BytesPerAttacker)
	}
	if len(r.Opening.Failed) > 0 {
		t.row("FAILED to open", "%s", reasons(r.Opening.Failed))
	}
	for _, k := range r.Hostile {
		t.row(k.Kind, "%s", &k)
	}
	for _, p := range []*Phase{r.Alone, r.Control, r.Beside} {
		if p == nil {
			continue
		}
		if failed := joined(p.Lost, p.Newcomers.Failed); len(failed) > 0 {
			t.row("HARMED", "%s", reasons(failed))
		}
		for _, warning := range p.Warnings {
			t.row("WARNING", "%s", warning)
		}
	}
	return t.write(w)
}

func joined(a, b map[string]int) map[string]int {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]int{}
	}
	addAll(all, b)
	return all
}

// String tells what the server did.
func (k *KindReport) String() string {
	s := fmt.Sprintf("%d open", k.Open)
	if k.Opening > 0 {
		s += fmt.Sprintf(" and %d opening", k.Opening)
	}
	s += fmt.Sprintf(" of %d; %d came, %s sent, %s received", k.Conns, k.Came, size(float64(k.SentBytes)), size(float64(k.ReceivedBytes)))
	if k.Declined > 0 {
		s += fmt.Sprintf("; compression declined %d times", k.Declined)
	}
	if len(k.Ends) > 0 {
		s += "; " + reasons(k.Ends)
	}
	return s
}
