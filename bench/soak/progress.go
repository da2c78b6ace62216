package soak

import (
	"fmt"
	"sync"

	"github.com/schollz/progressbar/v3"

	"github.com/stillpool/stillpool/bench"
)

// progress shows how far a run is: by a bar on a terminal, and by a line a tide.
type progress struct {
	options Options
	mu      sync.Mutex
	bar     *progressbar.ProgressBar
}

func newProgress(o Options) *progress {
	p := &progress{options: o}
	fmt.Fprintf(o.Progress, "soaking for %v with seed %d\n", o.Duration, o.Seed) // errors of writing are ignored here and below
	if o.Terminal {
		p.bar = progressbar.NewOptions(int(o.Duration.Seconds()), progressbar.OptionSetWriter(o.Progress),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false))
	}
	return p
}

// update shows a point of the curve.
func (p *progress) update(x Point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%d clients, %d came, %d messages in, %d out", x.Clients, x.Opens, x.In, x.Out))
		_ = p.bar.Set(min(int(x.Second), int(p.options.Duration.Seconds())))
	}
}

func (p *progress) ebb(n int, x Point, j *judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	wrong := int64(0)
	counts, _ := j.all()
	for _, n := range counts {
		wrong += n
	}
	fmt.Fprintf(p.options.Progress, "tide %d, %.0f s: %d came, %d messages in, %d out, heap %s, %s resident, %d descriptors, %d times wrong\n", n, x.Second,
		x.Opens, x.In, x.Out, bench.Size(float64(x.HeapBytes)), bench.Size(float64(x.RSSBytes)), x.Descriptors, wrong)
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
	}
}
