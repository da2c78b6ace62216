package soak

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/stillpool/stillpool/bench"
)

// Result is what was seen.
type Result struct {
	Options     Options       `json:"options"`
	Machine     bench.Machine `json:"machine"`
	Seconds     float64       `json:"seconds"`
	Interrupted bool          `json:"interrupted,omitempty"`

	Opens  int64 `json:"opens"` // events of the server
	Closes int64 `json:"closes"`
	Judged int64 `json:"judged"` // connections whose two accounts were held against each other

	Said         int64 `json:"said"` // messages of the clients'
	ServerHeard  int64 `json:"server_heard"`
	Accepted     int64 `json:"accepted"` // messages for the clients, a broadcast once for each
	Refused      int64 `json:"refused"`
	Dropped      int64 `json:"dropped"`   // when they were to be sent, as the place's Overflow wants it
	Forgotten    int64 `json:"forgotten"` // of Accepted, because of others that came later
	ClientsHeard int64 `json:"clients_heard"`

	Did  Counts `json:"did"`  // what happened, by its name; what never did has a 0
	Ends Counts `json:"ends"` // connections by what the server was told why

	Found Counts    `json:"found,omitempty"` // what was wrong
	First []Finding `json:"first,omitempty"` // of it

	Flat  []Flatness `json:"flat"`
	Leaks []string   `json:"leaks,omitempty"`
	Ebbs  []Point    `json:"ebbs"`
	Curve []Point    `json:"curve"`
}

// Err is nil if the server did nothing wrong, by the model.
func (r *Result) Err() error {
	n := int64(0)
	for _, count := range r.Found {
		n += count
	}
	switch {
	case n > 0:
		return fmt.Errorf("soak: %d times the server did something wrong, with seed %d", n, r.Options.Seed)
	case len(r.Leaks) > 0:
		return fmt.Errorf("soak: a leak: %s", r.Leaks[0])
	}
	return nil
}

// Never is what did not happen, though it may.
func (r *Result) Never() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(r.Did)) {
		if r.Did[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

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
	t.row("soak", "%d clients at a time for %.0f s, %d tides, seed %d%s%s", r.Options.Conns, r.Seconds, len(r.Ebbs), r.Options.Seed,
		bench.BesideBusy(r.Options.Busy), cut)
	t.row("connections", "%d opens, %d closes, %d held against what their clients know", r.Opens, r.Closes, r.Judged)
	t.row("messages in", "%d sent by the clients, %d heard by the server", r.Said, r.ServerHeard)
	t.row("messages out", "%d accepted by the server, %d heard by the clients; %d refused, %d dropped, %d forgotten", r.Accepted, r.ClientsHeard, r.Refused, r.Dropped, r.Forgotten)
	r.memoryRows(t)
	for _, name := range byCount(r.Ends) {
		t.row("end", "%9d  %s", r.Ends[name], name)
	}
	for _, name := range byCount(r.Did) {
		t.row("did", "%9d  %s", r.Did[name], name)
	}
	for _, name := range byCount(r.Found) {
		t.row("WRONG", "%9d  %s", r.Found[name], name)
	}
	for _, x := range r.First {
		t.row("", "%s: %s", x.What, x.Detail)
	}
	for _, leak := range r.Leaks {
		t.row("LEAK", "%s", leak)
	}
	if r.Err() == nil {
		t.row("verdict", "nothing wrong")
	}
	return t.Flush()
}

func (r *Result) memoryRows(t table) {
	for _, f := range r.Flat {
		if !f.Judged {
			t.row(f.What, "too few tides to say whether it grows")
			continue
		}
		t.row(f.What, "at the ebb %s first and %s last; by the slope it grew by %s, of %s that it may", bench.Size(float64(f.First)),
			bench.Size(float64(f.Last)), bench.Size(float64(max(0, f.Growth))), bench.Size(float64(f.Bound)))
	}
	if len(r.Curve) > 0 {
		first, last := r.Curve[0], r.Curve[len(r.Curve)-1]
		t.row("curve", "after %.0f s %s resident, heap %s, %d descriptors; after %.0f s %s, %s, %d", first.Second, bench.Size(float64(first.RSSBytes)),
			bench.Size(float64(first.HeapBytes)), first.Descriptors, last.Second, bench.Size(float64(last.RSSBytes)),
			bench.Size(float64(last.HeapBytes)), last.Descriptors)
	}
	if len(r.Ebbs) > 0 {
		first, last := r.Ebbs[0], r.Ebbs[len(r.Ebbs)-1]
		t.row("at the ebb", "%d descriptors and %d goroutines first, %d and %d last", first.Descriptors, first.Goroutines, last.Descriptors, last.Goroutines)
	}
}

// byCount are the names, the most frequent first.
func byCount(c Counts) []string {
	return slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if d := c[b] - c[a]; d != 0 {
			return int(max(-1, min(1, d)))
		}
		return slices.Compare([]string{a}, []string{b})
	})
}
