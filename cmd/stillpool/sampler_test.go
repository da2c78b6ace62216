package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sampled is a sampler whose log is kept.
func sampled(level slog.Level) (*sampler, *bytes.Buffer) {
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))
	return newSampler(l, slog.LevelInfo, "Got stuff!"), &log
}

// told counts what a log says: the lines of single events, and the events in summaries.
func told(t *testing.T, log *bytes.Buffer) (lines, summed int64) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var record struct {
			Msg   string `json:"msg"`
			Count int64  `json:"count"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Msg != "Got stuff!" {
			t.Fatalf("%s: %v", line, err)
		}
		if record.Count == 0 {
			lines++
		}
		summed += record.Count
	}
	return lines, summed
}

func (s *sampler) countTimes(n int) {
	for range n {
		if s.count() {
			s.line()
		}
	}
}

func TestSamplerInVirtualTime(t *testing.T) {
	for _, c := range []struct {
		name          string
		level         slog.Level
		perSecond     []int
		lines, summed int64
		more          int // summaries
	}{
		{"few", slog.LevelInfo, []int{1, 0, 10}, 11, 0, 0},
		{"many", slog.LevelInfo, []int{25, 10, 11}, 30, 16, 2},
		{"debug", slog.LevelDebug, []int{25, 10, 11}, 46, 0, 0},
		{"warn", slog.LevelWarn, []int{25}, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log := sampled(c.level)
				ctx, cancel := context.WithCancel(t.Context())
				go report(ctx, s)
				var all int64
				for _, n := range c.perSecond {
					s.countTimes(n)
					all += int64(n)
					if s.total() != all {
						t.Errorf("total %d, want %d", s.total(), all)
					}
					time.Sleep(summaryEvery)
					synctest.Wait()
				}
				cancel()
				synctest.Wait()
				lines, summed := told(t, log)
				if lines != c.lines || summed != c.summed {
					t.Errorf("%d lines and %d summed up, want %d and %d:\n%s", lines, summed, c.lines, c.summed, log)
				}
				if n := strings.Count(log.String(), `"count"`); n != c.more {
					t.Errorf("%d summaries, want %d", n, c.more)
				}
			})
		})
	}
}

// What came in the last moment is not lost.
func TestSamplerSumsUpAtTheEnd(t *testing.T) {
	s, log := sampled(slog.LevelInfo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.countTimes(ownLines + 5)
	report(ctx, s)
	if lines, summed := told(t, log); lines != ownLines || summed != 5 {
		t.Errorf("%d lines and %d summed up", lines, summed)
	}
}

// Lines and summaries together are exactly the events, however summaries fall between them.
func TestSamplerLosesNothing(t *testing.T) {
	s, log := sampled(slog.LevelInfo)
	const each = 20_000
	var events sync.WaitGroup
	for range 4 {
		events.Go(func() { s.countTimes(each) })
	}
	stop := make(chan struct{})
	var sums sync.WaitGroup
	sums.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.sum()
			}
		}
	})
	events.Wait()
	close(stop)
	sums.Wait()
	s.sum()
	if lines, summed := told(t, log); lines+summed != 4*each || s.total() != 4*each {
		t.Errorf("%d lines and %d summed up, total %d, want %d", lines, summed, s.total(), 4*each)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	s, _ := sampled(slog.LevelInfo)
	if n := testing.AllocsPerRun(100, func() { s.count() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
