package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Times from a microsecond to an hour, to three digits.
const (
	histogramMax    = int64(time.Hour / time.Microsecond)
	histogramDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, histogramMax, histogramDigits)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(d.Microseconds(), histogramMax)) // fails only above the maximum
}

// Percentiles of a time, in microseconds.
type Percentiles struct {
	P50  int64 `json:"p50_us"`
	P90  int64 `json:"p90_us"`
	P99  int64 `json:"p99_us"`
	P999 int64 `json:"p99_9_us"`
	Max  int64 `json:"max_us"`
}

func percentilesOf(h *hdrhistogram.Histogram) Percentiles {
	return Percentiles{
		P50:  h.ValueAtPercentile(50),
		P90:  h.ValueAtPercentile(90),
		P99:  h.ValueAtPercentile(99),
		P999: h.ValueAtPercentile(99.9),
		Max:  h.Max(),
	}
}

// CurvePoint is a point of a distribution: so many percent of the times were at most so long.
type CurvePoint struct {
	Percentile float64 `json:"percentile"`
	US         int64   `json:"us"` // microseconds
}

// curvePercentiles are even up to 90, and from there on seven in each tenth of what is left: on an axis
// that is logarithmic in the distance from 100 they lie close enough for a smooth line.
var curvePercentiles = []float64{
	0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90,
	92, 94, 95, 96, 97, 98, 99,
	99.2, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9,
	99.92, 99.94, 99.95, 99.96, 99.97, 99.98, 99.99,
	99.992, 99.994, 99.995, 99.996, 99.997, 99.998, 99.999,
	100,
}

// curveOf is the whole distribution; nil if there is none.
func curveOf(h *hdrhistogram.Histogram) []CurvePoint {
	if h.TotalCount() == 0 {
		return nil
	}
	curve := make([]CurvePoint, len(curvePercentiles))
	for i, us := range h.ValueAtPercentilesSlice(curvePercentiles) {
		curve[i] = CurvePoint{curvePercentiles[i], us}
	}
	return curve
}
