package server

import "time"

// This file is pure: it decides from what the watchdogs saw whether the handlers of one kind are moved to
// the pool. Times and CPU clocks are passed in.

const (
	// stillOut is the time after which a replaced handler that goes on counts as one that blocks. On two cores
	// beside two and four busy processes, handlers that only lacked a processor returned within 16.5 ms.
	stillOut = 20 * time.Millisecond
	// computedWithin is the time within which a second replaced handler that computed counts.
	computedWithin = time.Second
)

// share is the part of a time that a thread ran. The zero value is one that is not known.
type share struct{ cpu, wall time.Duration }

// atLeast reports whether the thread ran for the given percentage of the time, or more.
func (s share) atLeast(percent time.Duration) bool {
	return s.wall > 0 && 100*s.cpu >= percent*s.wall
}

// evidence collects what was seen of the replaced handlers of one kind.
type evidence struct {
	out      int       // neither returned nor out for stillOut
	computed time.Time // when the loop of one was last replaced while its thread ran
}

// replaced adds a handler whose loop was replaced at now. ran is the share that the loop's thread had of
// the last period. It reports whether that is enough, and why.
func (e *evidence) replaced(now time.Time, ran share) (why OffloadReason, enough bool) {
	e.out++
	again := ran.atLeast(50)
	if again {
		again = !e.computed.IsZero() && now.Sub(e.computed) < computedWithin
		e.computed = now
	}
	switch {
	case e.out > 1:
		return OffloadSecondOut, true
	case again, ran.atLeast(90):
		return OffloadCPU, true
	}
	return 0, false
}

// returned takes back a handler that returned in time.
func (e *evidence) returned() { e.out-- }

// overdue takes back a handler that is out for stillOut, which is enough by itself.
func (e *evidence) overdue() (why OffloadReason, enough bool) {
	e.out--
	return OffloadStillRunning, true
}
