package bench

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// bar shows how many connections are open. A bar without a writer shows nothing.
type bar struct{ shown *progressbar.ProgressBar }

func newBar(w io.Writer, conns int) *bar {
	if w == nil {
		return &bar{}
	}
	return &bar{progressbar.NewOptions(conns,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("connecting"),
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

func (b *bar) finish() {
	if b.shown != nil {
		_ = b.shown.Exit()
	}
}
