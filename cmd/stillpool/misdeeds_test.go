package main

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestCompareMisdeeds: handlers that are said to misbehave do so, and others' echoes are measured beside them.
func TestCompareMisdeeds(t *testing.T) {
	t.Setenv(asCommand, "1") // for the servers
	for _, m := range misdeeds {
		if m.name != "blocking" && m.name != "panics" {
			continue // which are compared in the same way; TestCulprits has all
		}
		c, err := m.compare(t.Context(), 1, 200*time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		for _, s := range c.Servers {
			if len(s.Rounds) != 1 || s.Rounds[0].Echo.Messages == 0 || s.Rounds[0].Echo.Server.CPUSeconds == 0 {
				t.Errorf("%s, %s: %+v", m.name, s.Name, s.Rounds)
			}
		}
		if _, err := m.contest().budgets[0].Judge(c); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestCulprits: each misdeed is done again and again, with the answer that it is to have.
func TestCulprits(t *testing.T) {
	t.Setenv(asCommand, "1")
	srv, err := startServer(t.Context(), "bench", "misbehaving")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.end()
	for _, m := range misdeeds {
		m.clients, m.pause = 3, 0
		if m.name == "blocking-long" {
			m.ask = "block 50ms"
		}
		start := time.Now()
		c, err := startCulprits(t.Context(), srv.addr, m)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		eventually(t, "more answers", func() bool { return c.answered.Load() >= 9 })
		if took := time.Since(start); m.name == "blocking" && took < 300*time.Millisecond { // three of each, or one has had more
			t.Errorf("9 answers after %v", took)
		}
		if err := c.end(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if log := srv.log.String(); !strings.Contains(log, "as it was asked to") {
		t.Errorf("nothing panicked:\n%s", log)
	}
}

// TestCulpritsNotice: one that is refused is an error, and not a quiet endpoint; so is a server that dies, and
// a handler that gets away with it.
func TestCulpritsNotice(t *testing.T) {
	t.Setenv(asCommand, "1")
	srv, err := startServer(t.Context(), "bench", "misbehaving")
	if err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{
		"block 1h": "1008", "block": "1008", "allocate 1000000000": "1008", "allocate": "1008", "sing": "1008", "": "1008",
	} {
		if _, err := startCulprits(t.Context(), srv.addr, misdeed{ask: ask, clients: 2}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("asked to %q: %v", ask, err)
		}
	}
	if _, err := startCulprits(t.Context(), srv.addr, misdeed{ask: "block 1ms", clients: 1, code: ws.StatusInternalServerError}); err == nil {
		t.Error("an answer was taken for the end")
	}
	c, err := startCulprits(t.Context(), srv.addr, misdeed{ask: "block 1ms", clients: 2})
	if err != nil {
		t.Fatal(err)
	}
	srv.cmd.Process.Kill()
	<-srv.ended
	eventually(t, "the culprits to notice", func() bool { return len(c.failed) > 0 })
	if err := c.end(); err == nil {
		t.Error("nobody said that the server is gone")
	}
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
