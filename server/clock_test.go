//go:build linux

package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockLeavesOutStops: time in which nothing looked at the clock, though something meant to, is left out, and
// time between looks that came when they were meant to is not.
func TestClockLeavesOutStops(t *testing.T) {
	const ms = time.Millisecond
	type look struct{ after, due time.Duration } // the look before; the due time from that on
	for name, c := range map[string]struct {
		looks []look
		ran   time.Duration
	}{
		"looks on time":                  {[]look{{100 * ms, 100 * ms}, {900 * ms, 900 * ms}}, 1000 * ms},
		"an early one":                   {[]look{{100 * ms, 5000 * ms}}, 100 * ms},
		"a late one of a loaded machine": {[]look{{350 * ms, 100 * ms}}, 350 * ms},
		"a stop":                         {[]look{{351 * ms, 100 * ms}}, 0},
		"a stop of a sleeping server":    {[]look{{1251 * ms, never}}, 0},
		"a sleeping server":              {[]look{{1250 * ms, never}}, 1250 * ms},
		"a stop, and then none":          {[]look{{3000 * ms, 10 * ms}, {100 * ms, 100 * ms}}, 100 * ms},
		"two stops":                      {[]look{{3000 * ms, 10 * ms}, {250 * ms, 250 * ms}, {3000 * ms, 10 * ms}}, 250 * ms},
		"always late":                    {[]look{{3000 * ms, 10 * ms}, {3000 * ms, 10 * ms}, {3000 * ms, 10 * ms}}, 500 * ms},
		"long since due":                 {[]look{{200 * ms, -5000 * ms}, {200 * ms, -5000 * ms}}, 400 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := clock{start: time.Now()}
				time.Sleep(time.Second) // not at 0
				k.look(time.Second)
				before, all := k.now(), time.Duration(0)
				for _, l := range c.looks {
					due := never
					if l.due != never {
						due = k.now() + l.due
					}
					time.Sleep(l.after)
					all += l.after
					k.look(due)
				}
				if ran := k.now() - before; ran != c.ran || k.stopped() != all-ran {
					t.Errorf("ran %v, want %v; stopped %v of %v", ran, c.ran, k.stopped(), all)
				}
			})
		})
	}
}

// TestClockOfReaders: whoever reads the clock between two looks does not hide a stop from the next one.
func TestClockOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := clock{start: time.Now()}
		time.Sleep(800 * time.Millisecond)
		if k.now() != 800*time.Millisecond || k.look(10*time.Millisecond) != 0 {
			t.Errorf("at %v, left out %v", k.now(), k.stopped())
		}
		time.Sleep(2 * time.Second)
		if k.now() != 250*time.Millisecond { // right after a stop
			t.Errorf("at %v, left out %v", k.now(), k.stopped())
		}
	})
}

// TestDeadlineContext ends by the server's clock, and as one of package context does.
func TestDeadlineContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		s.clock.start = time.Now()
		s.clock.look(never)
		ctx, cancel := s.withTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if end, ok := ctx.Deadline(); !ok || time.Until(end) != 500*time.Millisecond {
			t.Errorf("the deadline is in %v", time.Until(end))
		}
		s.clock.mu.Lock()
		s.clock.out.Store(int64(300 * time.Millisecond)) // as if it was stopped
		s.clock.mu.Unlock()
		time.Sleep(799 * time.Millisecond)
		if ctx.Err() != nil {
			t.Error("ended early")
		}
		time.Sleep(time.Millisecond)
		<-ctx.Done()
		if ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != context.DeadlineExceeded {
			t.Errorf("ended by %v", ctx.Err())
		}
		for _, end := range []func(context.CancelFunc, context.CancelFunc){
			func(parent, _ context.CancelFunc) { parent() }, func(_, own context.CancelFunc) { own() },
		} {
			parent, cancel := context.WithCancel(context.Background())
			ctx, own := s.withTimeout(parent, time.Hour)
			end(cancel, own)
			if <-ctx.Done(); ctx.Err() != context.Canceled {
				t.Errorf("ended by %v", ctx.Err())
			}
			cancel()
			own()
		}
	})
}
