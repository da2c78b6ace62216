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
