package server

import "testing"

// TestBudgetFair: one holder may have at most as much as is left for all others. However many hold
// what they may, there is something left.
func TestBudgetFair(t *testing.T) {
	t.Parallel()
	b := &budget{limit: 1050}
	if !b.takeFair(525, 0) || b.takeFair(1, 525) {
		t.Error("the first may have half, and no more")
	}
	b.give(525)
	held := make([]int64, 20)
	for range 1000 {
		for i := range held {
			if b.takeFair(1, held[i]) {
				held[i]++
			}
		}
	}
	for i, n := range held {
		if n != held[0] || n != 1050/21 {
			t.Errorf("holder %d of %d has %d, want an equal share with what is left", i, len(held), n)
		}
	}
	if left := b.limit - b.used.Load(); left < held[0] || !b.takeFair(left/2, 0) {
		t.Errorf("%d are left, and a newcomer can't have half of it", left)
	}
	if b.takeFair(1050, 0) || b.take(1050) {
		t.Error("more than there is was taken")
	}
}
