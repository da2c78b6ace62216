package stress

import (
	"context"
	"sync"

	"github.com/stillpool/stillpool/bench"
)

// besideConns have messages echoed beside a load.
const besideConns = 50

// beside are connections that are not ticked while others are: some have messages echoed, and some close.
type beside struct {
	options OverloadOptions
	closers *closers
}

// newBeside opens those that are to close. Those that have messages echoed come when the load is there.
func newBeside(ctx context.Context, o OverloadOptions) (*beside, error) {
	c, err := openClosers(ctx, o.Server.url(echoPath), o.closers())
	return &beside{options: o, closers: c}, err
}

func (b *beside) close() { b.closers.close() }

// measure lets both do what they are there for.
func (b *beside) measure(ctx context.Context, l *Load) error {
	var closing sync.WaitGroup
	closing.Go(func() { l.Close = b.closers.run(ctx, b.options.Closes) })
	r, err := bench.Echo(ctx, bench.EchoOptions{
		Options: bench.Options{
			URL: b.options.Server.url(echoPath), Conns: besideConns, Duration: b.options.Duration, Settle: -1, SlopeFrom: -1,
		},
		Rate: b.options.Echoes, Warmup: -1,
	})
	closing.Wait()
	if err != nil {
		return err
	}
	l.Echo, l.Unanswered, l.Opening = r.Latency, r.Unanswered+r.Unsent, r.Opening.Seconds
	l.Warnings = append(l.Warnings, r.Warnings...)
	return nil
}
