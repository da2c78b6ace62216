package million

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Parent and children speak in lines of JSON: orders to a child's standard input, reports from its
// standard output. A child carries orders out one after the other, reports after each, and from time to
// time on its own. It ends when its input does.

// order is what a child is to do: one field is set, but for Seq.
type order struct {
	Seq int `json:"seq"`

	Report *time.Duration `json:"report,omitempty"` // from now on so often; 0 is after orders only

	// For servers.
	Serve *serveOrder    `json:"serve,omitempty"`
	Every *time.Duration `json:"every,omitempty"` // the interval of all connections; 0 is no ticks

	// For clients.
	Dial   *dialOrder     `json:"dial,omitempty"`
	Open   int            `json:"open,omitempty"`   // so many connections, those that are there included
	Listen *time.Duration `json:"listen,omitempty"` // count anew, at this interval
	Tell   bool           `json:"tell,omitempty"`   // end counting, and report what came of it
}

type serveOrder struct {
	Addr  string        `json:"addr"`
	Conns int           `json:"conns"` // at most
	Work  time.Duration `json:"work,omitempty"`
}

type dialOrder struct {
	URL         string `json:"url"`
	Conns       int    `json:"conns"`
	Spare       int    `json:"spare"`
	Burst       int    `json:"burst"`
	FirstSource int    `json:"first_source"`
}

// report is what a child says of itself.
type report struct {
	Done  int    `json:"done"` // Seq of the order that was carried out, if that is why
	Error string `json:"error,omitempty"`
	At    int64  `json:"at"` // Unix time in nanoseconds

	Counts counts `json:"counts"`

	// Of servers.
	Addr string   `json:"addr,omitempty"`
	Late []uint64 `json:"late,omitempty"` // ticks by the bounds of server.Histogram

	// Of clients.
	Failed map[string]int `json:"failed,omitempty"`
	Lost   map[string]int `json:"lost,omitempty"`
	Heard  *bench.Heard   `json:"heard,omitempty"`
}

// counts are of one child or of several together. Those up to lost are the clients', the others the
// servers'. All but open only grow.
type counts [8]int64

const (
	opened   = iota // connections, whatever became of them
	open            // connections, now
	lost            // connections that had opened
	received        // messages
	sent            // messages taken for a connection
	ticks           // run
	punctual        // ticks of those that were at most onTime late
	skipped         // ticks
)

func (c counts) plus(d counts) counts {
	for i := range c {
		c[i] += d[i]
	}
	return c
}

func (c counts) minus(d counts) counts {
	for i := range c {
		c[i] -= d[i]
	}
	return c
}

// between are the counts at a time between two reports, as if they had changed evenly.
func between(from, to *report, at int64) counts {
	if at <= from.At || to.At <= from.At {
		return from.Counts
	}
	part := min(1, float64(at-from.At)/float64(to.At-from.At))
	c := from.Counts
	for i := range c {
		c[i] += int64(part * float64(to.Counts[i]-from.Counts[i]))
	}
	return c
}

// worker is what a child does.
type worker interface {
	// obey carries an order out, and puts into the report what else than its end there is to say. It gives
	// up when ctx ends.
	obey(ctx context.Context, o order, r *report) error
	// count fills in what a report has each time. It may be called while obey runs.
	count(*report)
	close()
}

// mostOrders is more than are on their way to a child at the same time.
const mostOrders = 16

// serveOrders carries orders out until there are no more. One that fails ends nothing: what to do then is
// the parent's business.
func serveOrders(w worker, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	orders := make(chan order, mostOrders)
	go func() {
		defer close(orders)
		defer cancel() // the worker may be in the middle of something, which nobody waits for any more
		for d := json.NewDecoder(in); ; {
			var o order
			if d.Decode(&o) != nil {
				return
			}
			orders <- o
		}
	}()
	f := &foreman{worker: w, reporting: make(chan time.Duration, 1), out: json.NewEncoder(out)}
	var reports sync.WaitGroup
	reports.Go(func() { f.keepReporting(ctx) })
	for o := range orders {
		f.carryOut(ctx, o)
	}
	reports.Wait()
	w.close()
	return nil
}

// foreman passes orders on to a worker, and reports.
type foreman struct {
	worker    worker
	reporting chan time.Duration

	mu  sync.Mutex
	out *json.Encoder
}

func (f *foreman) carryOut(ctx context.Context, o order) {
	r := report{Done: o.Seq}
	if o.Report != nil {
		f.reporting <- *o.Report
	} else {
		r.Error = textOf(f.worker.obey(ctx, o, &r))
	}
	f.say(&r)
}

func (f *foreman) say(r *report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.At = time.Now().UnixNano()
	f.worker.count(r)
	_ = f.out.Encode(r) // when nobody listens, in ends too
}

// keepReporting reports at whole multiples of the interval, so that all children do at the same moments.
func (f *foreman) keepReporting(ctx context.Context) {
	var each time.Duration
	for {
		var due <-chan time.Time
		if each > 0 {
			now := time.Now()
			due = time.After(now.Truncate(each).Add(each).Sub(now))
		}
		select {
		case <-ctx.Done():
			return
		case each = <-f.reporting:
		case <-due:
			f.say(&report{})
		}
	}
}
