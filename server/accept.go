package server

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file takes connections in: from a listener, or from whoever has a descriptor already.

const (
	// acceptBatch is how many connections are accepted before the loop serves others.
	acceptBatch = 64
	// acceptPause is how long accepting rests when descriptors or memory have run out, unless a
	// connection is closed before.
	acceptPause = 100 * time.Millisecond
	// complainEvery is how often the log warns of it at the most.
	complainEvery = 10 * time.Second
)

// acceptor is a listener that a loop waits on.
type acceptor struct {
	srv      *Server
	listener *netpoll.Listener
	loop     *loop
	done     chan struct{} // closed when it accepts no more
	// userTimeout is set on each accepted socket, if the listener did not take it to pass it on:
	// one of net.Listen is an MPTCP socket, which does not know the option.
	userTimeout time.Duration

	again  atomic.Bool // there may be more to accept, though no event will say so
	missed atomic.Bool // somebody came to accept while another one did
	paused atomic.Bool // until a descriptor is free

	mu         sync.Mutex // held while accepting, so that the descriptor is not closed meanwhile
	closed     bool
	complained time.Time // when the log last said that accepting rests
}

// run accepts what waits. The loop calls it; and again on another goroutine, if it was deposed over
// the first, which must not hold up the second.
func (a *acceptor) run(l *loop) {
	if !a.mu.TryLock() {
		// The other one looks at missed after it unlocked, or has unlocked by now.
		if a.missed.Store(true); !a.mu.TryLock() {
			return
		}
	}
	more, err := a.batch(l)
	level := slog.LevelDebug
	if err != nil {
		level = a.pause()
	}
	a.mu.Unlock()
	if err != nil {
		a.srv.log().Log(context.Background(), level, "accepting rests", "addr", a.listener.Addr(),
			"error", err, "out_of_descriptors", netpoll.IsExhausted(err))
	}
	if a.missed.Swap(false) || more {
		a.again.Store(true)
		l.rouse()
	}
}

// batch accepts some, and tells whether there may be more.
func (a *acceptor) batch(l *loop) (more bool, err error) {
	for range acceptBatch {
		if a.closed {
			return false, nil
		}
		fd, peer, err := netpoll.Accept(a.listener.FD)
		switch {
		case err == nil:
			l.stats.accepted.Add(1)
			if a.userTimeout > 0 {
				netpoll.SetUserTimeout(fd, a.userTimeout)
			}
			if err := a.srv.admit(fd, peer); err != nil {
				return false, err
			}
		case err == netpoll.ErrWouldBlock:
			return false, nil
		case netpoll.IsTransient(err):
		default:
			return false, err
		}
	}
	return true, nil
}

// pause rests until a descriptor is freed, or for a while: others may free one that this process
// does not see. Accepting on at once would spin, because the listener stays readable. It tells how
// loud to say so: peers that come and go at the limit must not fill the log.
func (a *acceptor) pause() slog.Level {
	a.srv.exhausted.Store(true)
	if !a.paused.Swap(true) {
		a.loop.stats.acceptPauses.Add(1)
		time.AfterFunc(acceptPause, a.resume)
	}
	if time.Since(a.complained) < complainEvery {
		return slog.LevelDebug
	}
	a.complained = time.Now()
	return slog.LevelWarn
}

func (a *acceptor) resume() {
	if a.paused.Swap(false) {
		a.again.Store(true)
		a.loop.rouse()
	}
}

// close ends accepting and closes the listener.
func (a *acceptor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	a.loop.poll.Remove(a.listener.FD)
	a.listener.Close()
	close(a.done)
}

// admit makes a connection of an accepted descriptor, on the loop whose turn it is. One too many is
// told so and closed.
func (s *Server) admit(fd int, peer netip.AddrPort) error {
	c := s.newConn(int32(fd), peer)
	n := s.conns.Add(1)
	over := s.MaxConns > 0 && n > int64(s.MaxConns)
	if over && n > int64(s.MaxConns+s.MaxConns/8+64) {
		// Even those that are being told take descriptors; past a bound the rest is not told.
		c.loop.stats.handshakes[RefusedFull].Add(1)
		s.left()
		return netpoll.Close(fd)
	}
	if over {
		c.state = stTurn // nobody else may serve it before it is refused
	}
	if err := c.loop.add(c); err != nil {
		c.loop.stats.abandoned.Add(1)
		netpoll.Close(fd)
		s.left()
		return err
	}
	if over {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refuse(errTooManyConns)
		c.letGo()
	}
	return nil
}

func (s *Server) newConn(fd int32, peer netip.AddrPort) *Conn {
	s.trim.note(s, 1)
	id := s.ids.Add(1)
	loops := s.loops()
	c := &Conn{id: id, fd: fd, loop: loops[id%uint64(len(loops))], heard: s.now()}
	c.at = c.heard + ticksOf(s.handshakeTimeout())
	c.setRemote(peer)
	return c
}

// come counts a connection in that no acceptor brings, unless it is one too many or too late: the
// loops end with the last connection that was counted before stop.
func (s *Server) come() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return errShuttingDown
	}
	if n := s.conns.Add(1); s.MaxConns > 0 && n > int64(s.MaxConns) {
		s.conns.Add(-1)
		return errTooManyConns
	}
	return nil
}

// left notes that a connection is gone. The last one ends a shutdown.
func (s *Server) left() {
	if s.conns.Add(-1) <= s.inside.Load() {
		s.maybeIdle()
	}
}

// descriptorFreed lets acceptors go on that rest for want of one.
func (s *Server) descriptorFreed() {
	if !s.exhausted.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exhausted.Store(false)
	for a := range s.acceptors {
		a.resume()
	}
}
