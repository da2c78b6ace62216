package bench

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// lowest is the lowest priority there is: what else wants a processor comes first.
const lowest = 19

// startLowly starts a process of the lowest priority, in a process group of its own so that ^C on the
// terminal is for this process only.
//
// On Linux a priority belongs to a thread and is inherited by those it starts. So that all threads of
// the new process have it, the thread that starts it has it already; and as a user may not raise it
// again, that thread ends with its goroutine, which is what happens to a locked one.
func startLowly(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, lowest); err != nil {
			done <- os.NewSyscallError("setpriority", err)
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}
