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

// Broadcast opens connections to a server that sends each message to all of them, lets one of them send at a
// fixed rate, and measures how long it takes until the first, half and all have it. Each copy is compared
// with what was sent, byte for byte, and a connection has to get each message once and in order.
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
		return newListening(l, b, o, i == 0)
	})
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.fleet.each(func(l *loop) { l.scenario.(*listening).join() })
	r.fleet.each(func(l *loop) { l.scenario.(*listening).start(l.clock()) })
	if err := r.wait(ctx, o.Warmup); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	return broadcastResult(o, b, r), nil
}
