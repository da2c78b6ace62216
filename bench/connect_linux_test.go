package bench

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func connect(t *testing.T, o ConnectOptions) *ConnectResult {
	t.Helper()
	o.Pause = -1
	r, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConnect(t *testing.T) {
	for name, rate := range map[string]float64{"as they open": 0, "at a rate": 500} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t)
			o := quick(s.url("/ws")) // its ticks are nobody's business
			r := connect(t, ConnectOptions{Options: o, Rate: rate})
			opened := r.Opening.Opened
			if opened < o.Conns || opened != s.accepted() || len(r.Opening.Failed)+len(r.Lost) > 0 {
				t.Errorf("%d opened and %d were accepted; failed: %v, lost: %v", opened, s.accepted(), r.Opening.Failed, r.Lost)
			}
			if r.Rounds < 1 || opened > r.Rounds*o.Conns {
				t.Errorf("%d opened in %d rounds of %d", opened, r.Rounds, o.Conns)
			}
			if c := r.Closing; c.Closed != opened || c.Unclosed != 0 || c.Seconds <= 0 {
				t.Errorf("of %d: %+v", opened, c)
			}
			if got := s.count("closed by the server with code 1000"); got != opened {
				t.Errorf("%d were closed with code 1000, want all %d", got, opened)
			}
			if r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.P99 || len(r.Curve) == 0 || (r.DialDelay != nil) != (rate > 0) {
				t.Errorf("latency %v, delay %v", r.Latency, r.DialDelay)
			}
			if r.Opening.ServerCPUUs <= 0 || r.Closing.ServerCPUUs <= 0 || r.Client.CPUPercent <= 0 || r.Server.CPUPercent <= 0 {
				t.Errorf("processor time is missing: %+v, %+v, %v, %v", r.Opening, r.Closing, r.Client, r.Server)
			}
		})
	}
}

func TestConnectTrouble(t *testing.T) {
	for _, c := range []struct {
		name, path, want string
		manner           manner
	}{
		{"refused", "/refuse", "20 upgrade: HTTP 503 Service Unavailable", friendly},
		{"mute", "/ws", "upgrade: timed out", mute},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := quick(newTestServerOf(t, c.manner).url(c.path))
			o.ConnectTimeout = 20 * ms
			_, err := Connect(t.Context(), ConnectOptions{Options: o})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestConnectCountsWhoLeft has a server that closes as soon as it has opened. Whether the client gets there
// first is a matter of luck, so connections are lost or closed, and none is both.
func TestConnectCountsWhoLeft(t *testing.T) {
	o := quick(newTestServer(t).url("/leave"))
	r, err := Connect(t.Context(), ConnectOptions{Options: o, Pause: testPeriod})
	if err != nil {
		t.Fatal(err)
	}
	left := r.Lost["closed by the server with code 1001"]
	if left == 0 || left != sum(r.Lost) || left+r.Closing.Closed != r.Opening.Opened {
		t.Errorf("%d opened, %d closed, lost: %v", r.Opening.Opened, r.Closing.Closed, r.Lost)
	}
}

// TestConnectGivesUpClosing has a server that reads on after the client's close frame.
func TestConnectGivesUpClosing(t *testing.T) {
	o := quick(newTestServer(t).url("/stay"))
	o.ConnectTimeout = 200 * ms
	r := connect(t, ConnectOptions{Options: o})
	if c := r.Closing; c.Closed != 0 || c.Unclosed != r.Opening.Opened || c.Unclosed == 0 {
		t.Errorf("%d opened: %+v", r.Opening.Opened, c)
	}
}

func TestConnectInterrupted(t *testing.T) {
	s := newTestServer(t)
	o := quick(s.url("/ws"))
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.accepted() < 3*o.Conns {
			time.Sleep(ms)
		}
		cancel()
	}()
	r, err := Connect(ctx, ConnectOptions{Options: o, Pause: -1})
	if err != nil || !r.Interrupted || r.Rounds < 3 || r.Closing.Closed != r.Opening.Opened {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestConnectComesFromManyAddresses holds although so few at a time need only one, and from others each
// round.
func TestConnectComesFromManyAddresses(t *testing.T) {
	s := newTestServer(t)
	r := connect(t, ConnectOptions{Options: quick(s.url("/ws"))})
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := map[string]bool{}
	for c := range s.conns {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		hosts[host] = true
	}
	// Each of two loops has ten connections, from the same ten addresses.
	if want := min(10*(r.Rounds-1)+1, sourceCount); len(hosts) < want {
		t.Errorf("in %d rounds all came from %d addresses, want %d or more", r.Rounds, len(hosts), want)
	}
}

// TestConnectResult adds up two rounds. What the server did in a pause counts for a connection, but not for
// how busy it was.
func TestConnectResult(t *testing.T) {
	at := func(client, server time.Duration) reading { return reading{client: client, server: server} }
	c := newConnectRun(ConnectOptions{Options: Options{Loops: 1}}, &run{server: &process{}})
	for range 2 {
		c.opening.add(100*ms, at(0, 0), at(80*ms, 30*ms), at(99*ms, 50*ms))
		c.closing.add(50*ms, at(0, 0), at(10*ms, 5*ms), at(99*ms, 25*ms))
	}
	c.opened, c.closed, c.unclosed, c.rounds = 1000, 900, 50, 2
	r := c.resultAfter(time.Second)
	o, cl := r.Opening, r.Closing
	if o.Opened != 1000 || !near(o.Seconds, 0.2) || !near(o.ConnsPerSec, 5000) || !near(o.ClientCPUUs, 160) || !near(o.ServerCPUUs, 100) {
		t.Errorf("%+v", o)
	}
	if cl.Closed != 900 || cl.Unclosed != 50 || !near(cl.Seconds, 0.1) || !near(cl.ClientCPUUs, 20e3/950) || !near(cl.ServerCPUUs, 50e3/950) {
		t.Errorf("%+v", cl)
	}
	if !near(r.Client.CPUPercent, 80) || !near(r.Server.CPUPercent, 30) || len(r.Warnings) != 0 {
		t.Errorf("%v, %v, %v", r.Client, r.Server, r.Warnings)
	}
	record(c.latency, 6*ms)
	record(c.late, 5*ms)
	if w := c.resultAfter(time.Second).Warnings; len(w) != 1 || !strings.Contains(w[0], "late itself") {
		t.Errorf("a client that dialled late: %v", w)
	}
	c.late.Reset()
	c.opening.client = 190 * ms
	if w := c.resultAfter(time.Second).Warnings; len(w) != 1 || !strings.Contains(w[0], "bottleneck") {
		t.Errorf("a client that took 95%% of a core: %v", w)
	}
}

// TestConnectEndsWithItsTime has a round that would take hours.
func TestConnectEndsWithItsTime(t *testing.T) {
	o := quick(newTestServer(t).url("/ws"))
	o.Conns = 1_000
	r := connect(t, ConnectOptions{Options: o, Rate: 0.1})
	if r.Opening.Opened == 0 || r.Opening.Opened > 2*o.Loops || r.Rounds != 1 {
		t.Errorf("%d opened in %d rounds", r.Opening.Opened, r.Rounds)
	}
}

// newDialling is a loop that dials a server which does not answer, at a rate and a time that the test sets.
func newDialling(t *testing.T, conns int, rate float64) (*loop, *dialled, *time.Duration) {
	s := newTestServerOf(t, mute)
	o := ConnectOptions{Options: Options{Conns: conns, Loops: 1}, Rate: rate}
	l := newTestLoop(t, o.Options, target{addr: netip.MustParseAddrPort(s.listener.Addr().String())})
	d, now := newDialled(l, o), new(time.Duration)
	l.clock, l.tried, l.scenario = func() time.Duration { return *now }, func() {}, d
	return l, d, now
}

// TestDialledWhenDue has room for two at a time.
func TestDialledWhenDue(t *testing.T) {
	l, _, now := newDialling(t, 10, 10)
	l.burst, l.want, l.pace.start = 2, 10, time.Second
	for _, c := range []struct {
		at, wait time.Duration
		dialled  int
	}{
		{900 * ms, 100 * ms, 0},
		{1000 * ms, 100 * ms, 1},
		{1050 * ms, 50 * ms, 1},
		{1350 * ms, forever, 2}, // and two more are due
	} {
		*now = c.at
		if wait := l.dialAll(); wait != c.wait || l.next != c.dialled {
			t.Errorf("at %v: %d are dialled and the next is due in %v, want %d and %v", c.at, l.next, wait, c.dialled, c.wait)
		}
	}
	l.drop(&l.conns[0], errConnectTimeout)
	if wait := l.dialAll(); wait != forever || l.next != 3 {
		t.Errorf("with room for one %d are dialled, and the next in %v", l.next, wait)
	}
	// The client's own fault is only what was late with room: the second one.
	wantHistogram(t, "own delay", l.late, 0, 250*ms)
	l.burst = 10
	l.dialAll() // what was due
	*now = 1420 * ms
	l.dialAll()
	wantHistogram(t, "own delay", l.late, 0, 250*ms, 20*ms)
}

// TestOpeningCountsFromWhenDue opens the first connection 30 ms late and the second on time; two others had
// no room until the end.
func TestOpeningCountsFromWhenDue(t *testing.T) {
	l, d, now := newDialling(t, 10, 10)
	l.burst, l.want = 1, 10
	*now = 30 * ms
	l.dialAll()
	*now = 50 * ms
	d.opened(&l.conns[0])
	l.burst = 2
	*now = 100 * ms
	l.dialAll()
	*now = 320 * ms
	d.opened(&l.conns[1])
	d.end(*now) // 200 and 300 ms were due
	wantHistogram(t, "time to open", d.latency, 50*ms, 220*ms, 120*ms, 20*ms)
	wantHistogram(t, "delay", d.delay, 30*ms, 0)
	if d.undialled != 2 {
		t.Errorf("%d were not dialled, want 2", d.undialled)
	}
	l.burst = 10
	if l.dialAll(); l.next != 2 {
		t.Error("it dials after the end")
	}
}

func TestTardiness(t *testing.T) {
	for _, c := range []struct {
		own, times int64
		want       bool
	}{{3_000, 5_000, true}, {3_000, 6_001, false}, {1_999, 2_000, false}, {0, 0, false}} {
		got := tardiness("the client", Percentiles{P99: c.own}, Percentiles{P99: c.times})
		if (len(got) == 1) != c.want {
			t.Errorf("%d of %d µs: %v", c.own, c.times, got)
		}
	}
}
