package stress

import (
	"context"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Recovery is what followed when the load went.
type Recovery struct {
	// EasedSeconds is when the server had taken the order on all connections.
	EasedSeconds float64 `json:"eased_seconds"`
	// CalmSeconds is when a tick was last seen to be late or skipped, both from the order on; what came
	// before all had the new interval counts as come then.
	CalmSeconds float64 `json:"calm_seconds"`
	Calm        bool    `json:"calm"` // within the time that it was watched
}

const (
	lookPeriod  = 20 * time.Millisecond
	patience    = 20 * time.Second
	calmPeriods = 2 // of the light load, without a late tick
)

// recover goes back to a light load, and watches how long ticks are late.
func (v *overload) recover(ctx context.Context) (*Recovery, error) {
	of, every := v.options.Server, v.every(v.result.RatePerSecond/lightShare)
	start, r := time.Now(), &Recovery{}
	if err := of.load(ctx, every, v.options.Work); err != nil {
		return nil, err
	}
	r.EasedSeconds = time.Since(start).Seconds()
	r.CalmSeconds = r.EasedSeconds
	last, err := of.stats(ctx)
	if err != nil {
		return nil, err
	}
	from := start
	for time.Since(start) < patience {
		if err := bench.Pause(ctx, lookPeriod); err != nil {
			return nil, err
		}
		now, err := of.stats(ctx)
		if err != nil {
			return nil, err
		}
		if now.Skipped != last.Skipped || now.Late != last.Late {
			from, last = time.Now(), now
			r.CalmSeconds = from.Sub(start).Seconds()
		}
		if time.Since(from) > max(calmPeriods*every, time.Second) {
			r.Calm = true
			return r, nil
		}
	}
	return r, nil
}
