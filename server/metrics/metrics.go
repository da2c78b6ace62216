package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stillpool/stillpool/server"
)

// New is a collector of what srv counts. The labels are constant, on every metric: they tell several
// servers of one process apart, and are nil where there is one. Everything is read from
// [server.Server.Stats] when it is asked for; nothing runs in between. The collector may be used from
// any goroutine, for as long as the program likes, also when the server has ended.
//
// The memory that connections take is reckoned from what the process has when New is called, so call
// it before the server serves.
func New(srv *server.Server, labels prometheus.Labels) prometheus.Collector {
	return newCollector(source{srv.Stats, srv.Ready, resident}, labels)
}

// source is where the numbers come from.
type source struct {
	stats    func() server.Stats
	ready    func() error
	resident func() (bytes float64, ok bool)
}

// reading is what one collection is made of.
type reading struct {
	server.Stats
	ready    bool
	resident float64 // bytes a connection; 0 if that can't be told
}

type collector struct {
	from  source
	start float64 // resident bytes when it was made
	descs []*prometheus.Desc
	hists []*prometheus.Desc
}

func newCollector(from source, labels prometheus.Labels) *collector {
	c := &collector{from: from}
	c.start, _ = from.resident()
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc("stillpool_"+f.name, f.help, f.labels(), labels))
	}
	for _, h := range histograms {
		c.hists = append(c.hists, prometheus.NewDesc("stillpool_"+h.name, h.help, nil, labels))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	for _, d := range c.hists {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	r := c.read()
	for i, f := range families {
		f.read(r, func(value float64, label ...string) {
			out <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, label...)
		})
	}
	for i, h := range histograms {
		out <- histogram(c.hists[i], h.read(r))
	}
}

// fewConns is from how many connections on the memory of one is told. The process takes some ten
// megabytes however few they are, so below it the number would say nothing of a connection.
const fewConns = 10_000

func (c *collector) read() *reading {
	r := &reading{Stats: c.from.stats(), ready: c.from.ready() == nil}
	if now, ok := c.from.resident(); ok && c.start > 0 && r.Conns >= fewConns {
		r.resident = max(0, now-c.start) / float64(r.Conns)
	}
	return r
}

// histogram is h as Prometheus has it: in seconds, and each bucket with all that are below it.
func histogram(d *prometheus.Desc, h *server.Histogram) prometheus.Metric {
	below, buckets := uint64(0), make(map[float64]uint64, len(h.Bounds))
	for i, bound := range h.Bounds {
		below += h.Counts[i]
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), seconds(h.Sum), buckets)
}

func seconds(d time.Duration) float64 { return d.Seconds() }
