package server

import (
	"testing"

	"github.com/stillpool/stillpool/server/wheel"
)

// TestOffloadEndsForGood: the wheel's time goes round in 49 days. An endpoint without a call since its time on the
// pool ended is not offloaded again for that.
func TestOffloadEndsForGood(t *testing.T) {
	t.Parallel()
	for _, start := range []wheel.Time{0, 1 << 31, 1<<32 - 100} {
		s := slowness{lane: &lane{limit: 1}}
		s.mark(start, slowFor)
		for _, x := range []struct {
			after wheel.Time
			want  bool
		}{{slowFor - 2, true}, {slowFor + 1, false}, {1 << 30, false}, {1<<31 + 1000, false}, {3 << 30, false}} {
			if got := s.active(start + x.after); got != x.want {
				t.Errorf("from %d, after %d ms: offloaded %v", start, x.after, got)
			}
		}
	}
}

// TestHungCallsAreNotQuick: calls that have not returned keep handlers on the pool.
func TestHungCallsAreNotQuick(t *testing.T) {
	t.Parallel()
	s := slowness{lane: &lane{limit: 2}}
	s.mark(0, slowFor)
	w := worker{role: onHandlers}
	start := w.start(&s)
	if !s.is(slowFor + 1) {
		t.Error("handlers of which one hangs go back to the loop")
	}
	w.timed(&s, start)
	if s.is(3 * slowFor) {
		t.Error("a quick call keeps its kind on the pool")
	}
}
