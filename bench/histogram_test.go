package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestCurve(t *testing.T) {
	if got := curveOf(newHistogram()); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	h := newHistogram()
	for i := range 1000 { // as few as need no rounding
		record(h, time.Duration(i+1)*time.Microsecond)
	}
	curve := curveOf(h)
	if !slices.IsSortedFunc(curve, func(a, b CurvePoint) int { return int(a.US - b.US) }) {
		t.Errorf("%v falls", curve)
	}
	for _, want := range []CurvePoint{{0, 1}, {10, 100}, {50, 500}, {90, 900}, {95, 950}, {99, 990}, {99.9, 999}, {99.99, 1000}, {100, 1000}} {
		if !slices.Contains(curve, want) {
			t.Errorf("%v is missing in %v", want, curve)
		}
	}
	if !slices.IsSorted(curvePercentiles) {
		t.Errorf("%v", curvePercentiles)
	}
}

func wantHistogram(t *testing.T, name string, got *hdrhistogram.Histogram, times ...time.Duration) {
	t.Helper()
	want := newHistogram()
	for _, at := range times {
		record(want, at)
	}
	if !got.Equals(want) {
		t.Errorf("%s: %d times, %v; want %v", name, got.TotalCount(), percentilesOf(got), times)
	}
}
