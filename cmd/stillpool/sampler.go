package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ownLines is how many of a kind of event get a line of their own in a second. A million
	// connections may each say something in that second: a line for each would cost more than
	// serving them, and nobody could read it.
	ownLines = 10
	// summaryEvery is how often the others are summed up.
	summaryEvery = time.Second
)

// sampler counts one kind of event, and thins out its log: the first ownLines of a second get a
// line of their own, and what comes after them gets one line together.
type sampler struct {
	logger  *slog.Logger
	level   slog.Level
	message string
	all     bool // every event gets a line of its own

	// window counts the events since the last summary. It is the only thing that an event touches.
	window atomic.Int64

	mu   sync.Mutex
	past int64 // events before the window
}

// newSampler logs at the given level; a logger that takes debug gets a line for every event.
func newSampler(l *slog.Logger, level slog.Level, message string) *sampler {
	return &sampler{logger: l, level: level, message: message,
		all: l.Enabled(context.Background(), slog.LevelDebug)}
}

// count counts an event. If it answers true, the caller logs the event by line.
func (s *sampler) count() bool {
	return s.window.Add(1) <= ownLines || s.all
}

// line logs one event.
func (s *sampler) line(attrs ...slog.Attr) {
	s.logger.LogAttrs(context.Background(), s.level, s.message, attrs...)
}

// total is the number of all events.
func (s *sampler) total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past + s.window.Load()
}

// sum begins a new window, and logs how many events of the last one had no line of their own. Lines
// and counts together are exactly the events, because the window is read and emptied in one step.
func (s *sampler) sum() {
	s.mu.Lock()
	n := s.window.Swap(0)
	s.past += n
	total := s.past
	s.mu.Unlock()
	if n > ownLines && !s.all {
		s.line(slog.Int64("count", n-ownLines), slog.Int64("total", total))
	}
}

// report sums up the samplers every second until ctx is done, and then once more.
func report(ctx context.Context, samplers ...*sampler) {
	ticker := time.NewTicker(summaryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		for _, s := range samplers {
			s.sum()
		}
		if ctx.Err() != nil {
			return
		}
	}
}
