package million

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/stillpool/stillpool/bench"
)

// clientWorker is a process of subscribers.
type clientWorker struct{ subs *bench.Subscribers }

func (w *clientWorker) obey(ctx context.Context, o order, r *report) (err error) {
	switch {
	case o.Dial != nil:
		w.subs, err = bench.Subscribe(ctx, o.Dial.options())
	case o.Open > 0:
		err = w.subs.Open(ctx, o.Open)
		debug.FreeOSMemory() // a server trims by itself, so as to be weighed without what opening left behind
	case o.Listen != nil:
		w.subs.Listen(*o.Listen)
	case o.Tell:
		r.Heard = w.subs.Heard()
	}
	return err
}

func (o *dialOrder) options() bench.SubscribersOptions {
	return bench.SubscribersOptions{
		Options: bench.Options{
			URL: o.URL, Conns: o.Conns, ConnectBurst: o.Burst, SlopeFrom: -1, Loops: max(1, runtime.GOMAXPROCS(0)/2),
		},
		Spare: o.Spare, FirstSource: o.FirstSource,
	}
}

func (w *clientWorker) count(r *report) {
	if w.subs == nil {
		return
	}
	c := w.subs.Count()
	r.Counts[opened], r.Counts[open], r.Counts[received] = int64(c.Opened), int64(c.Open), c.Messages
	r.Counts[lost] = int64(c.Opened - c.Open)
	r.Failed, r.Lost = c.Failed, c.Lost
}

func (w *clientWorker) close() {
	if w.subs != nil {
		w.subs.Close()
	}
}
