package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is a listening descriptor to be registered with a Poller and given to [Accept].
type Listener struct {
	// FD is the descriptor, non-blocking. It belongs to the Listener.
	FD   int
	addr net.Addr
	// original is kept open while FD is in use: closing a unix listener of package net unlinks
	// its path.
	original net.Listener
	closed   atomic.Bool
}

// Listen opens a listener as [ListenTCP] does, and takes its descriptor.
func Listen(addr string, reusePort bool) (*Listener, error) {
	original, err := ListenTCP(addr, reusePort)
	if err != nil {
		return nil, err
	}
	l, err := FromListener(original)
	if err != nil {
		original.Close()
		return nil, err
	}
	return l, nil
}

// ListenTCP opens a TCP listener on addr, in the form of net.Listen. Its accept queue has the length
// that the system allows (net.core.somaxconn). With reusePort several listeners, also of several
// processes, share the port (SO_REUSEPORT), and the kernel spreads connections over them by hash.
func ListenTCP(addr string, reusePort bool) (net.Listener, error) {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if reusePort {
			ctlErr := c.Control(func(fd uintptr) {
				err = setInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, "SO_REUSEPORT", 1)
			})
			if ctlErr != nil {
				return ctlErr
			}
		}
		return err
	}}
	cfg.SetMultipathTCP(false) // its sockets cost more, and do not accept every TCP option
	return cfg.Listen(context.Background(), "tcp", addr)
}

// ListenUnix opens a listener on a unix socket at path, or at an abstract name, which begins with "@". It
// replaces a socket at which nothing answers, as a process that was killed leaves one behind. A socket that is
// in use is an error, and so is any other kind of file. A mode other than 0 is the permissions of the socket,
// whatever the umask: clients need that for writing. Closing the listener removes the socket.
func ListenUnix(path string, mode os.FileMode) (net.Listener, error) {
	l, err := listenUnix(path, mode)
	if !errors.Is(err, unix.EADDRINUSE) || !isStale(path) {
		return l, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return listenUnix(path, mode)
}

func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if mode == 0 || strings.HasPrefix(path, "@") {
		return net.Listen("unix", path)
	}
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// The file inherits the socket's own permissions, so that it never has more than these.
		ctlErr := c.Control(func(fd uintptr) {
			err = os.NewSyscallError("fchmod", unix.Fchmod(int(fd), uint32(mode.Perm())))
		})
		return errors.Join(ctlErr, err)
	}}
	l, err := cfg.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode.Perm()); err != nil { // the umask took from them
		l.Close()
		return nil, err
	}
	return l, nil
}

// isStale reports whether path is a socket at which nothing answers.
func isStale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// FromListener takes the descriptor of a listener of package net: TCP, unix, or inherited. Close of
// the Listener closes l too. A listener without a descriptor, such as one of crypto/tls, is an error;
// the caller keeps it.
//
// Accepted sockets inherit TCP_NODELAY from the listener (tcp(7) on Linux), which saves a system call
// for each.
func FromListener(l net.Listener) (*Listener, error) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("netpoll: a %T has no descriptor to wait on", l)
	}
	fd, err := Take(sc)
	if err != nil {
		return nil, fmt.Errorf("netpoll: taking the descriptor of a %T: %w", l, err)
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("netpoll: the socket of %v does not listen", l.Addr())
	}
	if IsTCP(fd) {
		if err := SetNoDelay(fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return &Listener{FD: fd, addr: l.Addr(), original: l}, nil
}

// Addr is the address listened on.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops listening. FD must have been removed from its poller. A second Close returns
// net.ErrClosed and does not touch a new file that has the number of FD by then.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return net.ErrClosed
	}
	unix.Close(l.FD)
	return l.original.Close()
}
