package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// This file ends the server: in order, or at once.

// Shutdown stops accepting, says goodbye to every connection with DrainCode, and waits until all of
// them are gone. When ctx ends first, what is left is cut off, and the error says how many
// connections that were and wraps ctx's. Connections whose peers make no progress with what waits for them
// are cut off before that; then the error says how many, and wraps ErrWriteTimeout.
//
// With a DrainDelay nothing happens for so long but that Ready answers ErrServerClosed: whoever comes
// is let in, so that a balancer that asks now and then has sent them elsewhere before anybody is refused.
// With a DrainTime the goodbyes are spread over that time first. Meanwhile the listeners stay open, so
// that handshakes can be told 503 and when to come again, Handler answers, and whoever is still there
// has its ticks and messages. When ctx ends meanwhile, all who are left are told at once. If ctx has a
// deadline, both times are shortened so that the last ones told can answer.
//
// From inside a handler it does not wait for that handler's own connection, which can't end before
// the handler does; it recognises a handler by the calling goroutine's stack, so a goroutine that a handler
// started and waits for is not seen, and neither is a request that net/http has read. The server's
// goroutines end with its last connection.
func (s *Server) Shutdown(ctx context.Context) error {
	inside := s.insideHandler()
	if inside {
		s.inside.Add(1)
		defer s.inside.Add(-1)
	}
	s.sayUnready(ctx)
	s.sayGoodbyes(ctx)
	started, idle := s.stop()
	if !started {
		return nil
	}
	web := s.shutWeb(ctx)
	s.farewell()
	s.maybeIdle()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		if !isClosed(idle) {
			err = s.cutLate(ctx)
		}
	}
	<-web
	if !inside && err == nil {
		err = s.seeOff(ctx)
	}
	if n := s.cutShort.Load(); n > 0 && err == nil {
		err = fmt.Errorf("server: shutdown: %d connections were cut off: %w", n, ErrWriteTimeout)
	}
	return err
}

// seeOff waits for the goroutines. A Shutdown from inside a handler has perhaps ended the wait for
// the others, while that handler's own connection is still there.
func (s *Server) seeOff(ctx context.Context) error {
	gone := make(chan struct{})
	go func() { s.goroutines.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
		if s.conns.Load() > 0 {
			return s.cutLate(ctx)
		}
		<-gone
	}
	return nil
}

// cutLate cuts off what is left at the end of ctx, and tells how much that was.
func (s *Server) cutLate(ctx context.Context) error {
	defer s.cutAll()
	return fmt.Errorf("server: shutdown: %d connections were still open: %w", s.conns.Load(), ctx.Err())
}

// Close ends the server and every connection at once; peers see 1006 (abnormal closure). Close
// events still come. It does not wait.
func (s *Server) Close() error {
	started, _ := s.stop()
	if started {
		s.closeWeb()
		s.cutAll()
		s.maybeIdle()
	}
	return nil
}

// stop ends accepting, and tells whether there is anything more to end.
func (s *Server) stop() (started bool, idle chan struct{}) {
	s.mu.Lock()
	s.stopping.Store(true)
	acceptors := slices.Collect(maps.Keys(s.acceptors))
	started, idle = s.loops() != nil, s.idle
	s.mu.Unlock()
	// An acceptor's lock comes before the server's.
	for _, a := range acceptors {
		a.close()
	}
	s.spares.close()
	s.sealed.Store(true)
	return started, idle
}

var goingAway = Closing{Cause: ShutDown, Code: CodeGoingAway, Reason: "server is shutting down"}

// farewell begins to close every connection that is not told yet.
func (s *Server) farewell() {
	bye := s.goodbye()
	s.everyConn(func(c *Conn) {
		if c.state.has(stOpen) {
			c.startClose(bye)
		} else if !c.state.has(stLinger | stDead | stGone) {
			c.refuse(errShuttingDown)
		}
	})
	s.unwanted() // after the refusals, of which Authorize could make others
}

// cutAll ends every connection without any more ado.
func (s *Server) cutAll() {
	s.cut.Store(true)
	s.everyConn(func(c *Conn) {
		c.kill(Closing{Cause: ShutDown, Code: CodeAbnormal})
		c.nudge()
	})
	s.unwanted()
}

func (s *Server) everyConn(f func(*Conn)) {
	for _, l := range s.loops() {
		l.each(func(c *Conn) bool {
			c.mu.Lock()
			f(c)
			c.mu.Unlock()
			return true
		})
	}
}

// maybeIdle ends the loops when, after stop, the last connection is gone. Those whose handlers are
// inside Shutdown can't go while it waits, and are not waited for.
func (s *Server) maybeIdle() {
	if !s.sealed.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.conns.Load()
	if left <= s.inside.Load() && s.idle != nil && !isClosed(s.idle) {
		close(s.idle)
	}
	if left == 0 && s.ended != nil && !isClosed(s.ended) {
		close(s.ended)
		for _, l := range s.loops() {
			l.close()
		}
		s.pool.close()
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
