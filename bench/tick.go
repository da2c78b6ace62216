package bench

import (
	"context"
	"time"
)

// TickOptions are the options of [Tick]. The default path of its URL is /ws by custom.
type TickOptions struct {
	Options
	// Every is the period in which the server sends to each connection (1 s).
	Every time.Duration `json:"every_ns"`
}

// Tick opens connections to a server that sends each of them a message in a fixed period, and
// measures how late the messages are. See lateness.go for what late means.
//
// When ctx ends while measuring, the result is that of the time until then.
func Tick(ctx context.Context, o TickOptions) (*TickResult, error) {
	o.Options = o.Options.withDefaults()
	orElse(&o.Every, time.Second)
	if err := o.validate(); err != nil {
		return nil, err
	}
	r, err := newRun(ctx, o.Options, 0, func(l *loop, _ int) scenario {
		return &ticked{loop: l, lateness: newLateness(o.Every, len(l.conns))}
	})
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	return tickResult(o, r), nil
}

// ticked is the part of the scenario that one loop does.
type ticked struct {
	bystander
	loop     *loop
	lateness *lateness
	counting bool
	messages int64
}

func (t *ticked) piece(c *conn, p piece, now time.Duration) error {
	if p.last && t.counting {
		t.messages++
		t.lateness.arrived(c.index, now)
	}
	return nil
}

func (t *ticked) lost(c *conn, now time.Duration) {
	if t.counting {
		t.lateness.finish(c.index, now)
	}
}

func (t *ticked) begin(time.Duration) { t.counting = true }

func (t *ticked) end(now time.Duration) {
	t.counting = false
	for i := range t.loop.conns {
		if t.loop.conns[i].state == open {
			t.lateness.finish(uint32(i), now)
		}
	}
}

func tickResult(o TickOptions, r *run) *TickResult {
	res := &TickResult{EverySeconds: o.Every.Seconds()}
	late := newHistogram()
	r.fleet.each(func(l *loop) {
		t := l.scenario.(*ticked)
		late.Merge(t.lateness.late)
		res.Messages += t.messages
		res.MissingTicks += t.lateness.missing
		res.SilentConns += t.lateness.silent
	})
	res.Lateness, res.Curve = percentilesOf(late), curveOf(late)
	r.fill(&res.Common)
	return res
}
