package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// dialled is the part of the connect scenario that one loop does: it times what opens, and ignores what
// the server says then.
type dialled struct {
	bystander
	loop      *loop
	undialled int64 // due when the time was over
	latency   *hdrhistogram.Histogram
	delay     *hdrhistogram.Histogram // how late connections of a fixed rate were dialled
}

func newDialled(l *loop, o ConnectOptions) *dialled {
	if o.Rate > 0 {
		l.setPace(o.Rate / float64(o.Loops))
	}
	return &dialled{loop: l, latency: newHistogram(), delay: newHistogram()}
}

// due is when c was to be dialled. At a fixed rate that is by the schedule, whatever held it up.
func (d *dialled) due(c *conn) time.Duration {
	if d.loop.pace == nil {
		return c.since
	}
	own := pace{start: d.loop.pace.start, rate: d.loop.pace.rate, sent: int64(c.index)}
	return own.due()
}

// opened reads the time anew: the check of the answer is a part of it.
func (d *dialled) opened(c *conn) {
	due := d.due(c)
	record(d.latency, d.loop.clock()-due)
	record(d.delay, c.since-due)
}

// end dials no more. It counts those that were due by now and had to wait for others, with the time that
// they have waited: it is the least that theirs can be, and to leave them out would be kind to a server
// that is slow.
func (d *dialled) end(now time.Duration) {
	if d.loop.pace != nil {
		for left := *d.loop.pace; left.sent < int64(d.loop.want) && left.due() <= now; left.sent++ {
			d.undialled++
			record(d.latency, now-left.due())
		}
	}
	d.loop.want = d.loop.next
}
