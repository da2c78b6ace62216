package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

// quick are options for a run that a test has time for.
func quick(url string) Options {
	return Options{URL: url, Conns: 20, Duration: 10 * testPeriod, Settle: -1, PID: os.Getpid(), Loops: 2, ConnectBurst: 5}
}

func tick(t *testing.T, o Options) *TickResult {
	t.Helper()
	r, err := Tick(t.Context(), TickOptions{Options: o, Every: testPeriod})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func echo(t *testing.T, o EchoOptions) *EchoResult {
	t.Helper()
	o.Warmup = testPeriod
	r, err := Echo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantAllOpen(t *testing.T, c Common) {
	t.Helper()
	if c.Opening.Opened != c.Conns || c.Open != c.Conns || len(c.Opening.Failed) > 0 || len(c.Lost) > 0 {
		t.Errorf("of %d connections %d opened and %d stayed; failed: %v, lost: %v",
			c.Conns, c.Opening.Opened, c.Open, c.Opening.Failed, c.Lost)
	}
}

func TestTick(t *testing.T) {
	s := newTestServer(t)
	o := quick(s.url("/ws"))
	o.SlopeFrom = 10
	r := tick(t, o)
	wantAllOpen(t, r.Common)
	if r.Messages == 0 || r.SilentConns > 0 {
		t.Errorf("%d messages, %d silent connections", r.Messages, r.SilentConns)
	}
	if r.ReceivedBytes < 9*r.Messages {
		t.Errorf("%d bytes in %d messages of 9", r.ReceivedBytes, r.Messages)
	}
	if r.Lateness.P50 > r.Lateness.P99 || r.Lateness.P99 > r.Lateness.Max {
		t.Errorf("percentiles are not in order: %v", r.Lateness)
	}
	if r.Server.CPUUsPerMessage <= 0 || r.Client.CPUUsPerMessage <= 0 || r.Opening.ServerCPUUs <= 0 {
		t.Errorf("processor time is missing: %v, %v, %v", r.Server, r.Client, r.Opening)
	}
	if m := r.Memory; m.Before.Conns != 0 || m.SlopeStart.Conns != 10 || m.Open.Conns != 20 || m.Open.RSSBytes == 0 {
		t.Errorf("memory was taken at the wrong times: %+v", m)
	}
	if got := s.count("closed by the server with code 1000"); got != o.Conns {
		t.Errorf("%d connections were closed with code 1000, want all %d", got, o.Conns)
	}
}

func TestTickByteByByte(t *testing.T) {
	s := newTestServerOf(t, slow)
	if r := tick(t, quick(s.url("/ws"))); r.Messages == 0 {
		t.Error("no messages")
	} else {
		wantAllOpen(t, r.Common)
	}
}

func TestPingIsAnswered(t *testing.T) {
	s := newTestServer(t)
	r := tick(t, quick(s.url("/ping")))
	wantAllOpen(t, r.Common)
	if r.Messages == 0 || s.count("pong") == 0 {
		t.Errorf("%d messages, %d pongs", r.Messages, s.count("pong"))
	}
}

func TestCloseByServerIsCounted(t *testing.T) {
	s := newTestServer(t)
	r := tick(t, quick(s.url("/leave")))
	want := map[string]int{"closed by the server with code 1001": 20}
	if r.Open != 0 || !maps.Equal(r.Lost, want) {
		t.Errorf("%d open, lost: %v, want %v", r.Open, r.Lost, want)
	}
	if got := s.count("closed by the server with code 1001"); got != 20 {
		t.Errorf("%d close frames were answered, want 20", got)
	}
}

func TestRefusalIsCounted(t *testing.T) {
	_, err := Tick(t.Context(), TickOptions{Options: quick(newTestServer(t).url("/refuse"))})
	if err == nil || !strings.Contains(err.Error(), "20 upgrade: HTTP 503 Service Unavailable") {
		t.Errorf("got %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	s := newTestServer(t)
	s.close()
	_, err := Tick(t.Context(), TickOptions{Options: quick(s.url("/ws"))})
	if err == nil || !strings.Contains(err.Error(), "20 connect: connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Conns = maxConns },
		func(o *Options) { o.Conns = -1 },
		func(o *Options) { o.Duration = -1 },
		func(o *Options) { o.SlopeFrom = o.Conns },
		func(o *Options) { o.PID = 1 << 22 },
		func(o *Options) { o.URL = "" },
	} {
		o := quick("ws://127.0.0.1:1/ws")
		change(&o)
		if _, err := Tick(t.Context(), TickOptions{Options: o}); err == nil || strings.Contains(err.Error(), "opened") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

func TestUpgradeTimesOut(t *testing.T) {
	s := newTestServerOf(t, mute)
	o := quick(s.url("/ws"))
	o.ConnectTimeout = time.Millisecond
	_, err := Tick(t.Context(), TickOptions{Options: o})
	if err == nil || !strings.Contains(err.Error(), "20 upgrade: timed out") {
		t.Errorf("got %v", err)
	}
}

func TestEcho(t *testing.T) {
	s := newTestServer(t)
	for _, c := range []struct {
		name string
		o    EchoOptions
	}{
		{"one at a time", EchoOptions{Size: 64, Inflight: 3}},
		{"pipelined", EchoOptions{Size: 64, Inflight: 60, Pipeline: 4}},
		{"smaller than the stamp", EchoOptions{Size: 1, Inflight: 30, Pipeline: 2}},
		{"larger than a read", EchoOptions{Size: 300_000, Inflight: 10}},
		{"at a rate", EchoOptions{Size: 200, Rate: 2_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Options = quick(s.url("/echo"))
			r := echo(t, c.o)
			wantAllOpen(t, r.Common)
			if r.Messages == 0 || r.Unanswered != 0 {
				t.Errorf("%d messages, %d unanswered", r.Messages, r.Unanswered)
			}
			if r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.Max {
				t.Errorf("latency: %v", r.Latency)
			}
			if (r.SendDelay != nil) != (c.o.Rate > 0) {
				t.Errorf("send delay: %v", r.SendDelay)
			}
		})
	}
}

// TestEchoLargerThanTheKernelHolds needs the writable edge to be sent, and comes back in many reads.
func TestEchoLargerThanTheKernelHolds(t *testing.T) {
	o := quick(newTestServer(t).url("/echo"))
	o.Duration = time.Second // for one to be sent in it, when one has come back
	r := echo(t, EchoOptions{Options: o, Size: 8 << 20, Inflight: 2})
	wantAllOpen(t, r.Common)
	if r.Unanswered != 0 || r.Latency.Max == 0 {
		t.Errorf("%d unanswered, latency: %v", r.Unanswered, r.Latency)
	}
}

// TestEchoesThatDoNotComeAreLate at a fixed rate; in a closed loop they have no time.
func TestEchoesThatDoNotComeAreLate(t *testing.T) {
	s := newTestServer(t)
	r := echo(t, EchoOptions{Options: quick(s.url("/stay")), Rate: 1_000})
	if waited := stragglerTime.Microseconds(); r.Messages != 0 || r.Unanswered == 0 || r.Unsent == 0 || r.Latency.P50 < waited {
		t.Errorf("%d messages, %d unanswered, %d unsent, latency: %v", r.Messages, r.Unanswered, r.Unsent, r.Latency)
	}
	r = echo(t, EchoOptions{Options: quick(s.url("/stay"))})
	if r.Messages != 0 || r.Unanswered == 0 || len(r.Curve) > 0 {
		t.Errorf("%d messages, %d unanswered, latency: %v", r.Messages, r.Unanswered, r.Latency)
	}
}

func TestWrongEchoesAreFound(t *testing.T) {
	s := newTestServer(t)
	for _, path := range []string{"/garble", "/cut", "/twice"} {
		r := echo(t, EchoOptions{Options: quick(s.url(path)), Inflight: 20})
		if r.Messages != 0 || r.Lost[errDiffers.Error()] != 20 {
			t.Errorf("%s: %d messages, lost: %v", path, r.Messages, r.Lost)
		}
	}
}

func TestInterruptedWhileMeasuring(t *testing.T) {
	s := newTestServer(t)
	o := quick(s.url("/ws"))
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.count("ten ticks") < o.Conns {
			time.Sleep(testPeriod)
		}
		cancel()
	}()
	r, err := Tick(ctx, TickOptions{Options: o, Every: testPeriod})
	if err != nil || !r.Interrupted || r.DurationSeconds >= time.Hour.Seconds() {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestInterruptedWhileSettling(t *testing.T) {
	s := newTestServer(t)
	o := quick(s.url("/ws"))
	o.Settle = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 5*testPeriod)
	defer cancel()
	if r, err := Tick(ctx, TickOptions{Options: o}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestResultsAreShown(t *testing.T) {
	s := newTestServer(t)
	r := tick(t, quick(s.url("/ws")))
	var table, text bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lateness", "missing", "server CPU", "server memory", "client CPU"} {
		if !strings.Contains(table.String(), "\n"+want+" ") {
			t.Errorf("no line %q in\n%s", want, table.String())
		}
	}
	if err := WriteJSON(&text, r); err != nil {
		t.Fatal(err)
	}
	var back TickResult
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || back.Messages != r.Messages || back.Lateness != r.Lateness {
		t.Errorf("read back %+v, %v", back, err)
	}
}
