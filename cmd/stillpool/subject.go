package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/stillpool/stillpool/bench/stress"
)

// benchSubjectCmd is the server that is put under stress. It is not for people.
type benchSubjectCmd struct {
	Addr string `default:"127.0.0.1:0"`
}

// Run implements the subcommand.
func (c *benchSubjectCmd) Run(to streams) error {
	return serveSubject(c.Addr, to, func(logger *slog.Logger) service { return stress.NewSubject(logger) })
}

// serveSubject serves what is measured until a signal comes, on a loopback address only: anybody who reaches
// it may have it do what it is measured by.
func serveSubject(addr string, to streams, subject func(*slog.Logger) service) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	s := &serveCmd{Addr: addr, LogLevel: "warn", LogFormat: "text"}
	l, err := s.listenOn()
	if err != nil {
		return err
	}
	defer l.Close()
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		return fmt.Errorf("%v is not a loopback address", ip)
	}
	logger := s.logger(to.err)
	fmt.Fprintf(to.out, "A subject is at %s\n", s.url(l.Addr()))
	return supervise(subject(logger), []net.Listener{l}, drainTime, signals, logger)
}
