package soak

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func small(fault string) Options {
	return Options{
		Command: []string{os.Args[0], asServer, fault}, Conns: 40, Duration: 400 * time.Millisecond, Tide: 100 * time.Millisecond,
		Interval: 50 * time.Millisecond, Pause: 2 * time.Millisecond,
	}
}

// attempts is how often a run may be too short for something to happen.
const attempts = 5

// TestSoak lets everything happen, and wants nothing wrong.
func TestSoak(t *testing.T) {
	o := small("")
	o.Conns, o.Duration, o.Tide = 80, 3*time.Second, time.Second
	did, ends := Counts{}, Counts{}
	for range attempts {
		r, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Opens == 0 || r.Opens != r.Closes || r.Judged < r.Closes || len(r.Ebbs) != 3 || len(r.Curve) == 0 ||
			r.ServerHeard == 0 || r.ServerHeard > r.Said || r.ClientsHeard == 0 || r.ClientsHeard > r.Accepted || r.Err() != nil {
			var shown bytes.Buffer
			r.WriteTable(&shown)
			t.Fatalf("%v\n%s", r.Err(), shown.String())
		}
		did.add(r.Did)
		did.add(Counts{"a refusal": r.Refused, "a message dropped": r.Dropped, "a message forgotten": r.Forgotten})
		ends.add(r.Ends)
		if len(never(did, ends)) == 0 {
			return
		}
	}
	t.Errorf("never happened: %s", strings.Join(never(did, ends), "; "))
}

// never is what did not happen yet, of all that there is to do, and of the ends that there are.
func never(did, ends Counts) []string {
	names := (&Result{Did: did}).Never()
	for _, end := range []string{
		"peer closed", "peer gone, 1006", "bad input, 1002", "bad input, 1007", "bad input, 1008", "bad input, 1009", "idle, 1001",
		"closed locally", "closed locally, 1013", "closed locally, 1006", "handler panicked, 1011", "too slow, 1013",
		"too slow, 1006, server: write timeout", "peer gone, 1006, server: peer did not answer a ping",
	} {
		if ends[end] == 0 {
			names = append(names, "an end: "+end)
		}
	}
	return names
}

// TestSoakFindsFaults goes wrong in all ways that there are.
func TestSoakFindsFaults(t *testing.T) {
	for name, f := range faults {
		if name == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := small(name)
			o.Patience = time.Second // what never comes is waited for
			o.things = quick(things, func(x *thing) bool { return !strings.HasPrefix(x.name, "stall") })
			o.goings = quick(goings, func(x *thing) bool { return x.weight > 2 && x.at == nil || x.name == "be closed in order" })
			// What is accepted must all arrive only where the server closes first, and little of it is broadcasts.
			o.goings = append(o.goings, slices.Repeat([]*thing{named(goings, "be closed in order")}, 12)...)
			o.things = append(o.things, slices.Repeat([]*thing{named(things, "ask for a broadcast")}, 6)...)
			var found Counts
			for range attempts {
				if name != leakyMemory {
					o.Tide = o.Duration
				}
				r, err := Run(context.Background(), o)
				if err != nil {
					t.Fatal(err)
				}
				o.Duration *= 2 // on a machine that is busy too little may have happened
				found = r.Found
				leak := name == leakyMemory && len(r.Leaks) > 0 && len(found) == 0
				if r.Err() != nil && (leak || slices.ContainsFunc(f.what, func(what string) bool { return found[what] > 0 })) {
					return
				}
			}
			t.Errorf("found %v, want one of %q", found, f.what)
		})
	}
}

// named returns the one of a name.
func named(all []*thing, name string) *thing {
	return all[slices.IndexFunc(all, func(x *thing) bool { return x.name == name })]
}

// quick leaves out what takes long.
func quick(all []*thing, keep func(*thing) bool) []*thing {
	return slices.DeleteFunc(slices.Clone(all), func(x *thing) bool { return !keep(x) })
}
