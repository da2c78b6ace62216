package bench

import (
	"errors"
	"time"
)

// ConnectOptions are the options of [Connect]. The default path of its URL is /echo by custom. Settle and
// SlopeFrom do nothing here.
type ConnectOptions struct {
	Options
	// Rate is the number of connections a second to open, whatever becomes of those before; 0 opens the
	// next when one has opened, ConnectBurst at a time. That many are the most at a Rate, too.
	Rate float64 `json:"rate_per_second,omitempty"`
	// Pause is how long to wait after opening all connections and after closing them (100 ms), for what
	// the server does of it later. A negative one is none.
	Pause time.Duration `json:"pause_ns"`
}

func (o ConnectOptions) withDefaults() ConnectOptions {
	o.SlopeFrom = -1
	o.Options = o.Options.withDefaults()
	orElse(&o.Pause, 100*time.Millisecond)
	o.Pause = max(o.Pause, 0)
	return o
}

func (o ConnectOptions) validate() error {
	if o.Rate < 0 {
		return errors.New("bench: a negative rate")
	}
	return o.Options.validate()
}
