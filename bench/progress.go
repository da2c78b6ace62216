package bench

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// bar shows how far something is. A bar without a writer shows nothing.
type bar struct{ shown *progressbar.ProgressBar }

func newBar(w io.Writer, what string, steps int) *bar {
	if w == nil {
		return &bar{}
	}
	return &bar{progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(),
	)}
}

// set and finish ignore errors: a terminal that can't be drawn on is no reason to stop.
func (b *bar) set(n int) {
	if b.shown != nil {
		_ = b.shown.Set(n)
	}
}

func (b *bar) describe(what string) {
	if b.shown != nil {
		b.shown.Describe(what)
	}
}

func (b *bar) finish() {
	if b.shown != nil {
		_ = b.shown.Exit()
	}
}
