//go:build linux

package server

import (
	"runtime"
	"testing"
	"time"
)

// TestThreadClock: the share is known between two looks that found the loop on the same thread, and the loop
// asks the kernel for its thread only after a look.
func TestThreadClock(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var c threadClock
	now := time.Now()
	look := func() share {
		now = now.Add(time.Second)
		return c.look(now)
	}
	c.note()
	if c.thread.Load() != 0 {
		t.Error("it notes the thread though no look came before")
	}
	if look().wall != 0 {
		t.Error("a share of no thread is known")
	}
	c.note()
	mine := c.thread.Load()
	if mine == 0 || c.wanted.Load() {
		t.Fatalf("thread %d is noted, and wanted still is %v", mine, c.wanted.Load())
	}
	if look().wall != 0 {
		t.Error("a share is known of a thread that was not looked at before")
	}
	if s := look(); s.wall != time.Second || s.cpu <= 0 {
		t.Errorf("the share is %v of %v", s.cpu, s.wall)
	}
	c.thread.Store(-1) // as if the loop went on to another, which has ended
	for range 2 {
		if look().wall != 0 {
			t.Error("the share of a thread that has ended is known")
		}
	}
	c.thread.Store(mine)
	if look().wall != 0 {
		t.Error("a share is known of a thread that the loop came back to")
	}
}
