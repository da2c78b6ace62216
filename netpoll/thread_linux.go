package netpoll

import (
	"time"

	"golang.org/x/sys/unix"
)

// ThreadID returns the number of the calling thread.
func ThreadID() int { return unix.Gettid() }

// ThreadCPU returns the CPU time that a thread of this process has used, by its clock (clock_getcpuclockid(3)).
// It reports false for a thread that has ended.
func ThreadCPU(tid int) (time.Duration, bool) {
	// The kernel's CPUCLOCK_PERTHREAD_MASK is 4 and CPUCLOCK_SCHED is 2. 0 would be the caller's own thread,
	// and -1 a clock of the time of day.
	const perThread, sched = 4, 2
	if tid <= 0 {
		return 0, false
	}
	var ts unix.Timespec
	if unix.ClockGettime(int32(^tid<<3|perThread|sched), &ts) != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
