package stress

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const (
	// queuePeriod is how often the kernel's queue is looked at, which takes some 20 µs.
	queuePeriod = 2 * time.Millisecond
	// statsPeriod is how often the server is asked and its memory looked at, which costs it something.
	statsPeriod = 50 * time.Millisecond
)

// Peaks are the greatest of what was seen.
type Peaks struct {
	AcceptQueue int   `json:"accept_queue"` // connections that waited in the kernel to be accepted
	Handshaking int   `json:"handshaking"`
	RunQueue    int   `json:"run_queue"`
	RSSBytes    int64 `json:"rss_bytes"`
}

// gauge looks at a subject again and again, on goroutines of its own, until it is stopped.
type gauge struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	peaks  Peaks
}

func watch(ctx context.Context, h Handle) *gauge {
	ctx, cancel := context.WithCancel(ctx)
	g := &gauge{cancel: cancel}
	g.server(ctx, h) // once at least, however soon it is over
	g.done.Go(func() { g.every(ctx, queuePeriod, func() { g.queue(h) }) })
	g.done.Go(func() { g.every(ctx, statsPeriod, func() { g.server(ctx, h) }) })
	return g
}

func (g *gauge) every(ctx context.Context, d time.Duration, look func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (g *gauge) queue(h Handle) {
	n, err := acceptQueue(h.Addr)
	if err != nil {
		return // the run does not depend on it, and one that never saw the queue says 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peaks.AcceptQueue = max(g.peaks.AcceptQueue, n)
}

func (g *gauge) server(ctx context.Context, h Handle) {
	rss, _ := bench.ProcBytes(fmt.Sprintf("/proc/%d/status", h.PID), "VmRSS:")
	st, err := h.stats(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peaks.RSSBytes = max(g.peaks.RSSBytes, rss)
	if err != nil {
		return
	}
	g.peaks.Handshaking = max(g.peaks.Handshaking, st.Handshaking)
	g.peaks.RunQueue = max(g.peaks.RunQueue, st.RunQueue)
}

// stop ends the looking, and tells the peaks.
func (g *gauge) stop() Peaks {
	g.cancel()
	g.done.Wait()
	return g.peaks
}
