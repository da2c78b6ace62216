package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file serves what is for operators. It has a listener and a mux of its own, so that no visitor
// of the application meets it, and it is the last to end, so that one can look at an end that takes
// long.

const (
	// asideHeaderTime bounds reading the head of a request, and what is behind it. Answering one has no
	// bound: a profile takes as long as was asked for.
	asideHeaderTime = 5 * time.Second
	// asideWriteTime bounds how long a piece of an answer may wait for its reader.
	asideWriteTime = 30 * time.Second
	// asideIdleTime is how long a client may keep a connection for its next request.
	asideIdleTime = time.Minute
	// asideEndTime is how long answers that were cut short may take to be written.
	asideEndTime = 2 * time.Second
	// asideConns is how many connections are accepted at once, at each address; others wait. It leaves
	// room in descriptorReserve.
	asideConns = 32
)

// asideWords are what the log says of an address.
type asideWords struct{ serving, path, warning string }

// asideAddr is where a flag makes the process listen. What names no host means this machine only:
// profiles and counts tell more of a process than its users should know.
func asideAddr(flag, given string) (string, error) {
	if !strings.Contains(given, ":") {
		given = ":" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%s: want [HOST:]PORT, got %q", flag, given)
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

// serveAside serves at an address that a flag gave, and answers how to end that, in order; the empty
// address is none.
func serveAside(flag, given string, handler http.Handler, logger *slog.Logger, words asideWords) (stop func(), err error) {
	if given == "" {
		return func() {}, nil
	}
	addr, err := asideAddr(flag, given)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	logger.Info(words.serving, "url", "http://"+l.Addr().String()+words.path)
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		logger.Warn(words.warning, "addr", a.String())
	}
	// What is being answered when the server ends, as a profile that is being taken, is cut short and
	// not lost.
	ctx, cut := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           bodyInTime(handler),
		ReadHeaderTimeout: asideHeaderTime,
		IdleTimeout:       asideIdleTime,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(newFew(l, asideConns)) }()
	return func() {
		cut()
		endAside(srv)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("Not served to the end", "flag", flag, "error", err)
		}
	}, nil
}

// bodyInTime bounds reading what a request has behind its head, also where only net/http reads it, before
// the next request. http.Server.ReadTimeout would cut long answers short.
func bodyInTime(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(asideHeaderTime))
		}
		h.ServeHTTP(w, r)
	})
}

func endAside(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), asideEndTime)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
}

// few is a listener whose connections are bounded: one too many waits in the kernel until another one
// is closed.
type few struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newFew(l net.Listener, n int) *few {
	return &few{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (f *few) Accept() (net.Conn, error) {
	select {
	case f.places <- struct{}{}:
	case <-f.closed:
		return nil, net.ErrClosed
	}
	c, err := f.Listener.Accept()
	if err != nil {
		<-f.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-f.places })}, nil
}

// Close implements net.Listener.
func (f *few) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Listener.Close()
}

// placed is a connection that has one of the places.
type placed struct {
	net.Conn
	leave func()
}

// Write implements net.Conn.
func (p *placed) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(asideWriteTime))
	return p.Conn.Write(b)
}

// Close implements net.Conn.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
