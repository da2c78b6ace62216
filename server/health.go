package server

import (
	"context"
	"fmt"
	"time"
)

// This file says whether the server is well. Each loop is asked once a second, and whenever somebody
// wants to know, whether it gets on; how long the answer takes is what anything else that came at that
// moment had to wait. It takes no lock, so that a loop that holds one for ever can't hold this up.

// beatEvery is how often the loops are asked: seldom enough to cost nothing, often enough that a loop
// that was held up for a second has been asked meanwhile.
const beatEvery = time.Second

// beat is a question to a loop.
type beat struct {
	asked    time.Time
	answered chan struct{}
}

// ask asks the loop, unless there is a question that it has not answered yet.
func (l *loop) ask() *beat {
	b := &beat{time.Now(), make(chan struct{})}
	for !l.beat.CompareAndSwap(nil, b) {
		if open := l.beat.Load(); open != nil {
			return open
		}
	}
	l.poll.Wake()
	return b
}

// answer answers the question that is open. Who serves the loop runs it, when it has taken its next
// batch: whatever held up the last one is over.
func (l *loop) answer(b *beat) {
	l.beat.Store(nil)
	l.stats.lag.add(time.Since(b.asked))
	close(b.answered)
}

// stalled is for how long the loop has not answered. That of a server that has ended never will.
func (l *loop) stalled() time.Duration {
	if b := l.beat.Load(); b != nil && !isClosed(l.srv.ended) {
		return time.Since(b.asked)
	}
	return 0
}

// pulse asks until the server ends.
func (s *Server) pulse() {
	defer s.goroutines.Done()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var sheds shedLog
	var stopped time.Duration
	for {
		due := s.clock.now() + clockEvery
		select {
		case <-tick.C:
			s.clock.look(due)
			if last := stopped; s.clock.stopped() > last {
				stopped = s.clock.stopped()
				s.log().Warn("process did not run", "time", stopped-last)
			}
			for _, l := range s.loops() {
				l.ask()
			}
			sheds.tell(s)
		case <-s.ended:
			return
		}
	}
}

// Healthy asks every event loop whether it gets on, and waits for the answers: nil, in microseconds
// when there is little to do; ErrStuck, which wraps the error of ctx too, when that ends first; or
// ErrServerClosed when the server has ended. A handler that blocks holds up no loop, so it is no
// reason. A server that has not begun to serve is healthy, and so is one that is being shut down. It
// may be called from any goroutine.
func (s *Server) Healthy(ctx context.Context) error {
	loops := s.loops()
	beats := make([]*beat, len(loops))
	for i, l := range loops {
		beats[i] = l.ask()
	}
	for i, b := range beats {
		select {
		case <-b.answered:
		case <-s.ended:
			return ErrServerClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: loop %d of %d, for %v: %w", ErrStuck, i+1, len(loops), time.Since(b.asked), ctx.Err())
		}
	}
	return nil
}

// Ready tells whether the server takes connections: nil while it listens, ErrNotListening before, and
// ErrServerClosed from the moment that Shutdown or Close is called: before any handshake is refused for it
// and any connection told goodbye, and while the listeners are still open.
// A server whose endpoints are only mounted in another http.Server has no listener of its own. It may be
// called from any goroutine.
func (s *Server) Ready() error {
	if s.goodbyes.announced.Load() || s.Draining() {
		return ErrServerClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acceptors) == 0 {
		return ErrNotListening
	}
	return nil
}
