package bench

import (
	"context"
	"errors"
	"time"

	"github.com/gobwas/ws"
)

// BroadcastOptions are the options of [Broadcast]. The default path of its URL is /broadcast by custom.
type BroadcastOptions struct {
	Options
	// Size of a message in bytes (64), 8 at least.
	Size int `json:"size_bytes"`
	// Rate is the number of messages a second to send, each of which comes back on every connection (2).
	Rate float64 `json:"rate_per_second"`
	// Stalled is how many of the connections never read (0). What is measured is what the others get; what
	// becomes of these is in the result.
	Stalled int `json:"stalled,omitempty"`
	// MetricsURL is where the server's process shows metrics: a host and port, or a URL. With it, and with
	// stalled connections, what a server of package server holds for all of them is measured too.
	MetricsURL string `json:"metrics_url,omitempty"`
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
	case o.Stalled < 0 || o.Stalled > 0 && o.Stalled > o.Conns-o.Loops:
		return errors.New("bench: of the connections, one for each loop must read")
	}
	return o.Options.validate()
}

// Broadcast opens connections to a server that sends each message to all of them, lets one of them send at a
// fixed rate, and measures how long it takes until the first, half and all have it. Each copy is compared
// with what was sent, byte for byte, and a connection has to get each message once and in order.
//
// Stalled connections are left out of that. They are measured by what they cost the server and the kernel, and
// read at the end, when the others have been judged, to see what has become of them.
//
// Times count from when a message was due. When ctx ends while measuring, the result is that of the time
// until then.
func Broadcast(ctx context.Context, o BroadcastOptions) (*BroadcastResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	b := newBoard(o.Size)
	r, err := newRun(ctx, o.Options, o.Size+ws.MaxHeaderSize, func(l *loop, i int) scenario {
		return newListening(l, b, o, i)
	})
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.fleet.each(func(l *loop) { l.scenario.(*listening).join() })
	s, err := newStrain(o, r)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	r.fleet.each(func(l *loop) { l.scenario.(*listening).start(l.clock()) })
	if err := r.wait(ctx, o.Warmup); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	s.stop()
	result := broadcastResult(o, b, r)
	if o.Stalled > 0 {
		result.Stalled, err = s.result(ctx)
	}
	return result, err
}
