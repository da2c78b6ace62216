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

// TestSoak lets everything happen, and wants nothing wrong.
func TestSoak(t *testing.T) {
	o := small("")
	o.Conns, o.Duration, o.Tide = 80, 3*time.Second, time.Second
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := r.WriteTable(&shown); err != nil {
		t.Fatal(err)
	}
	if r.Err() != nil || len(r.Found) > 0 {
		t.Errorf("%v", r.Err())
	}
	if never := r.Never(); len(never) > 0 {
		t.Errorf("never happened: %s", strings.Join(never, "; "))
	}
	for _, end := range []string{
		"peer closed", "peer gone, 1006", "bad input, 1002", "bad input, 1007", "bad input, 1008", "bad input, 1009", "idle, 1001",
		"closed locally", "closed locally, 1013", "closed locally, 1006", "handler panicked, 1011", "too slow, 1013",
		"too slow, 1006, server: write timeout", "peer gone, 1006, server: peer did not answer a ping",
	} {
		if r.Ends[end] == 0 {
			t.Errorf("no connection ended so: %s", end)
		}
	}
	if r.Opens == 0 || r.Opens != r.Closes || r.Judged < r.Closes || len(r.Ebbs) != 3 || len(r.Curve) == 0 || r.Refused == 0 ||
		r.ServerHeard == 0 || r.ServerHeard > r.Said || r.ClientsHeard == 0 || r.ClientsHeard > r.Accepted {
		t.Errorf("the figures contradict each other")
	}
	if t.Failed() {
		t.Logf("seed %d\n%s", o.Seed, shown.String())
	}
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
			if name != "leaks memory" {
				o.Tide = o.Duration
			}
			o.goings = slices.DeleteFunc(slices.Clone(goings), func(g *thing) bool { return g.weight < 3 && g.name != "be closed in order" })
			r, err := Run(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if name == "leaks memory" {
				if len(r.Leaks) == 0 || len(r.Found) > 0 {
					t.Errorf("leaks %q, found %v; %+v", r.Leaks, r.Found, r.Flat)
				}
				return
			}
			if !slices.ContainsFunc(f.what, func(what string) bool { return r.Found[what] > 0 }) || r.Err() == nil {
				t.Errorf("found %v, want one of %q", r.Found, f.what)
			}
		})
	}
}
