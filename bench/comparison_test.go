package bench

import (
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	for n := 1; n <= 6; n++ {
		firsts := make([]int, n)
		for round := range 4 * n {
			order := Order(n, round)
			firsts[order[0]]++
			slices.Sort(order)
			for i, server := range order {
				if i != server {
					t.Fatalf("%d servers, round %d: not each is measured once", n, round)
				}
			}
		}
		if slices.Min(firsts) != 4 || slices.Max(firsts) != 4 {
			t.Errorf("%d servers come first so often: %v", n, firsts)
		}
	}
}

// Of two servers neither is always before the other, however many there are beside them.
func TestOrderAlternatesPairs(t *testing.T) {
	for n := 2; n <= 6; n++ {
		for a := range n {
			for b := range a {
				before := 0
				for round := range 2 * n {
					order := Order(n, round)
					if slices.Index(order, a) < slices.Index(order, b) {
						before++
					}
				}
				if before != n {
					t.Errorf("of %d servers, %d is before %d in %d of %d rounds", n, a, b, before, 2*n)
				}
			}
		}
	}
	for round := range 4 {
		if want := []int{round % 2, 1 - round%2}; !slices.Equal(Order(2, round), want) {
			t.Errorf("two servers, round %d: %v", round, Order(2, round))
		}
	}
}
