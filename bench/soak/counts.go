package soak

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Counts are by name.
type Counts map[string]int64

func (c Counts) add(other Counts) {
	for name, n := range other {
		c[name] += n
	}
}

// tally counts by name, from any goroutine.
type tally struct {
	mu sync.Mutex
	of Counts
}

// newTally has all names from the start, so that what never happens is seen.
func newTally(names []string) *tally {
	t := &tally{of: Counts{}}
	for _, name := range names {
		t.of[name] = 0
	}
	return t
}

func (t *tally) count(name string) { t.add(name, 1) }

func (t *tally) add(name string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[name] += n
}

func (t *tally) counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := Counts{}
	all.add(t.of)
	return all
}

// Finding is something that the server did wrong, by the model.
type Finding struct {
	What   string `json:"what"` // in the same words each time
	Detail string `json:"detail,omitempty"`
}

// mostFindings are kept with their details; beyond that they are counted.
const mostFindings = 20

// findings are all that was found, from any goroutine.
type findings struct {
	mu     sync.Mutex
	counts Counts
	first  []Finding
}

func (f *findings) add(x Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = Counts{}
	}
	f.counts[x.What]++
	if len(f.first) < mostFindings {
		f.first = append(f.first, x)
	}
}

func (f *findings) found(what, format string, values ...any) {
	f.add(Finding{what, fmt.Sprintf(format, values...)})
}

func (f *findings) all() (Counts, []Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts), slices.Clone(f.first)
}
