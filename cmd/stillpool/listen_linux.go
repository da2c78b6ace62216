package main

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenTCP opens a listener, with SO_REUSEPORT if it is to share its port with other processes.
func listenTCP(addr string, reusePort bool) (net.Listener, error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false) // its sockets cost more, and do not take every TCP option
	if reusePort {
		cfg.Control = func(_, _ string, c syscall.RawConn) (err error) {
			failed := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			if failed != nil {
				return failed
			}
			return err
		}
	}
	return cfg.Listen(context.Background(), "tcp", addr)
}
