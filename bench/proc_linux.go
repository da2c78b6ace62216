package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the processor time that the process has taken, in all its threads and in the kernel on
// their behalf.
//
// It is the process's own POSIX clock. utime and stime in /proc/PID/stat are the same sum cut down
// to 10 ms, a tenth of what a cheap server spends in a short run. The schedstat files of the
// threads have nanoseconds too, but what a thread took is gone when it ends. The kernel brings the
// clock up to date when a thread stops running or at its own tick, so a thread that is running
// while the clock is read is counted a few milliseconds short, once and not each time.
func (p *process) cpu() (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED; a clock of a process is ^pid<<3 (clock_getcpuclockid(3))
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|schedClock), &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}

// spareDescriptors are for what is no connection: pollers, timers, standard streams, /proc.
const spareDescriptors = 64

// descriptorLimit is how many this process may have; the runtime has raised the soft limit already.
// It is 0 if the kernel does not say.
func descriptorLimit() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

// checkDescriptors refuses what would fail half-way.
func checkDescriptors(conns int) error {
	if most := int(min(descriptorLimit(), maxConns)) - spareDescriptors; conns > most {
		return fmt.Errorf("bench: %d connections are more than a process may have here: the limit of open files leaves room for %d",
			conns, most)
	}
	return nil
}
