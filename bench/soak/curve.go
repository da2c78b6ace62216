package soak

import "slices"

// This file is pure: what the server takes over time, and whether that grows.

// Point is the server's process at a time.
type Point struct {
	Second      float64 `json:"second"`
	Clients     int64   `json:"clients"` // that are connected
	RSSBytes    int64   `json:"rss_bytes"`
	HeapBytes   int64   `json:"heap_bytes"` // that the last collection left; one of now at the ebb
	Descriptors int     `json:"descriptors"`
	Goroutines  int     `json:"goroutines"`
	Opens       int64   `json:"opens"` // since the beginning, as what follows
	In          int64   `json:"in"`
	Out         int64   `json:"out"`
}

// Flatness says how something grew from ebb to ebb, when no connection was left.
type Flatness struct {
	What   string `json:"what"`
	First  int64  `json:"first"` // at the first ebb that counts: those of the first quarter, but at least one, don't
	Last   int64  `json:"last"`
	Growth int64  `json:"growth"` // from first to last, by the median of the slopes between any two of them (Theil and Sen)
	Bound  int64  `json:"bound"`  // beyond which it is a leak
	Judged bool   `json:"judged"` // not, if there were too few ebbs
}

// Leaks tells whether it grew beyond what can be chance.
func (f Flatness) Leaks() bool { return f.Judged && f.Growth > f.Bound }

// leastEbbs is how many make a slope that one of them does not decide.
const leastEbbs = 3

// flatness is that of a value over ebbs. It may grow by a part of what it was, and by a certain size.
func flatness(what string, ebbs []Point, of func(Point) int64, size, part int64) Flatness {
	f := Flatness{What: what}
	if warm := max(1, len(ebbs)/4); warm < len(ebbs) {
		ebbs = ebbs[warm:]
	}
	if len(ebbs) == 0 {
		return f
	}
	first, last := ebbs[0], ebbs[len(ebbs)-1]
	f.First, f.Last = of(first), of(last)
	f.Bound = max(size, f.First/part)
	f.Judged = len(ebbs) >= leastEbbs
	f.Growth = int64(slope(ebbs, of) * (last.Second - first.Second))
	return f
}

// slope is the median of those between any two points, a second. One point that is off does not move it.
func slope(points []Point, of func(Point) int64) float64 {
	var all []float64
	for i, p := range points {
		for _, q := range points[i+1:] {
			if d := q.Second - p.Second; d > 0 {
				all = append(all, float64(of(q)-of(p))/d)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// What memory may grow by from ebb to ebb. The heap is collected then, so it is off by what the runtime and
// maps keep for the next tide; the resident memory by what could not be given back of pages that are in use
// in part.
const (
	heapGrowth = 2 << 20
	heapPart   = 4
	rssGrowth  = 24 << 20
	rssPart    = 2
)

func flat(ebbs []Point) []Flatness {
	return []Flatness{
		flatness("heap", ebbs, func(p Point) int64 { return p.HeapBytes }, heapGrowth, heapPart),
		flatness("resident memory", ebbs, func(p Point) int64 { return p.RSSBytes }, rssGrowth, rssPart),
	}
}
