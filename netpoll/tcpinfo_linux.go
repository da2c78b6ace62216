package netpoll

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Acks is what the kernel knows of a TCP connection's other end without asking it (TCP_INFO).
type Acks struct {
	// Since is how long ago something last came that acknowledges, with or without data, in
	// milliseconds as fine as the kernel's own clock ticks.
	Since time.Duration
	// Outstanding tells that something was sent, or waits in the kernel to be, that the other end has
	// not acknowledged.
	Outstanding bool
}

// Acked reads the state of a TCP socket. It answers false for one of another kind. It never blocks, and
// is a raw system call as [Send] is.
func Acked(fd int) (a Acks, ok bool) {
	var info unix.TCPInfo
	if !readTCPInfo(fd, &info) {
		return Acks{}, false
	}
	return Acks{
		Since:       time.Duration(info.Last_ack_recv) * time.Millisecond,
		Outstanding: info.Unacked > 0 || info.Notsent_bytes > 0,
	}, true
}

// AcceptQueue is how many connections wait in the kernel for a TCP listener to accept them, and how many
// there may be (tcp(7), TCP_INFO: of a listener, what else counts segments counts these). It answers
// false for a socket of another kind.
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

// Unread is how many bytes have come that were not read yet; 0 if that can't be told.
func Unread(fd int) int {
	n, err := ioctlInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// ioctlInt reads an int of C's. unix.IoctlGetInt reads one of Go's, of which the kernel writes 32 bits of 64:
// on a big-endian machine those are the upper ones.
func ioctlInt(fd int, request uint) (int, error) {
	n, err := unix.IoctlGetUint32(fd, request)
	return int(int32(n)), err
}

// siocOutQNSD is SIOCOUTQNSD (linux/sockios.h), which package unix does not have.
const siocOutQNSD = 0x894B

// SendQueue is how many bytes the kernel holds for the peer (tcp(7)): those that it has not sent yet, and
// those that it has and that were not acknowledged. Of a unix socket all count as sent until they are
// read, with what the kernel needs for them beside. They are not read at one moment, and it never blocks.
func SendQueue(fd int) (unsent, unacked int, err error) {
	// What is asked for first may be sent and acknowledged meanwhile, and so be more than all there is.
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
