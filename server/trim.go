package server

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// This file gives memory back. A storm of connections or of large messages leaves garbage and pooled
// compressors behind, and Go's collector next runs when the heap has doubled: for a server that then is
// idle for hours, never.

const (
	// trimAfter is how many connections make a storm when they come or go without a pause of
	// trimQuiet. A large message counts as trimLarge of them.
	trimAfter = 1024
	trimLarge = 16
	trimQuiet = time.Second
)

// trimmer notices storms and their ends.
type trimmer struct {
	churn   atomic.Uint64 // connections that came or went, and large messages
	seen    uint64        // churn when the timer was last set
	pending atomic.Bool   // the timer is set
}

// note counts a connection that came or went, or a large message as so many.
func (t *trimmer) note(s *Server, weight uint64) {
	if t.churn.Add(weight)%trimAfter < weight && !s.NoTrim && t.pending.CompareAndSwap(false, true) {
		t.wait(s)
	}
}

func (t *trimmer) wait(s *Server) {
	t.seen = t.churn.Load()
	time.AfterFunc(trimQuiet, func() {
		switch {
		case s.stopping.Load():
		case t.churn.Load() != t.seen:
			t.wait(s)
		default:
			t.pending.Store(false)
			runtime.GC() // a pool is empty after the second collection, which FreeOSMemory brings
			debug.FreeOSMemory()
		}
	})
}
