package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file is what packages beside this one measure and show processes with.

// CPUTime is the processor time that a process of this machine has taken, in all its threads.
func CPUTime(pid int) (time.Duration, error) { return (&process{pid: pid}).cpu() }

// ProcBytes finds the line "NAME: N kB" in a file of /proc, and returns it in bytes. The name has
// its colon.
func ProcBytes(path, name string) (int64, error) { return readField(path, name) }

// Reasons writes counts by reason, the most frequent first.
func Reasons(counts map[string]int) string { return reasons(counts) }

// OrNone is Reasons, and "none" where there are none.
func OrNone[N int | int64](counts map[string]N) string {
	if len(counts) == 0 {
		return "none"
	}
	all := map[string]int{}
	for reason, n := range counts {
		all[reason] = int(n)
	}
	return reasons(all)
}

// Pause waits, and ends early with the cause if ctx does.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Size writes bytes in the unit that fits.
func Size(bytes float64) string { return size(bytes) }

// PercentilesOf are those of times in microseconds.
func PercentilesOf(us *hdrhistogram.Histogram) Percentiles { return percentilesOf(us) }

// Millis writes microseconds as milliseconds.
func Millis(us int64) string { return fmt.Sprintf("%.4g", millis(us)) }

// DescriptorLimit is how many descriptors this process may have; 0 if the kernel does not say.
func DescriptorLimit() uint64 { return descriptorLimit() }
