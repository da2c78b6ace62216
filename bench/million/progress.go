package million

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// opening is the phase whose steps are connections; those of others are seconds.
const opening = "opening"

// plainEach is how often a line says how far things are where no bar can be drawn.
const plainEach = 5 * time.Second

// progress shows how far a run is: by a bar on a terminal, and by lines elsewhere. Without a writer it
// shows nothing.
type progress struct {
	to       io.Writer
	terminal bool

	mu    sync.Mutex
	what  string
	steps int
	since time.Time
	told  time.Time
	bar   *progressbar.ProgressBar
}

func newProgress(o Options) *progress {
	p := &progress{to: o.Progress, terminal: o.Terminal}
	if p.to == nil {
		p.to = io.Discard
	}
	return p
}

// say writes a line of its own. Errors of writing are ignored here and below: a terminal that can't be
// drawn on is no reason to stop.
func (p *progress) say(format string, values ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintf(p.to, format+"\n", values...)
}

// checks lists what the machine allows, and what to change.
func (p *progress) checks(all []Check) {
	for _, c := range all {
		word := "fine"
		switch {
		case !c.Fine && c.Needed:
			word = "too low"
		case !c.Fine:
			word = "would be better higher"
		}
		p.say("%-12s %s: %s", c.Name, word, c.Says)
		for _, command := range c.Change {
			p.say("%-12s %s", "", command)
		}
	}
}

// begin starts a phase, of so many steps if that is known.
func (p *progress) begin(what string, steps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish()
	p.what, p.steps, p.since = what, steps, time.Now()
	if p.terminal && steps > 0 {
		p.bar = progressbar.NewOptions(steps,
			progressbar.OptionSetWriter(p.to), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
		_ = p.bar.RenderBlank()
		return
	}
	fmt.Fprintln(p.to, what)
	p.told = p.since
}

// update shows a second of it.
func (p *progress) update(n counts, last Point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step, words := p.state(n, last)
	if p.bar != nil {
		p.bar.Describe(words)
		_ = p.bar.Set(min(step, p.steps))
		return
	}
	if time.Since(p.told) >= plainEach {
		p.told = time.Now()
		fmt.Fprintln(p.to, words)
	}
}

// state is how far it is, in steps and in words.
func (p *progress) state(n counts, last Point) (int, string) {
	words := fmt.Sprintf("%s: %d open", p.what, n[open])
	step := int(time.Since(p.since).Seconds())
	if p.what == opening {
		step, words = int(n[opened]), words+fmt.Sprintf(", %.0f a second", last.OpenedPerSecond)
	}
	if last.ReceivedPerSecond > 0 {
		words += fmt.Sprintf(", %.0f messages a second", last.ReceivedPerSecond)
	}
	if last.SkippedPerSecond > 0 {
		words += fmt.Sprintf(", %.0f skipped", last.SkippedPerSecond)
	}
	if n[lost] > 0 {
		words += fmt.Sprintf(", %d lost", n[lost])
	}
	return step, words + fmt.Sprintf(", %s free", size(last.AvailableBytes))
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish()
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Exit()
		_ = p.bar.Clear()
		p.bar = nil
	}
}
