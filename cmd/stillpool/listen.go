package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/stillpool/stillpool/netpoll"
)

// firstInherited is the first descriptor that a service manager passes on (SD_LISTEN_FDS_START).
const firstInherited = 3

// listen opens the listeners, so that their addresses are known, and one that is taken is reported before all
// else. Those of the service manager, if there are any, take the place of --addr, which is empty then.
func (s *serveCmd) listen() ([]net.Listener, error) {
	ls, err := inheritedListeners()
	if err != nil || len(ls) > 0 {
		s.Addr = ""
		return ls, err
	}
	l, err := s.listenOn()
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// listenOn opens the listener of --addr.
func (s *serveCmd) listenOn() (net.Listener, error) {
	if path, ok := s.socket(); ok {
		mode, err := s.socketMode()
		if err != nil {
			return nil, err
		}
		return netpoll.ListenUnix(path, mode)
	}
	l, err := netpoll.ListenTCP(s.Addr, s.ReusePort)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; take another with --addr, or 0 for any that is free", err)
	}
	return l, err
}

// socket returns the path of --addr, if it is a unix socket's.
func (s *serveCmd) socket() (path string, ok bool) { return strings.CutPrefix(s.Addr, "unix:") }

// socketMode returns the permissions of --socket-mode; 0 leaves them to the umask.
func (s *serveCmd) socketMode() (fs.FileMode, error) {
	if s.SocketMode == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s.SocketMode, 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, fmt.Errorf("--socket-mode: want permissions in octal, like 0660, got %q", s.SocketMode)
	}
	return fs.FileMode(n), nil
}

// checkSocket rejects flags that don't go with the kind of --addr.
func (s *serveCmd) checkSocket() error {
	path, isSocket := s.socket()
	_, err := s.socketMode()
	switch {
	case err != nil:
		return err
	case isSocket && path == "":
		return errors.New("--addr: want unix:/path")
	case isSocket && s.ReusePort:
		return errors.New("--reuse-port: a unix socket has no port to share")
	}
	return nil
}

// inheritedListeners returns the listeners that a service manager has opened for this process, as systemd does
// (sd_listen_fds(3)). It removes the variables, so that no child takes them for its own.
func inheritedListeners() (ls []net.Listener, err error) {
	pid, fds := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) || fds == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(fds, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS: want a number of descriptors, got %q", fds)
	}
	for fd := firstInherited; fd < firstInherited+int(n); fd++ {
		l, err := listenerOf(fd)
		if err != nil {
			closeAll(ls)
			return nil, fmt.Errorf("LISTEN_FDS: descriptor %d: %w", fd, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// listenerOf returns a listener in the place of a descriptor.
func listenerOf(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "inherited")
	defer f.Close() // FileListener works on a duplicate, which is closed on exec
	return net.FileListener(f)
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
