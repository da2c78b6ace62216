package bench

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

func subscribers(t *testing.T, o SubscribersOptions) *Subscribers {
	t.Helper()
	s, err := Subscribe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// until looks for as long as it may take for something to hold that a server brings about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

// TestSubscribers opens connections in two steps, counts twice, and ends them.
func TestSubscribers(t *testing.T) {
	server := newTestServer(t)
	s := subscribers(t, SubscribersOptions{Options: Options{URL: server.url("/ws"), Conns: 20, Loops: 2}})
	for _, n := range []int{7, 20} {
		if err := s.Open(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if c := s.Count(); c.Opened != n || c.Open != n || len(c.Failed)+len(c.Lost) > 0 {
			t.Errorf("%d asked for: %+v", n, c)
		}
	}
	for range 2 {
		before := s.Count().Messages
		s.Listen(testPeriod)
		until(t, "five messages a connection", func() bool { return s.Count().Messages >= before+5*20 })
		h := s.Heard()
		conns, messages := 0, 0
		for ticks, n := range h.Ticks {
			conns += n
			messages += ticks * n
		}
		// What came before Listen or after Heard is in the whole count, and not in this one.
		if conns != 20 || int64(messages) != h.Messages || h.Messages > s.Count().Messages-before {
			t.Errorf("%d messages, %d of %d connections, %d in all", h.Messages, messages, conns, s.Count().Messages-before)
		}
		if h.Lateness.Count() != h.Messages || h.Silent > 0 {
			t.Errorf("lateness of %d of %d messages, %d silent", h.Lateness.Count(), h.Messages, h.Silent)
		}
	}
	s.Close()
	if c := s.Count(); c.Opened != 0 || c.Messages != 0 { // the loops have ended and answer no more
		t.Errorf("after Close: %+v", c)
	}
	until(t, "the server to see the resets", func() bool { return server.count("reset") == 20 })
}

// TestSubscribersTryAgain: connections that fail are tried again as often as there are spare ones.
func TestSubscribersTryAgain(t *testing.T) {
	server := newTestServer(t)
	s := subscribers(t, SubscribersOptions{Options: Options{URL: server.url("/refuse"), Conns: 3}, Spare: 4})
	err := s.Open(t.Context(), 3)
	if err == nil || !strings.Contains(err.Error(), "0 of 3") || !strings.Contains(err.Error(), "7 upgrade: HTTP 503") {
		t.Errorf("error %v", err)
	}
	if n := server.accepted(); n != 7 {
		t.Errorf("%d connections were tried, want 3 and 4 more", n)
	}
}

// TestSubscribersGiveUp: opening ends with its context.
func TestSubscribersGiveUp(t *testing.T) {
	server := newTestServerOf(t, mute)
	s := subscribers(t, SubscribersOptions{Options: Options{URL: server.url("/ws"), Conns: 3}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Open(ctx, 3); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// TestTimes: what goes from one process to another as text is what it was, and adds up.
func TestTimes(t *testing.T) {
	var sum Times
	for range 2 {
		h := newHistogram()
		for i := range 1000 {
			record(h, time.Duration(i+1)*ms)
		}
		var some Times
		some.take(h)
		text, err := json.Marshal(some)
		if err != nil {
			t.Fatal(err)
		}
		var back Times
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if back.Count() != 1000 || back.Percentiles() != percentilesOf(h) {
			t.Errorf("came back as %d times, %v", back.Count(), back.Percentiles())
		}
		sum.Add(back)
	}
	if p := sum.Percentiles(); sum.Count() != 2000 || p.P50 < 499_000 || p.P50 > 501_000 {
		t.Errorf("%d times, %v", sum.Count(), p)
	}
	var none, back Times
	text, err := json.Marshal(none)
	if err != nil || json.Unmarshal(text, &back) != nil || back.Count() != 0 || back.Percentiles() != (Percentiles{}) {
		t.Errorf("none: %s, %v, %+v", text, err, back.Percentiles())
	}
	sum.Add(none)
	if sum.Count() != 2000 {
		t.Errorf("with none more: %d", sum.Count())
	}
	if json.Unmarshal([]byte(`"nonsense"`), &back) == nil {
		t.Error("nonsense was read")
	}
}

// TestHeardAdds: what several processes heard is the sum of it.
func TestHeardAdds(t *testing.T) {
	var sum Heard
	for range 2 {
		h := Heard{Messages: 5, Missing: 2, Silent: 1, Ticks: map[int]int{0: 1, 5: 1}}
		h.Lateness.take(newHistogram())
		sum.Add(&h)
	}
	if sum.Messages != 10 || sum.Missing != 4 || sum.Silent != 2 || !maps.Equal(sum.Ticks, map[int]int{0: 2, 5: 2}) {
		t.Errorf("%+v", sum)
	}
}
