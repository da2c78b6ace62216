package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// This file hands connections that do not ask for an endpoint to net/http, with the bytes that were
// read already. Such a connection has a goroutine and buffers from then on, as in any http.Server,
// until it is closed or asks for an upgrade; see takeover.go for the way back.

// web is the standard library's server behind Server.Handler.
type web struct {
	http  http.Server
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newWeb(s *Server) *web {
	h := &web{conns: make(chan net.Conn), done: make(chan struct{}), addr: &net.TCPAddr{}}
	h.http = http.Server{
		Handler:           http.HandlerFunc(s.route),
		ReadHeaderTimeout: s.handshakeTimeout(),
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    s.maxHeader(),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, plainConnKey{}, conn)
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			// It has counted since it was accepted.
			if state == http.StateClosed || state == http.StateHijacked {
				s.gone(conn.(*plainConn))
				s.descriptorFreed()
			}
		},
		ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelWarn),
	}
	s.goroutines.Add(1)
	go func() {
		defer s.goroutines.Done()
		if err := h.http.Serve(h); !errors.Is(err, http.ErrServerClosed) {
			s.log().Error("plain HTTP ends", "error", err)
		}
	}()
	return h
}

// route brings upgrades that come later on a kept-alive connection back to their endpoint.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	s.paceBody(r)
	path := r.URL.Path
	if path == "" {
		path = "/" // RFC 9110 section 4.2.3
	}
	if ep := s.endpoint([]byte(path)); ep != nil {
		ep.ServeHTTP(w, r)
		return
	}
	if s.Handler == nil {
		s.refuseStd(w, errNotFound)
		return
	}
	s.Handler.ServeHTTP(w, r)
}

// toHTTP gives the connection away: raw is a whole request head, rest what came behind it. The
// holder of the turn calls it, and has nothing more to do with the connection then.
func (c *Conn) toHTTP(w *worker, raw, rest []byte) {
	prefix := append(append([]byte(nil), raw...), rest...)
	c.mu.Lock()
	if c.state.has(stLinger | stDead) {
		c.mu.Unlock()
		return
	}
	fd := int(c.fd)
	c.fd = -1
	p := &plainConn{prefix: prefix, remote: c.RemoteAddr(), counted: c.state.has(stCounted),
		proxied: c.ext != nil && c.ext.peer != nil}
	c.state &^= stCounted
	c.giveBack()
	c.state |= stGone | stDead
	w.stage = c.state
	c.mu.Unlock()
	srv := c.loop.srv
	srv.plain.Add(1)
	c.dropInbound()
	c.loop.remove(c)
	c.loop.poll.Remove(fd)
	var err error
	if p.Conn, err = srv.spares.netConn(fd); err != nil {
		srv.gone(p)
		srv.log().Warn("connection not handed to the HTTP handler", "remote", c.RemoteAddr(), "error", err)
		return
	}
	srv.goroutines.Add(1)
	go func() {
		defer srv.goroutines.Done()
		if !srv.web.give(p) {
			p.Close()
			srv.gone(p)
		}
	}()
}

// give tells whether http.Server took the connection.
func (h *web) give(conn net.Conn) bool {
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
		return false
	}
}

// has tells whether a request came over this server's own port.
func (h *web) has(r *http.Request) bool {
	return h != nil && r.Context().Value(http.ServerContextKey) == &h.http
}

// Accept implements net.Listener for http.Server.
func (h *web) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *web) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *web) Addr() net.Addr { return h.addr }

// shutWeb shuts the HTTP side down in order, and tells by the channel when that is done. Its
// connections count among the server's, so whoever waits for those knows whether it was in time.
func (s *Server) shutWeb(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if s.web == nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		if s.web.http.Shutdown(ctx) != nil {
			s.web.http.Close()
		}
	}()
	return done
}

func (s *Server) closeWeb() {
	if s.web != nil {
		s.web.http.Close()
	}
}

// gone takes a connection that net/http had out of all counts.
func (s *Server) gone(p *plainConn) {
	if p.counted {
		s.addresses.leave(p.remote.Addr().As16())
	}
	s.plain.Add(-1)
	s.left()
}
