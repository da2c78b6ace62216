package server

import (
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// threadClock measures which share of a processor the thread of a loop's goroutine had between two looks.
// The goroutine changes its thread in 0.4 to 4% of the batches, so it notes anew in the first batch after
// each look. That costs the loop a system call a look, and none a message.
type threadClock struct {
	wanted atomic.Bool
	thread atomic.Int64 // 0 is none

	// At the last look. The watchdog's.
	was  int64
	cpu  time.Duration
	when time.Time
}

// note notes the calling thread, if a look wants that.
func (t *threadClock) note() {
	if t.wanted.Load() {
		t.wanted.Store(false)
		t.thread.Store(int64(netpoll.ThreadID()))
	}
}

// look returns the share since the last look. It is not known if the goroutine was on another thread then.
func (t *threadClock) look(now time.Time) (s share) {
	thread := t.thread.Load()
	cpu, ok := netpoll.ThreadCPU(int(thread))
	if ok && thread == t.was {
		s = share{cpu - t.cpu, now.Sub(t.when)}
	}
	if !ok {
		thread = 0
	}
	t.was, t.cpu, t.when = thread, cpu, now
	t.wanted.Store(true)
	return s
}
