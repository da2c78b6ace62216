package stress

import (
	"context"
	"errors"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Drop is how the connections of a storm end.
type Drop string

// The ways to be dropped.
const (
	ByReset  Drop = "reset"  // the client's ends are reset
	ByEnd    Drop = "end"    // the client's ends are closed, without a closing handshake
	ByServer Drop = "server" // the server closes, with 1012
)

// herd is those who are dropped and come back.
type herd struct {
	options StormOptions
	of      Handle
	first   int // where its source addresses begin
	subs    *bench.Subscribers
}

// gather opens the herd's connections at a pace that harms nobody.
func gather(ctx context.Context, o StormOptions, of Handle) (*herd, error) {
	h := &herd{options: o, of: of}
	return h, h.come(ctx, 100, 0)
}

func (h *herd) come(ctx context.Context, burst int, rate float64) (err error) {
	h.subs, err = bench.Subscribe(ctx, bench.SubscribersOptions{
		Options: bench.Options{
			URL: h.of.url(idlePath), Conns: h.options.Storm, ConnectBurst: burst, SlopeFrom: -1,
			ConnectTimeout: h.options.ConnectTimeout,
		},
		Spare: h.options.Storm, Rate: rate, FirstSource: h.first,
	})
	if err != nil {
		return err
	}
	h.first += h.options.Storm % 100
	return h.subs.Open(ctx, h.options.Storm)
}

var errNotDropped = errors.New("stress: the server did not close those that it was told to")

// drop ends all connections of the herd.
func (h *herd) drop(ctx context.Context) error {
	switch h.options.Drop {
	case ByEnd:
		h.subs.HangUp()
	case ByServer:
		if err := h.of.drop(ctx); err != nil {
			return err
		}
		for end := time.Now().Add(h.options.ConnectTimeout); h.subs.Count().Open > 0; {
			if time.Now().After(end) {
				return errNotDropped
			}
			if err := bench.Pause(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		h.subs.Close()
	default:
		h.subs.Close()
	}
	return nil
}

// comeBack returns when all are back. Without a time to spread them over, all are dialled at once.
func (h *herd) comeBack(ctx context.Context) error {
	rate := 0.0
	if h.options.Within > 0 {
		rate = float64(h.options.Storm) / h.options.Within.Seconds()
	}
	return h.come(ctx, h.options.Storm, rate)
}

// leave ends them for good.
func (h *herd) leave() {
	if h.subs != nil {
		h.subs.Close()
	}
}
