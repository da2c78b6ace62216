package bench

import (
	"fmt"
	"time"
)

// BroadcastResult is what [Broadcast] measured. The Messages of Common are deliveries: a message for all
// is one on each connection.
type BroadcastResult struct {
	Common
	SizeBytes     int     `json:"size_bytes"`
	RatePerSecond float64 `json:"rate_per_second"`
	WarmupSeconds float64 `json:"warmup_seconds"`

	Broadcasts int64 `json:"broadcasts"` // due while measuring, and sent
	// Missing deliveries never came, on connections that were there when the message was sent.
	Missing int64 `json:"missing"`
	// Unsent messages were due, but the server had not taken those before, 1,024 were under way, or the
	// first loop had no connection left to send them on.
	Unsent int64 `json:"unsent"`

	// First, Median and Last are, over the messages, the times from when one was due until the first
	// connection had it, half of them, and all. Curve is that of all deliveries.
	First  Percentiles  `json:"first"`
	Median Percentiles  `json:"median"`
	Last   Percentiles  `json:"last"`
	Curve  []CurvePoint `json:"latency_curve,omitempty"`
	// SendDelay is how much of it had passed before the client sent, for its own slowness or because the
	// server had not taken what was sent before.
	SendDelay Percentiles `json:"send_delay"`
	// ReaderBusyPercent is how much of the time between the first delivery of a message and the last one
	// the client's loops were reading and not waiting. Near 100 the times are the client's own.
	ReaderBusyPercent float64 `json:"reader_busy_percent"`

	// Stalled tells of the connections that never read, if there are any; all else is about the others.
	Stalled *StalledResult `json:"stalled,omitempty"`
}

func broadcastResult(o BroadcastOptions, b *board, r *run) *BroadcastResult {
	res := &BroadcastResult{SizeBytes: o.Size, RatePerSecond: o.Rate, WarmupSeconds: o.Warmup.Seconds()}
	latency := newHistogram()
	var own Percentiles
	var span, waits time.Duration
	r.fleet.each(func(l *loop) {
		s := l.scenario.(*listening)
		if s.pace != nil {
			b.giveUp(l.clock(), *s.pace, s.unsent)
			res.Unsent, res.SendDelay, own = s.unsent, percentilesOf(s.delay), percentilesOf(s.own)
		}
		s.rush.close()
		span, waits = span+s.rush.span, waits+s.rush.waits
		latency.Merge(s.latency)
		res.Messages += s.messages
	})
	res.Broadcasts, res.Missing = b.broadcasts, b.missing
	res.First, res.Median, res.Last = percentilesOf(b.first), percentilesOf(b.median), percentilesOf(b.last)
	res.Curve = curveOf(latency)
	res.ReaderBusyPercent = busyOf(span, waits)
	r.fill(&res.Common)
	if res.ReaderBusyPercent >= busyPercent {
		res.Warnings = append(res.Warnings, fmt.Sprintf(
			"the client was the bottleneck: it was busy for %.0f%% of the time while messages came", res.ReaderBusyPercent))
	}
	res.Warnings = append(res.Warnings, tardiness("the client", own, res.Median)...)
	return res
}
