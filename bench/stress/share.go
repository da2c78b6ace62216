package stress

import (
	"maps"
	"slices"
)

// Share is how evenly messages came to connections.
type Share struct {
	Least  int `json:"least"`
	Median int `json:"median"`
	Most   int `json:"most"`
	// Jain is the index of fairness: the square of the sum of all, by their number and the sum of their
	// squares. It is 1 if all had the same, and 1/n if one of n had everything.
	Jain float64 `json:"jain"`
}

// shareOf is that of so many connections by how many messages each had.
func shareOf(conns map[int]int) (s Share) {
	amounts := slices.Sorted(maps.Keys(conns))
	if len(amounts) == 0 {
		return s
	}
	s.Least, s.Most = amounts[0], amounts[len(amounts)-1]
	var n, seen int
	var sum, squares float64
	for _, c := range conns {
		n += c
	}
	for _, a := range amounts {
		if 2*seen < n {
			s.Median = a
		}
		seen += conns[a]
		sum += float64(a) * float64(conns[a])
		squares += float64(a) * float64(a) * float64(conns[a])
	}
	if squares > 0 {
		s.Jain = sum * sum / (float64(n) * squares)
	}
	return s
}
