package stress

import (
	"time"

	"github.com/stillpool/stillpool/server"
)

// View is the server's own view of lateness in a part of a run: times are the upper bounds of the buckets
// that it counts in.
type View struct {
	Ticks   uint64        `json:"ticks"`
	Late    uint64        `json:"late"` // by more than a tenth of the interval
	Skipped uint64        `json:"skipped"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
}

// viewOf is what was counted between two looks.
func viewOf(before, after server.Stats) View {
	h := server.Histogram{Bounds: after.Lateness.Bounds}
	for i, n := range after.Lateness.Counts {
		h.Counts = append(h.Counts, n-before.Lateness.Counts[i])
	}
	return View{
		Ticks: after.Ticks - before.Ticks, Late: after.Late - before.Late, Skipped: after.Skipped - before.Skipped,
		P50: h.Quantile(.5), P99: h.Quantile(.99), Max: h.Quantile(1),
	}
}
