package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server"
)

// drainTime is how long closing in order may take beside --drain-delay and --drain-time. A peer that doesn't answer a
// close frame is given up after five seconds by package server; this is for a machine that is too busy
// for that.
const drainTime = 30 * time.Second

// logger logs as the flags say, to standard error.
func (s *serveCmd) logger(to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		panic(err) // the flag's type takes nothing else
	}
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, o))
	}
	return slog.New(slog.NewTextHandler(to, o))
}

// connections answers how many connections to take at most, after raising the limit of descriptors,
// and says so if that is fewer than was asked for: what is refused with a status is better off than
// what nobody can accept.
func (s *serveCmd) connections(logger *slog.Logger) int {
	limit, err := raiseDescriptors()
	if err != nil {
		logger.Warn("Can't raise the limit of descriptors", "error", err)
	}
	if limit == 0 {
		return s.MaxConns
	}
	if words := advice(limit, s.MaxConns); words != "" {
		logger.Warn("Limit of descriptors too low", "advice", words, "connections", roomFor(limit))
	}
	if s.MaxConns == 0 || uint64(s.MaxConns) > roomFor(limit) {
		return int(roomFor(limit))
	}
	return s.MaxConns
}

// serve runs the demonstration on the listeners until a signal comes.
func (s *serveCmd) serve(ls []net.Listener, maxConns int, logger *slog.Logger, signals <-chan os.Signal, to streams) error {
	d := newDemo(logger)
	srv := &server.Server{
		Logger:     logger,
		Poller:     netpoll.Backend(s.Poller),
		Loops:      s.Loops,
		Workers:    s.Workers,
		MaxConns:   maxConns,
		DrainDelay: s.DrainDelay,
		DrainTime:  s.DrainTime,
		DrainCode:  server.Code(s.DrainCode),

		MaxConnsPerAddress: s.MaxConnsPerAddress,
		IPv4Prefix:         s.IPv4Prefix,
		IPv6Prefix:         s.IPv6Prefix,
		MaxHandshakes:      s.MaxHandshakes,
		HandshakeRate:      s.HandshakeRate,
		HandshakeBurst:     s.HandshakeBurst,
		MaxHeaderBytes:     s.MaxHeaderBytes,
	}
	var err error
	if srv.TrustedProxies, err = proxies(s.TrustedProxies); err != nil {
		return err // in vain: Validate has seen them
	}
	origins := allowedOrigins(ls, s.Origins)
	if s.ProxyProtocol || len(s.TrustedProxies) > 0 {
		origins = s.Origins // through the proxy, others than this machine can reach the address
	}
	if s.ProxyProtocol {
		ls = slices.Clone(ls)
		for i := range ls {
			ls[i] = server.ProxyProtocol(ls[i])
		}
	}
	d.mount(srv, s.options(origins), s.Every, compressions[s.Compression])

	hide, err := serveAdmin(s.Admin, srv, logger)
	if err != nil {
		return err
	}
	defer hide() // last of all: a drain is to be seen, too

	ctx, cancel := context.WithCancel(context.Background())
	var reports sync.WaitGroup
	reports.Go(func() { report(ctx, d.stuff, d.refused) })
	defer reports.Wait()
	defer cancel()

	for _, l := range ls {
		logger.Info("Serving", "addr", l.Addr().String(), "every", s.Every.String(), "connections", maxConns, "poller", s.Poller)
		fmt.Fprintf(to.out, "Stillpool is at %s (Ctrl-C ends it)\n", s.url(l.Addr()))
	}
	return supervise(srv, ls, s.DrainDelay+s.DrainTime+drainTime, signals, logger)
}

// options are those of all endpoints.
func (s *serveCmd) options(origins []string) server.Options {
	o := server.Options{
		WriteTimeout: s.WriteTimeout,
		Keepalive:    s.Keepalive,
		PongTimeout:  s.PongTimeout,
		Origins:      origins,
	}
	if s.Keepalive == 0 {
		o.Keepalive = -1 // where zero is the default
	}
	return o
}

// url returns what to open in a browser on this machine: the host as it was asked for, and the port as
// it is. A unix socket has its path.
func (s *serveCmd) url(bound net.Addr) string {
	if bound.Network() == "unix" {
		return "unix:" + bound.String()
	}
	asked := s.Addr
	if asked == "" {
		asked = bound.String() // it is inherited
	}
	host, _, _ := net.SplitHostPort(asked)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(bound.String())
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// service is what supervise needs of a *server.Server.
type service interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// supervise serves on all listeners until the service fails on one or a signal comes. Then it closes every
// connection in order within a time, unless a second signal comes first. It returns when nothing is served any more.
func supervise(srv service, ls []net.Listener, within time.Duration, signals <-chan os.Signal, logger *slog.Logger) error {
	served := make(chan error, len(ls))
	left := len(ls)
	defer func() {
		for range left {
			<-served
		}
	}()
	for _, l := range ls {
		go func() { served <- srv.Serve(l) }()
	}
	select {
	case err := <-served:
		left--
		srv.Close()
		return err
	case sig := <-signals:
		logger.Info("Closing every connection; another signal ends them at once", "signal", sig.String())
	}
	err := drain(srv, within, signals)
	if err == nil {
		logger.Info("Every connection is closed")
	}
	return err
}

// drain shuts down in order as far as signals and time allow, and at once where they don't.
func drain(srv service, within time.Duration, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- srv.Shutdown(ctx) }()
	select {
	case err := <-drained:
		if err != nil {
			srv.Close()
			return fmt.Errorf("not every connection could be closed in order: %w", err)
		}
		return nil
	case sig := <-signals:
		cancel() // Shutdown tells those who are not told yet, and cuts off
		<-drained
		srv.Close()
		return fmt.Errorf("ended at once by a second signal (%v)", sig)
	}
}
