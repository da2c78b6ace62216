package bench

import (
	"errors"
	"time"
)

// BroadcastOptions are the options of [Broadcast]. The default path of its URL is /broadcast by custom.
type BroadcastOptions struct {
	Options
	// Size of a message in bytes (64), 8 at least.
	Size int `json:"size_bytes"`
	// Rate is the number of messages a second to send, each of which comes back on every connection (2).
	Rate float64 `json:"rate_per_second"`
	// Warmup is how long to send before measuring begins (1 s). A negative one is none.
	Warmup time.Duration `json:"warmup_ns"`
}

func (o BroadcastOptions) withDefaults() BroadcastOptions {
	o.Options = o.Options.withDefaults()
	orElse(&o.Size, 64)
	orElse(&o.Rate, 2)
	orElse(&o.Warmup, time.Second)
	o.Warmup = max(o.Warmup, 0)
	return o
}

func (o BroadcastOptions) validate() error {
	switch {
	case o.Size < stampSize || o.Size > maxMessage:
		return errors.New("bench: a message for all must have 8 bytes or more, and 64 MiB at the most")
	case o.Rate <= 0:
		return errors.New("bench: the rate must be positive")
	}
	return o.Options.validate()
}
