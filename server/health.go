package server

import (
	"context"
	"fmt"
	"time"
)

// Liveness and readiness. The server probes each loop once a second and on request. The time to the
// reply is what any other event of that moment waited. Probing takes no lock, so that a loop that holds
// one for ever can't block it.

// beatEvery is the interval of the probes: each costs a wake-up of the loop.
const beatEvery = time.Second

// beat is a probe of a loop.
type beat struct {
	asked    time.Time
	answered chan struct{}
}

// ask starts a probe of the loop, or returns the one that has no reply yet.
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

// answer replies to the probe. The loop calls it when it has taken its next batch: the last batch is
// then over.
func (l *loop) answer(b *beat) {
	l.beat.Store(nil)
	l.stats.lag.add(time.Since(b.asked))
	close(b.answered)
}

// stalled returns the time since a probe without a reply; zero when there is none, or when the server
// has ended.
func (l *loop) stalled() time.Duration {
	if b := l.beat.Load(); b != nil && !isClosed(l.srv.ended) {
		return time.Since(b.asked)
	}
	return 0
}

// pulse probes all loops at intervals until the server ends.
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

// Healthy probes every event loop and waits for the replies. It returns nil, within microseconds on an
// idle server; ErrStuck, which also wraps the error of ctx, when ctx ends first; or ErrServerClosed when
// the server has ended. A handler that blocks stalls no loop and so does not matter. A server that has
// not begun to serve is healthy, and so is one that drains. Safe for concurrent use.
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

// Ready reports whether the server accepts connections. It returns nil while the server listens,
// ErrNotListening before, and ErrServerClosed from the call of Shutdown or Close on: before any handshake
// is rejected or any connection closed for that, and while the listeners are still open. A server whose
// endpoints are only mounted in another http.Server has no listener of its own. Safe for concurrent use.
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
