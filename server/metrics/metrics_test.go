package metrics

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/stillpool/stillpool/server"
)

// still is a source that always says the same.
func still(st server.Stats) source {
	return source{
		stats:    func() server.Stats { return st },
		ready:    func() error { return nil },
		resident: func() (float64, bool) { return 0, false },
	}
}

// values are what a collector says: each series with its value, a histogram as several.
func values(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				all[name+" count"] = float64(m.Histogram.GetSampleCount())
				all[name+" sum"] = m.Histogram.GetSampleSum()
				for _, b := range m.Histogram.Bucket {
					all[fmt.Sprintf("%s le=%v", name, b.GetUpperBound())] = float64(b.GetCumulativeCount())
				}
			case dto.MetricType_COUNTER:
				all[name] = m.Counter.GetValue()
			default:
				all[name] = m.Gauge.GetValue()
			}
		}
	}
	return all
}

// full are stats with something in everything that has a length.
func full() server.Stats {
	bounds := []time.Duration{time.Millisecond, time.Second}
	return server.Stats{
		MaxConns:  1,
		Ticks:     1 << 20, // Late is taken from it
		Lateness:  server.Histogram{Bounds: bounds, Counts: make([]uint64, 3)},
		LoopLag:   server.Histogram{Bounds: bounds, Counts: make([]uint64, 3)},
		Endpoints: []server.EndpointStats{{Path: "/a"}, {Path: "/b"}},
	}
}

// sums are the fields of Stats that are not shown, because series that are add up to them.
var sums = map[string]bool{
	"Conns":            true, // of connections
	"Handshakes":       true, // of handshakes_refused_total
	"Closed":           true, // of connections_closed_total
	"ClosedByCause[0]": true, // always 0: the causes begin at 1
}

// TestEveryStatIsShown changes one number of Stats after the other, and sees something of what is
// shown change; but nothing for those that are left out.
func TestEveryStatIsShown(t *testing.T) {
	t.Parallel()
	before := values(t, newCollector(still(full()), nil))
	leaves := 0
	eachLeaf(t, func(name string, change func(*server.Stats)) {
		leaves++
		st := full()
		change(&st)
		shown := !maps.Equal(before, values(t, newCollector(still(st), nil)))
		if shown == sums[name] {
			t.Errorf("Stats.%s: shown is %v", name, shown)
		}
	})
	if leaves < 80 {
		t.Errorf("only %d numbers were changed", leaves)
	}
}

// eachLeaf walks what full has: its numbers, and what else has no parts.
func eachLeaf(t *testing.T, visit func(name string, change func(*server.Stats))) {
	type way func(reflect.Value) reflect.Value // from a Stats to a part of it
	var walk func(name string, v reflect.Value, to way)
	walk = func(name string, v reflect.Value, to way) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), v.Field(i), func(st reflect.Value) reflect.Value { return to(st).Field(i) })
			}
		case reflect.Array, reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i), func(st reflect.Value) reflect.Value { return to(st).Index(i) })
			}
		default:
			visit(name, func(st *server.Stats) { another(t, name, to(reflect.ValueOf(st).Elem())) })
		}
	}
	walk("", reflect.ValueOf(full()), func(st reflect.Value) reflect.Value { return st })
}

// another changes a value.
func another(t *testing.T, name string, v reflect.Value) {
	switch {
	case v.CanInt():
		v.SetInt(v.Int() + 3)
	case v.CanUint():
		v.SetUint(v.Uint() + 3)
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "3")
	default:
		t.Errorf("Stats.%s is a %s: nobody knows how to change it", name, v.Type())
	}
}

// TestValues: each number arrives where it belongs, in the unit that the name says.
func TestValues(t *testing.T) {
	t.Parallel()
	st := server.Stats{
		Handshaking: 1, Open: 2, Closing: 3, PlainHTTP: 4, MaxConns: 5, HandshakingLimit: 25,
		Ticks: 10, Late: 3, Skipped: 2,
		InboundHeld: 6, OutboundHeld: 7, WindowsHeld: 8, InboundLimit: 9, OutboundLimit: 10, WindowsLimit: 11,
		Handlers: server.Lane{Limit: 12, Running: 13, Waiting: 14}, TickLane: server.Lane{Limit: 15}, Closes: server.Lane{Limit: 16},
		Inflates: server.Lane{Limit: 17}, Authorizing: server.Lane{Limit: 18},
		Lateness: server.Histogram{Bounds: []time.Duration{500 * time.Microsecond, 2 * time.Second}, Counts: []uint64{5, 2, 1},
			Sum: 4500 * time.Millisecond},
		LoopStalled: 1500 * time.Millisecond,
		Endpoints:   []server.EndpointStats{{Path: "/ws", Open: 19, HandedOver: true}, {Path: "/echo", Open: 20}},
	}
	st.RefusedBy[server.RefusedOrigin], st.ClosedByCause[server.TooSlow] = 21, 22
	st.Deposed, st.Offloads[server.OffloadSecondOut] = 30, 31
	st.DroppedNew, st.DroppedOld, st.Slow, st.Shed, st.ShedBytes = 25, 26, 27, 28, 29
	st.ClosedByCode[server.Code(1001).Class()], st.ClosedByCode[server.PrivateCodes] = 23, 24
	got := values(t, newCollector(still(st), prometheus.Labels{"server": "a"}))
	for name, want := range map[string]float64{
		"ready server=a": 1, "connections server=a state=handshaking": 1, "connections server=a state=open": 2,
		"connections server=a state=closing": 3, "connections server=a state=http": 4, "connections_limit server=a": 5, "handshaking_limit server=a": 25,
		"ticks_total outcome=on time server=a": 7, "ticks_total outcome=late server=a": 3, "ticks_total outcome=skipped server=a": 2,
		"budget_used_bytes budget=inbound server=a": 6, "budget_used_bytes budget=outbound server=a": 7, "budget_used_bytes budget=windows server=a": 8,
		"budget_limit_bytes budget=inbound server=a": 9, "budget_limit_bytes budget=outbound server=a": 10, "budget_limit_bytes budget=windows server=a": 11,
		"workers_limit lane=handlers server=a": 12, "workers_busy lane=handlers server=a": 13, "workers_waiting_connections lane=handlers server=a": 14,
		"workers_limit lane=ticks server=a": 15, "workers_limit lane=closes server=a": 16, "workers_limit lane=inflates server=a": 17,
		"workers_limit lane=authorize server=a":           18,
		"tick_lateness_seconds server=a le=0.0005":        5,
		"tick_lateness_seconds server=a le=2":             7,
		"tick_lateness_seconds server=a count":            8,
		"tick_lateness_seconds server=a sum":              4.5,
		"loop_stalled_seconds server=a":                   1.5,
		"endpoint_connections endpoint=/ws server=a":      19,
		"endpoint_handed_over endpoint=/ws server=a":      1,
		"endpoint_handed_over endpoint=/echo server=a":    0,
		"handshakes_refused_total reason=origin server=a": 21, "connections_closed_total cause=too slow server=a": 22,
		"loop_replacements_total server=a": 30, "offloads_total reason=second_out server=a": 31, "offloads_total reason=cpu server=a": 0,
		"messages_dropped_total age=new server=a": 25, "messages_dropped_total age=old server=a": 26, "slow_connections server=a": 27,
		"backlogs_shed_total server=a": 28, "shed_bytes_total server=a": 29,
		"close_codes_total code=1001 server=a": 23, "close_codes_total code=private 4000-4999 server=a": 24,
	} {
		if v, ok := got["stillpool_"+name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

// TestReady: being ready is a metric, and not being so too.
func TestReady(t *testing.T) {
	t.Parallel()
	from := still(full())
	from.ready = func() error { return errors.New("no") }
	if v, ok := values(t, newCollector(from, nil))["stillpool_ready"]; !ok || v != 0 {
		t.Errorf("not ready is %v", v)
	}
}

// TestResident: what the process took since its start is shared out among its connections, if they
// are so many that they are what took it.
func TestResident(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start, now float64
		known      bool
		conns      int
		want       float64
	}{
		{1e6, 5e6, true, 2 * fewConns, 200}, {1e6, 3e6, true, fewConns, 200}, {1e6, 3e6, true, fewConns - 1, math.NaN()},
		{1e6, 3e6, false, fewConns, math.NaN()}, {3e6, 1e6, true, fewConns, math.NaN()},
	} {
		now := c.start
		from := still(server.Stats{Conns: c.conns})
		from.resident = func() (float64, bool) { return now, c.known }
		col := newCollector(from, nil)
		now = c.now
		got, ok := values(t, col)["stillpool_connection_resident_bytes"]
		if ok == math.IsNaN(c.want) || ok && got != c.want {
			t.Errorf("%+v: %v, %v", c, got, ok)
		}
	}
}

// TestLint: names and units are as Prometheus wants them, and labels have no other values than those
// that are known beforehand.
func TestLint(t *testing.T) {
	t.Parallel()
	srv := new(server.Server)
	srv.Handle("/ws", server.Options{})
	from := still(full())
	from.stats = func() server.Stats {
		st := srv.Stats()
		st.Conns, st.MaxConns = fewConns, 1
		return st
	}
	size := 1.0
	from.resident = func() (float64, bool) { size *= 1000; return size, true }
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newCollector(from, nil))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %+v", err, problems)
	}
	shown, err := reg.Gather()
	if err != nil || len(shown) != len(families)+len(histograms) {
		t.Errorf("%d families are shown of %d and %d: %v", len(shown), len(families), len(histograms), err)
	}
	var labels []string
	for _, f := range shown {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
		}
	}
	slices.Sort(labels)
	if got, want := slices.Compact(labels), []string{"age", "budget", "cause", "code", "endpoint", "lane", "outcome", "reason", "state"}; !slices.Equal(got, want) {
		t.Errorf("labels %v, want %v", got, want)
	}
}

// TestSeveralServers: constant labels tell several servers apart in one registry; without any the
// second is refused.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		if err := reg.Register(New(new(server.Server), prometheus.Labels{"server": name})); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := testutil.GatherAndCount(reg, "stillpool_ready"); n != 2 || err != nil {
		t.Errorf("%d servers are shown, %v", n, err)
	}
	reg = prometheus.NewPedanticRegistry()
	reg.MustRegister(New(new(server.Server), nil))
	if reg.Register(New(new(server.Server), nil)) == nil {
		t.Error("two servers were taken for one")
	}
}
