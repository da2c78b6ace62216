package wheel

import (
	"math"
	"testing"
)

// unevenness returns by how much the part of the interval that fares worst, whichever it is, differs
// from its share: counts says how many are in each slot.
func unevenness(counts []int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	share := float64(total) / float64(len(counts))
	// A part from slot a to slot b has as many too many as the excess grows between them, going round.
	excess, high, low := 0.0, 0.0, 0.0
	for _, n := range counts {
		excess += float64(n) - share
		high, low = max(high, excess), min(low, excess)
	}
	return high - low
}

func phases(from uint64, run int, interval Time) []int {
	counts := make([]int, interval)
	for n := range uint64(run) {
		counts[Phase(from+n, interval)]++
	}
	return counts
}

func TestPhaseIsEvenInEveryRun(t *testing.T) {
	for _, c := range []struct {
		run   int
		limit float64
	}{
		// The longest runs of each row are those that were found to be the most uneven.
		{1, 4}, {2, 4}, {104, 4}, {441, 4}, {711, 4}, {1000, 4},
		{3025, 7}, {20736, 7}, {142129, 7}, {974169, 7}, {1000000, 7},
	} {
		for _, interval := range []Time{1, 2, 200, 256, 6000, 100003} {
			for _, from := range []uint64{0, 1, 12345, 1 << 40, math.MaxUint64 - 500} {
				if c.run > 200000 && from > 0 {
					continue
				}
				if got := unevenness(phases(from, c.run, interval)); got > c.limit {
					t.Errorf("%d from %d over %d slots: a part is %.2f off its share", c.run, from, interval, got)
				}
			}
		}
	}
}

// No slot of a burst of a million gets more than a few above the mean: the figure that matters to
// whoever writes to them.
func TestPhaseOfABurst(t *testing.T) {
	const burst, interval = 1_000_000, 200
	for slot, n := range phases(77, burst, interval) {
		if n < burst/interval-7 || n > burst/interval+7 {
			t.Errorf("slot %d gets %d, the mean is %d", slot, n, burst/interval)
		}
	}
}

func TestPhaseOfNoInterval(t *testing.T) {
	if got := Phase(3, 0); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestFirstDue(t *testing.T) {
	const last = math.MaxUint32
	for _, c := range []struct{ now, phase, interval, want Time }{
		{0, 0, 200, 200}, {0, 1, 200, 1}, {1, 0, 200, 200}, {1, 1, 200, 201}, {1, 2, 200, 2},
		{199, 0, 200, 200}, {200, 199, 200, 399}, {1000, 5, 1, 1001}, {10, 405, 200, 205},
		{0, 0, Horizon, Horizon}, {7, 7, Horizon, Horizon + 7}, {Horizon, Horizon - 1, Horizon, 2*Horizon - 1},
		{0, 5, last, 5}, {6, 5, last, 4}, // past the wrap: last+5 of the old grid
		{last, 0, 256, 0}, {last, 1, 256, 1}, {last, 255, 256, 255}, // 256 divides 2^32: no jump
		{last, 96, 200, 0}, {last, 95, 200, 199}, // 2^32 leaves 96
	} {
		if got := FirstDue(c.now, c.phase, c.interval); got != c.want {
			t.Errorf("FirstDue(%d, %d, %d) is %d, want %d", c.now, c.phase, c.interval, got, c.want)
		}
	}
}

// Arrivals that would undo a spread counted from arrival: each comes as much later as its phase is
// smaller. On the grid of absolute time they are spread as if they had come at once.
func TestFirstDueSpreadsWhateverTheArrivals(t *testing.T) {
	const interval = 200
	for _, start := range []Time{0, 12345, math.MaxUint32 - 10*interval} {
		counts := make([]int, interval)
		for n := range uint64(20000) {
			phase := Phase(n, interval)
			arrival := start + interval - phase
			due := FirstDue(arrival, phase, interval)
			if due-arrival < 1 || due-arrival > interval {
				t.Fatalf("due %d after arrival", due-arrival)
			}
			counts[due%interval]++
		}
		if got := unevenness(counts); got > 7 {
			t.Errorf("from %d: a part is %.2f off its share", start, got)
		}
	}
}

// Half of a crowd got its due times before the wrap and half after it. Both halves are spread, so the
// whole is spread, in spite of the two grids.
func TestFirstDueAtTheWrap(t *testing.T) {
	const interval, before = 200, Time(math.MaxUint32 - 50)
	counts := make([]int, interval)
	for n := range uint64(20000) {
		now := before
		if n%2 == 1 {
			now += 100
		}
		due := FirstDue(now, Phase(n/2, interval), interval)
		counts[(due-before)%interval]++
	}
	if got := unevenness(counts); got > 14 {
		t.Errorf("a part is %.2f off its share", got)
	}
}
