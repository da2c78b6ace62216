package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		limit    uint64
		maxConns int
		want     []string // none: nothing to say
	}{
		{1024, 0, nil},
		{1024, 1024 - descriptorReserve, nil},
		{1024, 1024 - descriptorReserve + 1, []string{"1024", "ulimit -n 1025"}},
		{20_000, 1_000_000, []string{"20000", "ulimit -n 1000128", "LimitNOFILE=1000128", "fs.nr_open=1000128"}},
		{1 << 63, 1_000_000, nil},
		{200, 160, nil},
		{200, 161, []string{"200", "ulimit -n 201"}},
		{200, 512, []string{"ulimit -n 639"}},
		{10, 8, nil},
		{10, 9, []string{"ulimit -n 11"}},
		{0, 1, nil},
	} {
		got := advice(c.limit, c.maxConns)
		if (got == "") != (c.want == nil) || strings.Contains(got, "\n") {
			t.Errorf("%d for %d: %q", c.limit, c.maxConns, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%d for %d: %q is missing in %q", c.limit, c.maxConns, w, got)
			}
		}
	}
}

// The limit that is advised is the lowest that has the room.
func TestLimitFor(t *testing.T) {
	for n := 2; n < 2000; n++ {
		if limit := limitFor(n); roomFor(limit) < uint64(n) || roomFor(limit-1) >= uint64(n) {
			t.Errorf("%d connections: %d descriptors have room for %d, one fewer for %d", n, limit, roomFor(limit), roomFor(limit-1))
		}
	}
}

// The limit of this process decides how many connections are taken, and a wish beyond it is told.
func TestConnections(t *testing.T) {
	limit, err := raiseDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	room := int(roomFor(limit))
	for _, c := range []struct {
		maxConns, want int
		warned         bool
	}{
		{0, room, false},
		{room, room, false},
		{1, 1, false},
		{room + 1, room, true},
	} {
		var log bytes.Buffer
		s := &serveCmd{MaxConns: c.maxConns}
		if got := s.connections(slog.New(slog.NewTextHandler(&log, nil))); got != c.want {
			t.Errorf("--max-conns %d: takes %d, want %d", c.maxConns, got, c.want)
		}
		if warned := strings.Contains(log.String(), "ulimit -n"); warned != c.warned {
			t.Errorf("--max-conns %d: log %q", c.maxConns, &log)
		}
	}
}
