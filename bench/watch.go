package bench

import (
	"fmt"
	"sync"
	"time"
)

const watchPeriod = 100 * time.Millisecond

// watch looks at a running attack from time to time: at the server's memory, for its peak, and at how
// far things are, for the progress bar. It has a goroutine of its own.
type watch struct {
	server *process // nil if its id is not known
	bar    *bar
	phase  time.Duration // how long one takes, as far as one knows
	done   chan struct{}
	ended  chan struct{}

	mu    sync.Mutex
	what  string
	count int       // phases begun
	since time.Time // when the last one was
	by    *hostility
	peak  int64
}

func newWatch(o AttackOptions) *watch {
	phases := 2 * len(o.rounds())
	if o.ControlURL != "" {
		phases += len(o.rounds())
	}
	w := &watch{
		phase: o.Warmup + o.Duration, done: make(chan struct{}), ended: make(chan struct{}),
		what: "opening", since: time.Now(),
	}
	if o.PID != 0 {
		w.server = &process{pid: o.PID}
	}
	w.bar = newBar(o.Progress, w.what, phases*int(w.phase/watchPeriod))
	go w.run()
	return w
}

func (w *watch) run() {
	defer close(w.ended)
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-ticker.C:
			w.look()
		}
	}
}

func (w *watch) stop() {
	close(w.done)
	<-w.ended
	w.bar.finish()
}

// begin tells which phase begins.
func (w *watch) begin(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what, w.since = what, time.Now()
	w.count++
}

// hostile tells who attacks from now on. The peak of memory is that of the last attack.
func (w *watch) hostile(h *hostility) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by = h; h != nil {
		w.peak = 0
	}
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	what := w.what
	if w.by != nil {
		what = fmt.Sprintf("%s %d hostile", what, w.by.last.Load().present())
		w.notePeak()
	}
	steps := int(w.phase / watchPeriod)
	w.bar.describe(what)
	w.bar.set(max(0, w.count-1)*steps + min(int(time.Since(w.since)/watchPeriod), steps))
}

// notePeak takes the counter that is quick to read, because the server is stopped meanwhile. An error
// says that the server has gone, which others find too.
func (w *watch) notePeak() {
	if w.server == nil {
		return
	}
	if rss, err := readField(w.server.path("status"), "VmRSS:"); err == nil {
		w.peak = max(w.peak, rss)
	}
}

// weigh is the server's memory now.
func (w *watch) weigh() (int64, error) {
	if w.server == nil {
		return 0, nil
	}
	return w.server.rss()
}

func (w *watch) memory(before int64, attackers int) (*AttackMemory, error) {
	after, err := w.weigh()
	if err != nil || w.server == nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return &AttackMemory{
		BeforeBytes: before, PeakBytes: w.peak, AfterBytes: after,
		BytesPerAttacker: float64(w.peak-before) / float64(attackers),
	}, nil
}
