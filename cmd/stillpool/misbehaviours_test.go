package main

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/bench"
)

// TestCompareMisbehaviours: handlers misbehave where they are said to, and others' echoes are measured beside them.
func TestCompareMisbehaviours(t *testing.T) {
	t.Setenv(asCommand, "1") // for the servers
	for _, m := range misbehaviours {
		if m.name != "blocking" && m.name != "panics" {
			continue // which are compared in the same way; TestMisbehaviours has all
		}
		c, err := m.compare(t.Context(), checkOptions{rounds: 1, duration: 200 * time.Millisecond})
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		for _, s := range c.Servers {
			r := s.Rounds[0].Echo
			if r.Messages == 0 || r.Server.CPUSeconds == 0 || (r.Misbehaved == 0) != (s.Name == undisturbed) {
				t.Errorf("%s, %s: %+v", m.name, s.Name, r)
			}
		}
		for _, busy := range []bool{false, true} {
			if _, err := m.contest().on(busy).budgets[0].Judge(c); err != nil {
				t.Errorf("%s, busy %v: %v", m.name, busy, err)
			}
		}
	}
}

// echoBeside measures a few echoes beside misbehaving handlers of srv.
func echoBeside(ctx context.Context, srv *childServer, m bench.Misbehaving, duration time.Duration) (*bench.EchoResult, error) {
	return bench.Echo(ctx, bench.EchoOptions{
		Options: bench.Options{URL: "ws://" + srv.addr + "/echo", Conns: 2, Duration: duration, Settle: -1},
		Rate:    50, Warmup: -1, Misbehaving: &m,
	})
}

// TestMisbehaviours: handlers misbehave again and again, each with the answer that it must have.
func TestMisbehaviours(t *testing.T) {
	t.Setenv(asCommand, "1")
	srv, err := startServer(t.Context(), "bench", "misbehaving")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.end()
	for _, m := range misbehaviours {
		m.clients.Clients, m.clients.Pause = 3, 0
		if m.name == "blocking-long" {
			m.clients.Ask = "block 50ms"
		}
		r, err := echoBeside(t.Context(), srv, m.clients, 300*time.Millisecond)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		} else if m.name == "blocking" && r.Misbehaved > 3*int64(r.DurationSeconds*10+2) {
			t.Errorf("%d handlers of three clients blocked for 100 ms in %.1f s", r.Misbehaved, r.DurationSeconds)
		}
	}
	if log := srv.log.String(); !strings.Contains(log, "as it was asked to") {
		t.Errorf("nothing panicked:\n%s", log)
	}
}

// TestMisbehavingClientsNotice: a client that is refused is an error, and not a quiet endpoint; so is a server that
// dies, and a handler that gets away with it.
func TestMisbehavingClientsNotice(t *testing.T) {
	t.Setenv(asCommand, "1")
	srv, err := startServer(t.Context(), "bench", "misbehaving")
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []string{"block 1h", "block", "compute -1s", "allocate 1000000000", "allocate", "sing", ""} {
		if _, err := echoBeside(t.Context(), srv, bench.Misbehaving{Ask: ask, Clients: 2}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "1008") {
			t.Errorf("asked to %q: %v", ask, err)
		}
	}
	away := bench.Misbehaving{Ask: "block 1ms", Clients: 1, Code: ws.StatusInternalServerError}
	if _, err := echoBeside(t.Context(), srv, away, time.Millisecond); err == nil {
		t.Error("an answer was taken for the end")
	}
	time.AfterFunc(100*time.Millisecond, func() { srv.cmd.Process.Kill() })
	if _, err := echoBeside(t.Context(), srv, bench.Misbehaving{Ask: "block 1ms", Clients: 2}, time.Second); err == nil {
		t.Error("the end of the server went unnoticed")
	}
	<-srv.ended
}

// TestAllocate takes what it says.
func TestAllocate(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	allocate(1 << 20)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n < 1<<20 {
		t.Errorf("%d bytes, want 1 MiB", n)
	}
}
