package server

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file is the time that all deadlines are held against: the time in which the process ran.

const (
	// clockEvery is how often the server looks at its clock at the least: its pulse does.
	clockEvery = beatEvery
	// stoppedFrom is how late a look comes when the process counts as stopped. A loaded machine makes a
	// thread wait for tens of milliseconds.
	stoppedFrom = 250 * time.Millisecond
	never       = time.Duration(math.MaxInt64)
)

// clock leaves out the time in which the process did not run: after SIGSTOP, in a suspended machine or under
// a debugger. What peers sent meanwhile could not be read, and what was due could not be done.
//
// Loops and the pulse look at it, each when it wakes, and each says when it meant to. When a look is more than
// stoppedFrom late, and no other look came in that time, the process was stopped. All time since the look
// before is left out, so that no deadline passes in it. Of two stops between which the clock ran for less than
// stoppedFrom, the second one counts as that much, or the clock of a machine that is always late would stand still.
//
// Safe for concurrent use.
type clock struct {
	start time.Time
	seen  atomic.Int64 // the last look, in nanoseconds since start
	out   atomic.Int64 // nanoseconds that are left out; stored before seen

	mu      sync.Mutex
	resumed int64 // the look that ended the last stop
}

// now returns for how long the process has run since start.
func (k *clock) now() time.Duration {
	for {
		out, seen := k.out.Load(), k.seen.Load()
		real := k.real(seen)
		if late(real, seen, out, never) {
			k.leaveOut(never)
			continue
		}
		if k.out.Load() == out { // or seen may be of one side of a stop, and out of the other
			return time.Duration(real - out)
		}
	}
}

// look is now for a loop or the pulse, which meant to wake at due.
func (k *clock) look(due time.Duration) time.Duration {
	out, seen := k.out.Load(), k.seen.Load()
	real := k.real(seen)
	if late(real, seen, out, due) {
		k.leaveOut(due)
	} else {
		k.seen.CompareAndSwap(seen, real)
	}
	return k.now()
}

// real returns the nanoseconds since start, which are not before seen.
func (k *clock) real(seen int64) int64 { return max(int64(time.Since(k.start)), seen) }

// late reports whether a look at real, after one at seen, shows that the process was stopped.
func late(real, seen, out int64, due time.Duration) bool {
	expected := seen + int64(clockEvery)
	if int64(due) < expected-out {
		expected = max(int64(due)+out, seen)
	}
	return real-expected > int64(stoppedFrom)
}

// leaveOut ends a stop, unless another goroutine just did.
func (k *clock) leaveOut(due time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen, out := k.seen.Load(), k.out.Load()
	real := k.real(seen)
	if !late(real, seen, out, due) {
		return
	}
	gap := real - seen
	if seen-k.resumed < int64(stoppedFrom) && k.resumed > 0 {
		gap -= int64(stoppedFrom)
	}
	k.resumed = real
	k.out.Store(out + gap)
	k.seen.Store(real)
}

// stopped returns for how long the process did not run.
func (k *clock) stopped() time.Duration { return time.Duration(k.out.Load()) }

// now returns the wheel's time: the milliseconds that the server has run.
func (s *Server) now() wheel.Time { return wheelTime(s.clock.now()) }

func wheelTime(d time.Duration) wheel.Time { return wheel.Time(d / time.Millisecond) }

// since returns how long ago t was; less than nothing if it is to come.
func (s *Server) since(t wheel.Time) time.Duration { return sinceAt(s.clock.now(), t) }

func sinceAt(now time.Duration, t wheel.Time) time.Duration {
	return time.Duration(int32(wheelTime(now)-t))*time.Millisecond + now%time.Millisecond
}

// deadlineContext is a context that ends when the server has run for d.
type deadlineContext struct {
	context.Context
	deadline time.Time // if the process is not stopped
}

func (c deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c deadlineContext) Err() error {
	if c.Context.Err() == nil {
		return nil
	}
	return context.Cause(c.Context)
}

// withTimeout is context.WithTimeout by the server's clock.
func (s *Server) withTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	due := s.clock.now() + d
	var timer *time.Timer
	var set sync.Mutex // held until timer is assigned
	set.Lock()
	defer set.Unlock()
	timer = time.AfterFunc(d, func() {
		set.Lock()
		defer set.Unlock()
		if left := due - s.clock.look(due); left > 0 {
			timer.Reset(left)
			return
		}
		cancel(context.DeadlineExceeded)
	})
	return deadlineContext{ctx, time.Now().Add(d)}, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}
