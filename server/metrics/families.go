package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stillpool/stillpool/server"
)

// family is a metric, with one label at the most, whose values are of a bounded set: they are names
// that package server has, or the paths that the program has given to Server.Handle.
type family struct {
	name, help string
	kind       prometheus.ValueType
	label      string // its name, or empty
	read       func(r *reading, add func(value float64, label ...string))
}

func (f *family) labels() []string {
	if f.label == "" {
		return nil
	}
	return []string{f.label}
}

// number is something that is added without a label.
type number interface{ ~int | ~int64 | ~uint64 }

func gauge[N number](name, help string, of func(*reading) N) family {
	return family{name, help, prometheus.GaugeValue, "", single(of)}
}

func counter[N number](name, help string, of func(*reading) N) family {
	return family{name, help, prometheus.CounterValue, "", single(of)}
}

func single[N number](of func(*reading) N) func(*reading, func(float64, ...string)) {
	return func(r *reading, add func(float64, ...string)) { add(float64(of(r))) }
}

var families = []family{
	{"ready", "Whether the server takes connections: it listens and is not being shut down.", prometheus.GaugeValue, "",
		func(r *reading, add func(float64, ...string)) { add(truth(r.ready)) }},

	{"connections", "Connections now, by stage.", prometheus.GaugeValue, "state",
		func(r *reading, add func(float64, ...string)) {
			add(float64(r.Handshaking), "handshaking")
			add(float64(r.Open), "open")
			add(float64(r.Closing), "closing")
			add(float64(r.PlainHTTP), "http")
		}},
	{"connections_limit", "Connections of any stage at the most; absent if only descriptors limit them.", prometheus.GaugeValue, "",
		func(r *reading, add func(float64, ...string)) {
			if r.MaxConns > 0 {
				add(float64(r.MaxConns))
			}
		}},
	gauge("accept_queue_connections", "Connections that wait now in the kernel to be accepted.", func(r *reading) int { return r.AcceptQueue }),
	gauge("accept_queue_limit", "Connections that may wait in the kernel to be accepted.", func(r *reading) int { return r.AcceptQueueLimit }),
	gauge("handshaking_limit", "Connections at the most whose handshake is under way.", func(r *reading) int { return r.HandshakingLimit }),
	{"endpoint_connections", "Connections now that were upgraded, by the endpoint's path.", prometheus.GaugeValue, "endpoint",
		func(r *reading, add func(float64, ...string)) {
			for _, ep := range r.Endpoints {
				add(float64(ep.Open), ep.Path)
			}
		}},
	{"endpoint_handed_over", "Whether the endpoint's handlers run on the pool now, because they proved slow.", prometheus.GaugeValue, "endpoint",
		func(r *reading, add func(float64, ...string)) {
			for _, ep := range r.Endpoints {
				add(truth(ep.HandedOver), ep.Path)
			}
		}},
	{"connection_resident_bytes", "Resident memory that the process took since its start, by its connections now; absent below 10,000 of them.",
		prometheus.GaugeValue, "", func(r *reading, add func(float64, ...string)) {
			if r.resident > 0 {
				add(r.resident)
			}
		}},

	counter("connections_accepted_total", "Connections that came, also those refused.", func(r *reading) uint64 { return r.Accepted }),
	{"connections_closed_total", "Upgraded connections that ended, by what ended them.", prometheus.CounterValue, "cause",
		func(r *reading, add func(float64, ...string)) {
			for i, n := range r.ClosedByCause[1:] {
				add(float64(n), server.Cause(i+1).String())
			}
		}},
	{"close_codes_total", "Upgraded connections that ended, by close code: the peer's if it closed, else the server's.", prometheus.CounterValue, "code",
		func(r *reading, add func(float64, ...string)) {
			for i, n := range r.ClosedByCode {
				add(float64(n), server.CodeClass(i).String())
			}
		}},
	counter("connections_abandoned_total", "Connections that ended before their upgrade, neither answered nor refused.", func(r *reading) uint64 { return r.Abandoned }),
	{"handshakes_refused_total", "Handshakes that were refused, by why.", prometheus.CounterValue, "reason",
		func(r *reading, add func(float64, ...string)) {
			for i, n := range r.RefusedBy {
				add(float64(n), server.RefusalReason(i).String())
			}
		}},
	counter("accept_rests_total", "Times that accepting rested, with no descriptor or memory left to turn anybody away with.", func(r *reading) uint64 { return r.Rests }),
	gauge("parting_connections", "Connections now that a shutdown has yet to say goodbye to.", func(r *reading) int { return r.Parting }),
	counter("read_pauses_total", "Times that the messages of a peer were not read on, because it did not read its answers.", func(r *reading) uint64 { return r.ReadPauses }),
	counter("pings_sent_total", "Pings to peers that gave no sign of life.", func(r *reading) uint64 { return r.Pings }),
	counter("protocol_errors_total", "Connections that broke the protocol or a limit after their upgrade.", func(r *reading) uint64 { return r.BadInput }),
	counter("handler_panics_total", "Panics of handlers.", func(r *reading) uint64 { return r.Panics }),

	counter("messages_received_total", "Whole messages from peers.", func(r *reading) uint64 { return r.MessagesIn }),
	counter("messages_sent_total", "Messages taken for peers, sent or queued.", func(r *reading) uint64 { return r.MessagesOut }),
	counter("messages_refused_total", "Messages that a full backlog refused.", func(r *reading) uint64 { return r.Refused }),
	{"messages_dropped_total", "Messages that a full backlog had forgotten: new ones, or old ones that waited.", prometheus.CounterValue, "age",
		func(r *reading, add func(float64, ...string)) {
			add(float64(r.DroppedNew), "new")
			add(float64(r.DroppedOld), "old")
		}},
	counter("received_bytes_total", "Bytes read from peers.", func(r *reading) uint64 { return r.BytesIn }),
	counter("sent_bytes_total", "Bytes of the frames taken for peers.", func(r *reading) uint64 { return r.BytesOut }),
	counter("compressed_messages_received_total", "Messages that came compressed.", func(r *reading) uint64 { return r.DeflatedIn }),
	counter("compressed_messages_sent_total", "Messages that went compressed.", func(r *reading) uint64 { return r.DeflatedOut }),
	counter("inflated_received_bytes_total", "Bytes of the messages that came compressed, after inflating.", func(r *reading) uint64 { return r.InflatedIn }),
	counter("inflated_sent_bytes_total", "Bytes of the messages that went compressed, before compressing.", func(r *reading) uint64 { return r.InflatedOut }),
	counter("compressions_skipped_total", "Long messages that went as they were, because enough were being compressed.", func(r *reading) uint64 { return r.DeflateSkipped }),

	{"ticks_total", "Ticks by outcome: run on time, run late by more than a tenth of their interval, or skipped.", prometheus.CounterValue, "outcome",
		func(r *reading, add func(float64, ...string)) {
			add(float64(r.Ticks-r.Late), "on time")
			add(float64(r.Late), "late")
			add(float64(r.Skipped), "skipped")
		}},

	{"budget_used_bytes", "Bytes held now of each budget: half-received input, what waits for peers to read, windows of compression.", prometheus.GaugeValue, "budget",
		func(r *reading, add func(float64, ...string)) {
			add(float64(r.InboundHeld), "inbound")
			add(float64(r.OutboundHeld), "outbound")
			add(float64(r.WindowsHeld), "windows")
		}},
	{"budget_limit_bytes", "Bytes that each budget has.", prometheus.GaugeValue, "budget",
		func(r *reading, add func(float64, ...string)) {
			add(float64(r.InboundLimit), "inbound")
			add(float64(r.OutboundLimit), "outbound")
			add(float64(r.WindowsLimit), "windows")
		}},

	gauge("slow_connections", "Connections now for which a KiB waits in the process, or more.", func(r *reading) int { return r.Slow }),
	counter("backlogs_shed_total", "Times that a connection gave way to others, because the outbound budget was spent.", func(r *reading) uint64 { return r.Shed }),
	counter("shed_bytes_total", "Bytes that those had waiting, and have not any more.", func(r *reading) uint64 { return r.ShedBytes }),

	{"workers_busy", "Goroutines of the pool that work now, by their share of it.", prometheus.GaugeValue, "lane",
		lanes(func(l server.Lane) int { return l.Running })},
	{"workers_limit", "Goroutines at the most, by their share of the pool.", prometheus.GaugeValue, "lane",
		lanes(func(l server.Lane) int { return l.Limit })},
	{"workers_waiting_connections", "Connections that wait now for a goroutine of the pool, by share.", prometheus.GaugeValue, "lane",
		lanes(func(l server.Lane) int { return l.Waiting })},

	gauge("loops", "Event loops.", func(r *reading) int { return r.Loops }),
	counter("loop_replacements_total", "Times that a loop made no progress for some milliseconds, and another goroutine replaced its own.", func(r *reading) uint64 { return r.Deposed }),
	{"offloads_total", "Times that the handlers of an endpoint proved slow and went to the pool, or stayed there, by the evidence.", prometheus.CounterValue, "reason",
		func(r *reading, add func(float64, ...string)) {
			for i, n := range r.Offloads {
				add(float64(n), server.OffloadReason(i).String())
			}
		}},
	gauge("run_queue_connections", "Connections that wait now for another turn on their loop.", func(r *reading) int { return r.RunQueue }),
	{"loop_stalled_seconds", "For how long an event loop has not answered now, the longest of all.", prometheus.GaugeValue, "",
		func(r *reading, add func(float64, ...string)) { add(seconds(r.LoopStalled)) }},
}

// histograms are the metrics that are no single number. Their unit is the second.
var histograms = []struct {
	name, help string
	read       func(*reading) *server.Histogram
}{
	{"tick_lateness_seconds", "How late ticks were run, from due to written.", func(r *reading) *server.Histogram { return &r.Lateness }},
	{"loop_lag_seconds", "How long the event loops took to answer, each asked once a second.", func(r *reading) *server.Histogram { return &r.LoopLag }},
}

// lanes reads something of each share of the pool.
func lanes(of func(server.Lane) int) func(*reading, func(float64, ...string)) {
	return func(r *reading, add func(float64, ...string)) {
		add(float64(of(r.Handlers)), "handlers")
		add(float64(of(r.TickLane)), "ticks")
		add(float64(of(r.Closes)), "closes")
		add(float64(of(r.Inflates)), "inflates")
		add(float64(of(r.Authorizing)), "authorize")
	}
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
