package netpoll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept accepts the next connection of a listening descriptor. The new descriptor is non-blocking
// and closed on exec. The peer's address is the zero AddrPort for a unix socket.
//
// It returns ErrWouldBlock when no connection waits. Other errors are a syscall.Errno in an
// *os.SyscallError; those for which [IsTransient] holds concern one connection only or pass.
// Accept never blocks: it makes a listener non-blocking again when os.File.Fd on a duplicate made it
// a blocking one. A raw call that blocks, which this is as [Send] is, would stop the whole process.
//
//go:noinline
func Accept(listener int) (fd int, peer netip.AddrPort, err error) {
	var sa unix.RawSockaddrAny
	for {
		if blocks(listener) {
			unix.SetNonblock(listener, true) // accept4 returns what is wrong with the listener
		}
		size := uint32(unix.SizeofSockaddrAny)
		r, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(r), addrPort(&sa), nil
		case unix.EINTR, unix.ECONNABORTED: // aborted before it was accepted: take the next one
		default:
			return -1, netip.AddrPort{}, sockError("accept4", errno)
		}
	}
}

// blocks reports whether a descriptor is a blocking one.
//
//go:noinline
func blocks(fd int) bool {
	flags, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	return errno == 0 && flags&unix.O_NONBLOCK == 0
}

// Recv reads available bytes into p, which must not be empty. It returns ErrWouldBlock when there are
// none and io.EOF at the end of the stream. It never blocks.
//
//go:noinline
func Recv(fd int, p []byte) (int, error) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, sockError("recvfrom", errno)
		case r == 0:
			return 0, io.EOF
		default:
			return int(r), nil
		}
	}
}

// Send writes as much of p as the kernel takes and returns that number of bytes. It returns
// ErrWouldBlock when the kernel takes none. It never blocks and raises no SIGPIPE.
//
// It is sendto rather than write, which goes through the file layer first and costs a tenth more.
//
// Accept, Send, Recv and the calls for a Poller are raw system calls: they do not announce to the Go
// scheduler that the goroutine is in the kernel. They can't block, so no other goroutine needs the
// processor meanwhile. The announcement wakes the runtime's monitor thread, which then polls for a
// millisecond: a sixth of the cost of a hundred small writes each ten milliseconds, and more than a
// third of accepting and upgrading 3,000 connections a second. A goroutine in a raw call can't be
// preempted, and a loop of inlined ones delayed garbage collection. So these are functions of their
// own: the goroutine can be preempted at their entry.
//
//go:noinline
func Send(fd int, p []byte) (int, error) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
		default:
			return 0, sockError("sendto", errno)
		}
	}
}

// maxSlices is the maximum number of slices of one system call (IOV_MAX; UIO_MAXIOV in linux/uio.h).
const maxSlices = 1024

// SendV is Send for several slices in one system call, in their order. Of more than 1,024 slices it
// sends the first.
func SendV(fd int, bufs [][]byte) (int, error) {
	bufs = bufs[:min(len(bufs), maxSlices)]
	for {
		n, err := unix.SendmsgBuffers(fd, bufs, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		default:
			return 0, sockError("sendmsg", err.(syscall.Errno))
		}
	}
}

// Connect starts a TCP connection from source and returns its descriptor. The kernel chooses the
// source when that is the zero Addr. The attempt is over when the descriptor is Writable;
// [ConnectError] then returns its result.
func Connect(to netip.AddrPort, source netip.Addr) (fd int, err error) {
	family := unix.AF_INET
	if to.Addr().Is6() && !to.Addr().Is4In6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
	}()
	if err := SetNoDelay(fd); err != nil {
		return fd, err
	}
	if source.IsValid() {
		// The kernel chooses the port at connect: it then knows the destination, and can use one
		// local port for several destinations.
		if err := setInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT", 1); err != nil {
			return fd, err
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return fd, os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
		return fd, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// ConnectError returns the result of an attempt that [Connect] started: nil, or why it failed.
func ConnectError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = syscall.Errno(n)
	}
	return os.NewSyscallError("connect", err)
}

// Spare opens a descriptor to hold in reserve: closing it makes room for another one when the limit
// is reached.
func Spare() (fd int, err error) {
	// An event counter is the smallest that takes a file of the kernel's too, so it helps against
	// ENFILE as well, and needs no file system.
	if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return -1, os.NewSyscallError("eventfd", err)
	}
	return fd, nil
}

// CloseWrite ends the stream towards the peer; reading goes on.
func CloseWrite(fd int) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
}

// Shut ends the stream both ways and keeps the descriptor. Its poller reports an event.
func Shut(fd int) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RDWR))
}

// Close closes the descriptor. It must have been removed from its poller.
func Close(fd int) error {
	return os.NewSyscallError("close", unix.Close(fd))
}

// Reset closes the descriptor and sends a reset: data that either side had not read is lost
// (SO_LINGER with a time of zero).
func Reset(fd int) error {
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return errors.Join(fmt.Errorf("setsockopt SO_LINGER: %w", err), Close(fd))
	}
	return Close(fd)
}

// SetNoDelay makes the kernel send small writes at once (TCP_NODELAY).
func SetNoDelay(fd int) error {
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, "TCP_NODELAY", 1)
}

// SetSendBuffer bounds the bytes that the kernel holds for the peer (SO_SNDBUF). The kernel doubles
// the value, counts its own bookkeeping against it, and stops tuning the buffer by itself.
func SetSendBuffer(fd, bytes int) error {
	return setInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, "SO_SNDBUF", bytes)
}

// SetUnsentLowWater bounds the bytes that a TCP socket takes and has not sent (TCP_NOTSENT_LOWAT). Past it,
// by up to a packet, sends would block; the socket is writable again when half of it is left. It is a raw
// call as [Send] is.
//
//go:noinline
func SetUnsentLowWater(fd, bytes int) error {
	value := int32(min(bytes, math.MaxInt32))
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT,
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	if errno != 0 {
		return fmt.Errorf("setsockopt TCP_NOTSENT_LOWAT: %w", errno)
	}
	return nil
}

// LocalAddr returns the address of this end; the zero AddrPort for a unix socket.
func LocalAddr(fd int) (netip.AddrPort, error) {
	return addrOf("getsockname", unix.SYS_GETSOCKNAME, fd)
}

// RemoteAddr returns the address of the peer; the zero AddrPort for a unix socket.
func RemoteAddr(fd int) (netip.AddrPort, error) {
	return addrOf("getpeername", unix.SYS_GETPEERNAME, fd)
}

func addrOf(name string, call uintptr, fd int) (netip.AddrPort, error) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, errno := syscall.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}, os.NewSyscallError(name, errno)
	}
	return addrPort(&sa), nil
}

// Take duplicates the descriptor of a connection or listener of package net, so that c can be
// closed (and with it what Go's own poller keeps for it) while the socket lives on.
//
// It goes through SyscallConn because File and Fd would make the shared description blocking.
func Take(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if ctlErr != nil {
		return -1, ctlErr
	}
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// NetConn makes a net.Conn from the descriptor of a stream socket, and takes ownership of it.
func NetConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // FileConn works on a duplicate
	return net.FileConn(f)
}

// IsTCP reports whether fd is a TCP socket, and not a unix one.
func IsTCP(fd int) bool {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && proto != unix.AF_UNIX
}

// IsTransient reports whether an error of [Accept] concerns one connection only, so that the caller
// can accept the next one.
func IsTransient(err error) bool {
	switch errnoOf(err) {
	case unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN,
		unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM:
		// accept(2): "Linux accept() passes already-pending network errors on the new socket".
		return true
	}
	return false
}

// IsExhausted reports whether an error of [Accept] or [Connect] means that descriptors or memory ran
// out. The caller waits until some are released.
func IsExhausted(err error) bool {
	switch errnoOf(err) {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		return true
	}
	return false
}

func errnoOf(err error) (errno syscall.Errno) {
	errors.As(err, &errno)
	return errno
}

// sockError makes an error of errno, without an allocation for the most frequent one.
func sockError(call string, errno syscall.Errno) error {
	if errno == unix.EAGAIN {
		return ErrWouldBlock
	}
	return os.NewSyscallError(call, errno)
}

func setInt(fd, level, opt int, name string, value int) error {
	if err := unix.SetsockoptInt(fd, level, opt, value); err != nil {
		return fmt.Errorf("setsockopt %s: %w", name, err)
	}
	return nil
}

func addrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), port(&in.Port))
	}
	return netip.AddrPort{}
}

// port reads a port in network byte order.
func port(p *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
