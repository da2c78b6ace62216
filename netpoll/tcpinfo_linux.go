package netpoll

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Acks is the kernel's record of what the other end of a TCP connection acknowledged (TCP_INFO).
type Acks struct {
	// Since is the time since the last acknowledgement, with or without data. Its resolution is
	// that of the kernel's own clock ticks.
	Since time.Duration
	// Outstanding reports that bytes in the kernel, sent or not, are not acknowledged.
	Outstanding bool
	// Unsent reports that some of these could not be sent, as while the other end's window is closed.
	Unsent bool
	// Unanswered reports that the kernel has sent bytes again that were not acknowledged, or has probed a
	// closed window twice without an answer.
	Unanswered bool
}

// Acked reads the state of a TCP socket. It returns false for a socket of another kind. It never
// blocks, and is a raw system call as [Send] is.
func Acked(fd int) (a Acks, ok bool) {
	var info unix.TCPInfo
	if !readTCPInfo(fd, &info) {
		return Acks{}, false
	}
	return Acks{
		Since:       time.Duration(info.Last_ack_recv) * time.Millisecond,
		Outstanding: info.Unacked > 0 || info.Notsent_bytes > 0,
		Unsent:      info.Notsent_bytes > 0,
		Unanswered:  info.Retransmits > 0 || info.Probes > 1,
	}, true
}

// AcceptQueue returns the length of a TCP listener's accept queue in the kernel and its limit (tcp(7):
// for a listener, TCP_INFO's counts of segments hold these). It returns false for a socket of another
// kind.
func AcceptQueue(fd int) (waiting, most int, ok bool) {
	var info unix.TCPInfo
	if !readTCPInfo(fd, &info) || info.State != unix.BPF_TCP_LISTEN {
		return 0, 0, false
	}
	return int(info.Unacked), int(info.Sacked), true
}

//go:noinline
func readTCPInfo(fd int, info *unix.TCPInfo) bool {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0
}

// Unacked returns the bytes that the kernel holds for the peer, sent or not; 0 when it can't say. Of a unix socket it
// counts its own bookkeeping too. It never blocks, and is a raw system call as [Send] is.
//
//go:noinline
func Unacked(fd int) int {
	var n int32
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int(n)
}

// ioctlInt reads an int of C's. unix.IoctlGetInt reads one of Go's, of which the kernel writes 32 bits of 64:
// on a big-endian machine those are the upper ones.
func ioctlInt(fd int, request uint) (int, error) {
	n, err := unix.IoctlGetUint32(fd, request)
	return int(int32(n)), err
}

// siocOutQNSD is SIOCOUTQNSD (linux/sockios.h), which package unix does not have.
const siocOutQNSD = 0x894B

// SendQueue returns the bytes that the kernel holds for the peer (tcp(7)): those not sent yet, and those
// sent and not acknowledged. For a unix socket all count as sent until the peer reads them, with the
// kernel's overhead. The two are not read at one moment. SendQueue never blocks.
func SendQueue(fd int) (unsent, unacked int, err error) {
	// The kernel may send between the two calls, so that the first number exceeds the second.
	unsent, err = ioctlInt(fd, siocOutQNSD)
	if err == unix.EINVAL || err == unix.ENOTTY || err == unix.EOPNOTSUPP {
		unsent, err = 0, nil // not TCP
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("ioctl SIOCOUTQNSD", err)
	}
	all, err := ioctlInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0, 0, os.NewSyscallError("ioctl SIOCOUTQ", err)
	}
	unsent = min(unsent, all)
	return unsent, all - unsent, nil
}
