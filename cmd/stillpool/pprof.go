package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"
)

const (
	// pprofHeaderTime bounds reading a request. Answering one has no bound: a profile takes as long
	// as was asked for.
	pprofHeaderTime = 5 * time.Second
	// pprofIdleTime is how long a browser may keep a connection for its next request.
	pprofIdleTime = time.Minute
	// pprofEndTime is how long answers that were cut short may take to be written.
	pprofEndTime = 2 * time.Second
)

// pprofAddr is where --pprof listens. What names no host means this machine only: a profile tells
// more of a process than its users should know, and taking one slows it down.
func pprofAddr(given string) (string, error) {
	if !strings.Contains(given, ":") {
		given = ":" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return "", fmt.Errorf("--pprof: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("--pprof: want [HOST:]PORT, got %q", given)
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

// servePprof serves live profiles at addr and answers how to end that, in order; the empty address is
// none. It has a listener and a mux of its own, so that no visitor of the application meets them.
func servePprof(addr string, logger *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	if addr, err = pprofAddr(addr); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof: %w", err)
	}
	logger.Info("Serving profiles", "url", "http://"+l.Addr().String()+"/debug/pprof/")
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		logger.Warn("Other machines may reach the profiles: they tell much, and taking one slows this process down", "addr", a.String())
	}
	// Profiles that are being taken when the server ends are cut short, and not lost.
	ctx, cut := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           pprofMux(),
		ReadHeaderTimeout: pprofHeaderTime,
		IdleTimeout:       pprofIdleTime,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return func() {
		cut()
		endPprof(srv)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("Profiles were not served to the end", "error", err)
		}
	}, nil
}

func endPprof(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), pprofEndTime)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
}

// pprofMux has the paths that "go tool pprof" knows. Importing the package puts them into
// http.DefaultServeMux too, which nothing here serves.
func pprofMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/{$}", http.RedirectHandler("/debug/pprof/", http.StatusFound))
	return mux
}
