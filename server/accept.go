package server

import (
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
	paused atomic.Bool // until a descriptor is free

	mu     sync.Mutex // held while accepting, so that the descriptor is not closed meanwhile
	closed bool
}

// run accepts what waits. The loop calls it.
func (a *acceptor) run(l *loop) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range acceptBatch {
		if a.closed {
			return
		}
		fd, peer, err := netpoll.Accept(a.listener.FD)
		switch {
		case err == nil:
			l.stats.accepted.Add(1)
			if a.userTimeout > 0 {
				netpoll.SetUserTimeout(fd, a.userTimeout)
			}
			a.srv.admit(fd, peer)
		case err == netpoll.ErrWouldBlock:
			return
		case netpoll.IsTransient(err):
		default:
			a.pause(err)
			return
		}
	}
	a.again.Store(true)
}

// pause rests until a descriptor is freed, or for a while: others may free one that this process
// does not see. Accepting on at once would spin, because the listener stays readable.
func (a *acceptor) pause(err error) {
	a.srv.exhausted.Store(true)
	if !a.paused.Swap(true) {
		a.srv.log().Warn("accepting rests", "addr", a.listener.Addr(), "error", err,
			"out_of_descriptors", netpoll.IsExhausted(err))
	}
	time.AfterFunc(acceptPause, a.resume)
}

func (a *acceptor) resume() {
	if a.paused.Swap(false) {
		a.again.Store(true)
		a.loop.poll.Wake()
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
func (s *Server) admit(fd int, peer netip.AddrPort) {
	c := s.newConn(int32(fd), peer)
	n := s.conns.Add(1)
	over := s.MaxConns > 0 && n > int64(s.MaxConns)
	if over && n > int64(s.MaxConns+s.MaxConns/8+64) {
		// Even those that are being told take descriptors; past a bound the rest is not told.
		s.left()
		netpoll.Close(fd)
		return
	}
	if over {
		c.state = stTurn // nobody else may serve it before it is refused
	}
	if err := c.loop.add(c); err != nil {
		s.log().Warn("connection not registered", "remote", peer, "error", err)
		netpoll.Close(fd)
		s.left()
		return
	}
	if over {
		c.mu.Lock()
		c.refuse(errTooManyConns)
		c.letGo()
		c.mu.Unlock()
	}
}

func (s *Server) newConn(fd int32, peer netip.AddrPort) *Conn {
	s.trim.note(s)
	id := s.ids.Add(1)
	loops := s.loops()
	c := &Conn{id: id, fd: fd, loop: loops[id%uint64(len(loops))], heard: s.now()}
	c.at = c.heard + ticksOf(s.handshakeTimeout())
	c.setRemote(peer)
	return c
}

// come counts a connection in that no acceptor brings, unless it is one too many or too late: the
// loops end with the last connection that was counted before stop.
func (s *Server) come(mayExceed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return errShuttingDown
	}
	if n := s.conns.Add(1); s.MaxConns > 0 && n > int64(s.MaxConns) && !mayExceed {
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
