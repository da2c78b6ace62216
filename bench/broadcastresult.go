package bench

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
	// Unsent messages were due, but too many were under way or there was nobody to send them.
	Unsent int64 `json:"unsent"`

	// First, Median and Last are, over the messages, the times from when one was due until the first
	// connection had it, half of them, and all. Curve is that of all deliveries.
	First  Percentiles  `json:"first"`
	Median Percentiles  `json:"median"`
	Last   Percentiles  `json:"last"`
	Curve  []CurvePoint `json:"latency_curve,omitempty"`
	// SendDelay is how much of it had passed before the client sent.
	SendDelay Percentiles `json:"send_delay"`
	// ReaderBusyPercent is how much of the time between the first delivery of a message and the last one
	// the client's loops were reading and not waiting. Near 100 the times are the client's own.
	ReaderBusyPercent float64 `json:"reader_busy_percent"`
}
