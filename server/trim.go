package server

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Memory release after a storm. Many connections or large messages leave garbage and pooled compressors.
// Go collects again when the heap has doubled, which an idle server never reaches.

const (
	// trimAfter is the number of connections that make a storm when they come or go without a pause
	// of trimQuiet. A large message counts as trimLarge of them.
	trimAfter = 1024
	trimLarge = 16
	trimQuiet = time.Second
)

// trimmer collects garbage and returns memory to the kernel after a storm.
type trimmer struct {
	churn   atomic.Uint64 // connections that came or went, and large messages
	seen    uint64        // churn when the timer was last set
	pending atomic.Bool   // the timer is set
}

// note counts a connection that came or went, or a large message, by weight.
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
