package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file takes connections off listeners, until there is no descriptor left for them.

const (
	// acceptBatch is how many connections are accepted before the loop serves others: a millisecond of
	// them. From 16 to 1,024 made no difference to storms of 18,000, because each that comes is an event
	// or two more. But those who are gone still have descriptors until their events are served, 256 in a
	// batch, and a storm must not take more than it gives back.
	acceptBatch = 64
	// acceptPause is how long accepting rests when memory has run out, or descriptors and the reserve
	// with them, unless a connection is closed before: others may free what this process does not see.
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
	proxied  bool          // each connection begins with a PROXY header

	again  atomic.Bool   // there may be more to accept, though no event will say so
	missed atomic.Bool   // somebody came to accept while another one did
	looks  atomic.Uint64 // times that it was run
	paused atomic.Bool   // until a descriptor is freed, or for acceptPause

	mu         sync.Mutex // held while accepting, so that the descriptor is not closed meanwhile
	closed     bool
	rest       *time.Timer // one for all rests: each that is set anew while accepting rests would set another
	complained time.Time   // when the log last said that accepting rests

	// looking is a leaf, held while the descriptor is closed, and while it is looked at from outside:
	// who asks must not wait for who accepts, nor pass for one who does.
	looking sync.Mutex
	gone    bool // the descriptor is closed
}

// run accepts what waits. The loop calls it; and again on another goroutine, if it was deposed over
// the first, which must not hold up the second.
func (a *acceptor) run(l *loop) {
	a.looks.Add(1)
	if !a.mu.TryLock() {
		// The other one looks at missed after it unlocked, or has unlocked by now.
		if a.missed.Store(true); !a.mu.TryLock() {
			return
		}
	}
	var more bool
	var err error
	if !a.paused.Load() { // or resume has it run again
		more, err = a.batch(l)
	}
	level := slog.LevelDebug
	if err != nil {
		level = a.pause(l)
	}
	a.mu.Unlock()
	a.srv.complain()
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
		switch err := a.one(l); {
		case err == nil:
		case err == netpoll.ErrWouldBlock:
			return false, nil
		case netpoll.IsTransient(err):
		default:
			return false, err
		}
	}
	return true, nil
}

// one accepts a connection.
func (a *acceptor) one(l *loop) error {
	fd, peer, err := netpoll.Accept(a.listener.FD)
	if err != nil {
		return a.none(l, err)
	}
	l.stats.accepted.Add(1)
	return a.srv.admit(fd, peer, a.proxied)
}

// none is for when no connection could be accepted. One that waits and finds no descriptor is told so
// with the help of the reserve, because in the kernel's backlog it would not learn that it waits in vain.
func (a *acceptor) none(l *loop, err error) error {
	if err == netpoll.ErrWouldBlock || !netpoll.IsExhausted(err) {
		return err
	}
	if err = a.srv.spares.turnAway(a.listener.FD, limitWords[limitDescriptors], err); err == nil {
		l.stats.accepted.Add(1)
		l.stats.handshakes[RefusedDescriptors].Add(1)
		a.srv.turnedAway(limitDescriptors)
	}
	return err
}

// pause rests until a descriptor is freed, or for a while. Accepting on at once would spin, because the
// listener stays readable. It tells how loud to say so: peers that come and go at the limit must not
// fill the log.
func (a *acceptor) pause(l *loop) slog.Level {
	l.stats.rests.Add(1)
	a.paused.Store(true)
	if a.rest == nil {
		a.rest = time.AfterFunc(acceptPause, a.srv.acceptAgain)
	} else {
		a.rest.Reset(acceptPause)
	}
	a.srv.exhausted.Store(true) // after paused, which acceptAgain looks at behind this
	if time.Since(a.complained) < complainEvery {
		return slog.LevelDebug
	}
	a.complained = time.Now()
	return slog.LevelWarn
}

// resume goes on where accepting paused. What came meanwhile gives no event any more.
func (a *acceptor) resume() {
	if a.paused.Swap(false) {
		a.again.Store(true)
		a.loop.rouse()
	}
}

// queue is what the kernel has of connections to be accepted, and the most it may have; nothing of a unix
// socket.
func (a *acceptor) queue() (waiting, most int) {
	a.looking.Lock()
	defer a.looking.Unlock()
	if !a.gone {
		waiting, most, _ = netpoll.AcceptQueue(a.listener.FD)
	}
	return waiting, most
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
	a.looking.Lock()
	a.listener.Close()
	a.gone = true
	a.looking.Unlock()
	close(a.done)
}

// descriptorFreed lets acceptors go on that rest for want of one.
func (s *Server) descriptorFreed() {
	if s.exhausted.Load() || s.spares.short.Load() {
		s.acceptAgain()
	}
}

// acceptAgain ends the rests of all acceptors. The reserve comes first: with it, who comes is at least
// told.
func (s *Server) acceptAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exhausted.Store(false)
	s.spares.fill()
	for a := range s.acceptors {
		a.resume()
	}
}
