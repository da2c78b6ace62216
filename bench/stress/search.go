package stress

import (
	"context"
	"fmt"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

const (
	// stepTime is how long a rate is tried, after leadTime for what was before it.
	stepTime = time.Second
	leadTime = 300 * time.Millisecond
	// firstRate is where the search begins, and stepDown how it goes down from what was too much.
	firstRate = 1_000
	stepDown  = 0.92
	steps     = 30
)

// search finds the greatest rate at which no tick is skipped and 99 of 100 are on time: it doubles the
// rate until that is too much, and goes down from what the server then did.
func (v *overload) search(ctx context.Context) (float64, error) {
	rate, falling := float64(firstRate), false
	for range steps {
		done, calm, err := v.try(ctx, rate)
		switch {
		case err != nil:
			return 0, err
		case calm && falling:
			return rate, nil
		case calm && v.every(rate) == time.Millisecond:
			return 0, fmt.Errorf("stress: %d connections are too few to overload the server: it carries a tick a millisecond on each", v.options.Conns)
		case calm:
			rate *= 2
		case falling:
			rate *= stepDown
		default:
			rate, falling = min(rate, done)*stepDown, true
		}
	}
	return 0, fmt.Errorf("stress: no rate was found at which ticks are on time, down to %.0f a second", rate)
}

// try has a rate for a while, and tells how many ticks were done a second and whether all was well.
func (v *overload) try(ctx context.Context, rate float64) (done float64, calm bool, err error) {
	of := v.options.Server
	if err := of.load(ctx, v.every(rate), v.options.Work); err != nil {
		return 0, false, err
	}
	if err := bench.Pause(ctx, leadTime); err != nil {
		return 0, false, err
	}
	before, err := of.stats(ctx)
	if err != nil {
		return 0, false, err
	}
	start := time.Now()
	if err := bench.Pause(ctx, max(stepTime, 2*v.every(rate))); err != nil {
		return 0, false, err
	}
	after, err := of.stats(ctx)
	return float64(after.Ticks-before.Ticks) / time.Since(start).Seconds(), isCalm(before, after), err
}

func isCalm(before, after server.Stats) bool {
	return after.Skipped == before.Skipped && 100*(after.Late-before.Late) <= after.Ticks-before.Ticks
}
