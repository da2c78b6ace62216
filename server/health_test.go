//go:build linux

package server

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// wantHealthy asks until bound.
func wantHealthy(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if err := s.Healthy(ctx); err != nil {
		t.Errorf("it should be healthy: %v", err)
	}
}

// wantStuck asks for a moment.
func wantStuck(t *testing.T, s *Server, which string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Healthy(ctx); !errors.Is(err, ErrStuck) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), which) {
		t.Errorf("%s is held up, and the answer is %v", which, err)
	}
}

// TestHealthy: loops that get on answer, busy or not, at any age of the server.
func TestHealthy(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 3
		wantHealthy(t, s)
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		for range 5 {
			wantHealthy(t, s)
		}
		if st := s.Stats(); st.LoopLag.Count() < 15 {
			t.Errorf("3 loops were asked 5 times, and answered %d times", st.LoopLag.Count())
		}
		p := open(t, addr, "/ws")
		p.send(frame(ws.OpText, "still"))
		p.want(ws.OpText, "still")
		must(t, s.Close())
		ctx := lifeContext(t)
		await(t, "it has ended", func() bool { return s.Healthy(ctx) == ErrServerClosed })
	})
}

// TestHealthyWhileDraining: a server that waits for its peers to leave is as well as before.
func TestHealthyWhileDraining(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.CloseTimeout = bound
		s.Handle("/ws", Options{})
		p := open(t, serve(t, s), "/ws")
		drained := make(chan error, 1)
		go func() { drained <- s.Shutdown(lifeContext(t)) }()
		p.wantClose(CodeGoingAway, "server is shutting down")
		wantHealthy(t, s)
		p.send(closeFrame(CodeGoingAway, ""))
		must(t, receive(t, "the end of Shutdown", drained))
	})
}

// TestHealthyBesideBlockingHandlers: a handler that blocks holds up no loop, and a look from inside
// of a handler does not wait for itself.
func TestHealthyBesideBlockingHandlers(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 1
		entered, leave := make(chan struct{}, 2), make(chan struct{})
		s.Handle("/ws", Options{OnMessage: func(*Conn, Message) { entered <- struct{}{}; <-leave }})
		s.Handle("/look", Options{OnMessage: func(c *Conn, _ Message) {
			if err := s.Healthy(lifeContext(t)); err != nil {
				c.WriteText(err.Error())
			}
			c.WriteText("looked")
		}})
		addr := serve(t, s)
		open(t, addr, "/ws").send(frame(ws.OpText, "block"))
		receive(t, "the message", entered)
		wantHealthy(t, s)
		p := open(t, addr, "/look")
		p.send(frame(ws.OpText, "look"))
		p.want(ws.OpText, "looked")
		close(leave)
	})
}

// TestHealthyStuck holds a loop up as a bug of its own would: its lock is never given back. The
// answer names it, and when the loop gets on, all is well again.
func TestHealthyStuck(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 2
		addr := serve(t, s)
		dial(t, addr)
		wantHealthy(t, s)
		l := s.loops()[1]
		l.mu.Lock()
		wantStuck(t, s, "loop 2 of 2")
		wantStuck(t, s, "loop 2 of 2")
		if l.stalled() < 10*time.Millisecond {
			t.Errorf("it is said to be held up for %v", l.stalled())
		}
		l.mu.Unlock()
		wantHealthy(t, s)
		if st := s.Stats(); st.LoopLag.Sum < 10*time.Millisecond {
			t.Errorf("the loops were held up for %v in all", st.LoopLag.Sum)
		}
	})
}

// TestHealthyLoopGone: a loop whose poller fails does not come back, and is not well.
func TestHealthyLoopGone(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 2
		serve(t, s)
		await(t, "it listens", func() bool { return s.Ready() == nil })
		must(t, s.loops()[0].poll.Close())
		await(t, "the loop is gone", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			return errors.Is(s.Healthy(ctx), ErrStuck)
		})
		wantStuck(t, s, "loop 1 of 2")
		if st := s.Stats(); st.LoopStalled <= 0 {
			t.Errorf("the longest silence of a loop is %v", st.LoopStalled)
		}
	})
}

// TestHealthyNoMore: the loops of a server that has ended answer nobody, and are not held up.
func TestHealthyNoMore(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		serve(t, s)
		must(t, s.Shutdown(lifeContext(t)))
		if err := s.Healthy(t.Context()); err != ErrServerClosed {
			t.Errorf("Healthy: %v", err)
		}
		if st := s.Stats(); st.LoopStalled != 0 {
			t.Errorf("a loop is said to be held up for %v", st.LoopStalled)
		}
	})
}

// TestPulse: the loops are asked also when nobody wants to know.
func TestPulse(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 2
		serve(t, s)
		await(t, "both are asked", func() bool { st := s.Stats(); return st.LoopLag.Count() >= 2 })
	})
}

// TestReady: a server is ready while it listens, and from the beginning of a shutdown on it is not,
// though its listener still takes connections.
func TestReady(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		if err := s.Ready(); err != ErrNotListening {
			t.Errorf("before it listens: %v", err)
		}
		addr := serve(t, s)
		await(t, "it is ready", func() bool { return s.Ready() == nil })
		s.mu.Lock()
		var a *acceptor
		for a = range s.acceptors {
		}
		s.mu.Unlock()
		a.mu.Lock() // the shutdown comes to the listener, and no further
		letGo := sync.OnceFunc(a.mu.Unlock)
		defer letGo()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(lifeContext(t)) }()
		await(t, "it is not ready any more", func() bool { return s.Ready() == ErrServerClosed })
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("the listener was closed before: %v", err)
		} else {
			conn.Close()
		}
		letGo()
		must(t, receive(t, "the end of Shutdown", ended))
		if err := s.Ready(); err != ErrServerClosed {
			t.Errorf("when it has ended: %v", err)
		}
	})
}

// TestReadyWhileDraining: a server that takes its time for the goodbyes is not ready before the first of
// them, while its listener is open and everybody is served.
func TestReadyWhileDraining(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.DrainTime = 10 * time.Hour
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		p := open(t, addr, "/ws")
		served := func() {
			t.Helper()
			p.send(frame(ws.OpText, "still here"))
			p.want(ws.OpText, "still here")
		}
		served() // so its upgrade is over, before which a shutdown tells it at once
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		await(t, "it is not ready any more", func() bool { return s.Ready() == ErrServerClosed })
		served()
		late := dial(t, addr)
		late.send(upgradeTo("/ws"))
		late.answer()
		wantReasons(t, s, map[RefusalReason]uint64{RefusedDraining: 1})
		wantHealthy(t, s)
		if st := s.Stats(); st.Parting != 1 || st.Open != 1 {
			t.Errorf("%d are to be told, of %d", st.Parting, st.Open)
		}
		must(t, s.Close())
		must(t, receive(t, "the end of Shutdown", ended))
	})
}

// TestReadyMounted: endpoints in another http.Server make no listener.
func TestReadyMounted(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	addr := lifeMount(t, s, "/ws", s.Handle("/ws", Options{}), lifeListen(t))
	open(t, addr, "/ws")
	if err := s.Ready(); err != ErrNotListening {
		t.Error(err)
	}
	wantHealthy(t, s)
}
