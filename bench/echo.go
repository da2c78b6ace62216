package bench

import (
	"context"
	"errors"
	"time"

	"github.com/gobwas/ws"
)

// EchoOptions are the options of [Echo]. The default path of its URL is /echo by custom.
type EchoOptions struct {
	Options
	// Size of a message in bytes (64).
	Size int `json:"size_bytes"`
	// Inflight is how many messages are under way at the same time, over all connections (500, or
	// as many as there is room for). At a Rate it is a bound, and by default there is none but
	// Conns times Pipeline.
	Inflight int `json:"inflight,omitempty"`
	// Pipeline is how many messages may be under way on one connection (1).
	Pipeline int `json:"pipeline"`
	// Rate is the number of messages a second to send, whatever comes back; 0 sends the next when
	// one has come back.
	Rate float64 `json:"rate_per_second,omitempty"`
	// Warmup is how long to send before measuring begins (1 s). A negative one is none.
	Warmup time.Duration `json:"warmup_ns"`
	// Misbehaving are clients that keep handlers misbehaving meanwhile; nil is none.
	Misbehaving *Misbehaving `json:"misbehaving,omitempty"`
}

// maxMessage bounds Size. A frame of it is held once a loop, and what the kernel does not take of
// it once a connection.
const maxMessage = 64 << 20

// maxPipeline bounds Pipeline, of which each connection takes 12 bytes.
const maxPipeline = 1024

func (o EchoOptions) withDefaults() EchoOptions {
	o.Options = o.Options.withDefaults()
	orElse(&o.Size, 64)
	orElse(&o.Pipeline, 1)
	orElse(&o.Warmup, time.Second)
	o.Warmup = max(o.Warmup, 0)
	room := o.Conns * o.Pipeline
	if o.Inflight == 0 && o.Rate == 0 {
		o.Inflight = 500
	}
	if o.Inflight == 0 || o.Inflight > room {
		o.Inflight = room
	}
	o.Loops = min(o.Loops, o.Inflight) // none without work
	return o
}

func (o EchoOptions) validate() error {
	switch {
	case o.Size < 1, o.Inflight < 1, o.Pipeline < 1, o.Rate < 0:
		return errors.New("bench: size, inflight and pipeline must be positive, the rate not negative")
	case o.Size > maxMessage, o.Pipeline > maxPipeline:
		return errors.New("bench: a message of more than 64 MiB, or more than 1,024 of them on one connection")
	}
	return o.Options.validate()
}

// Echo opens connections to a server that sends every message back, and measures how many it
// answers and how long each takes. Each answer is compared with what was sent, byte for byte.
//
// When ctx ends while measuring, the result is that of the time until then.
func Echo(ctx context.Context, o EchoOptions) (*EchoResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	r, err := newRun(ctx, o.Options, o.Pipeline*(o.Size+ws.MaxHeaderSize), func(l *loop, i int) scenario {
		return newEchoed(l, o, i)
	})
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	misbehaved, err := o.measureBeside(ctx, r)
	if err != nil {
		return nil, err
	}
	res := echoResult(o, r)
	res.Misbehaved = misbehaved
	return res, nil
}

// measureBeside measures echoes, beside misbehaving handlers if there are to be some. It returns how often one of
// these answered meanwhile.
func (o EchoOptions) measureBeside(ctx context.Context, r *run) (misbehaved int64, err error) {
	if o.Misbehaving == nil {
		return 0, o.measure(ctx, r)
	}
	m := *o.Misbehaving
	orElse(&m.URL, o.URL)
	clients, err := startMisbehaving(ctx, m)
	if err != nil {
		return 0, err
	}
	before := clients.answered.Load()
	err = o.measure(ctx, r)
	misbehaved = clients.answered.Load() - before
	return misbehaved, errors.Join(err, clients.end())
}

func (o EchoOptions) measure(ctx context.Context, r *run) error {
	r.fleet.each(func(l *loop) { l.scenario.(*echoed).start(l.clock()) })
	if err := r.wait(ctx, o.Warmup); err != nil {
		return err
	}
	return r.measure(ctx)
}
