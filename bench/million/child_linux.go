package million

import (
	"os/exec"
	"syscall"
)

// bind makes a child end with the thread that starts it, whatever happens to it. It has a process group
// of its own: ^C on the terminal is for its parent, which ends its children in order.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// apart lets a child outlive its parent, and ^C.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
