package bench

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// castStalled has the last 4 of 20 connections stall; a server that numbers them has them from the 17th on.
func castStalled(t *testing.T, url string, size int, rate float64) *BroadcastResult {
	t.Helper()
	o := quick(url)
	o.Loops, o.ConnectBurst = 1, 1
	r := cast(t, BroadcastOptions{Options: o, Size: size, Rate: rate, Stalled: 4})
	if r.Stalled == nil || r.Stalled.Conns != 4 {
		t.Fatalf("%+v stalled, want 4 connections", r.Stalled)
	}
	if r.Opening.Opened != 20 || len(r.Lost) > 0 {
		t.Errorf("%d opened, lost: %v", r.Opening.Opened, r.Lost)
	}
	return r
}

// wantReaders: the 16 that read have every message.
func wantReaders(t *testing.T, r *BroadcastResult) {
	t.Helper()
	if r.Broadcasts == 0 || r.Messages == 0 || r.Missing != 0 || r.Unsent != 0 || r.Messages > 16*(r.Broadcasts+1) {
		t.Errorf("%d messages, %d deliveries, %d missing, %d unsent", r.Broadcasts, r.Messages, r.Missing, r.Unsent)
	}
}

// TestStalled has a server that lets nobody wait for others, and keeps what is to be read at last.
func TestStalled(t *testing.T) {
	s := newTestServer(t)
	h := s.hall("/broadcast/right")
	h.mu.Lock()
	h.queued = true
	h.mu.Unlock()
	r := castStalled(t, s.url("/broadcast/right"), 100_000, 20)
	wantReaders(t, r)
	st := r.Stalled
	if st.Open != 4 || len(st.Ends) > 0 || st.Never != 0 || st.Late < 4*r.Broadcasts {
		t.Errorf("of %d messages: %+v", r.Broadcasts, st)
	}
	if st.RSS == nil || st.RSS.Before <= 0 || st.RSS.Peak <= 0 || st.RSS.After <= 0 {
		t.Errorf("resident memory: %+v", st.RSS)
	}
	if st.Sockets.Peak <= 0 || st.Slab.Before <= 0 || st.Slab.Peak <= 0 || st.Slab.After <= 0 {
		t.Errorf("of the kernel: sockets %v, slab %v", &st.Sockets, &st.Slab)
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "4 that never read: 4 open") {
		t.Errorf("%v\n%s", err, &table)
	}
}

// TestStalledHoldUpTheOthers has a server that writes to one after the other, and waits.
func TestStalledHoldUpTheOthers(t *testing.T) {
	r := castStalled(t, newTestServer(t).url("/broadcast/right"), 1<<20, 50)
	if r.Missing+r.Unsent == 0 || r.Last.P99 < stragglerTime.Microseconds()/2 {
		t.Errorf("nothing is missing beside connections that a server waits for: %d, %d unsent, last %v", r.Missing, r.Unsent, r.Last)
	}
	if r.Stalled.Open != 4 {
		t.Errorf("%+v", r.Stalled)
	}
}

// TestLossBesideStalled has a server that loses what should have gone to a reader.
func TestLossBesideStalled(t *testing.T) {
	r := castStalled(t, newTestServer(t).url("/broadcast/half"), 100, 200)
	if half := r.Broadcasts / 2; r.Missing < half-1 || r.Missing > half+1 {
		t.Errorf("of %d messages, %d are missing on the connection that gets every second one", r.Broadcasts, r.Missing)
	}
	if r.Stalled.Never != 0 || r.Stalled.Late < 4*r.Broadcasts {
		t.Errorf("%+v", r.Stalled)
	}
}

// TestStalledEnds: how a server ends a connection is known, whether the kernel tells of it at once or behind
// what was not read.
func TestStalledEnds(t *testing.T) {
	s := newTestServer(t)
	for manner, want := range map[string]map[string]int{
		"shedding":   {closeError(tryAgainLater).Error(): 4},
		"resetting":  {"recvfrom: " + syscall.ECONNRESET.Error(): 4},
		"stuttering": {errRepeated.Error(): 4},
	} {
		r := castStalled(t, s.url("/broadcast/"+manner), 100, 200)
		wantReaders(t, r)
		st, meanwhile := r.Stalled, 4
		if manner == "stuttering" {
			meanwhile = 0
		}
		if st.Open != 0 || !maps.Equal(st.Ends, want) || st.EndedMeanwhile != meanwhile || r.Open != 20-meanwhile {
			t.Errorf("%s: %d open, %+v", manner, r.Open, st)
		}
		if manner != "stuttering" && st.Late != 12 {
			t.Errorf("%s: %d came at last, want 3 each", manner, st.Late)
		}
	}
}

// TestStalledMissOut: what a server leaves out for them is told, and is not missing.
func TestStalledMissOut(t *testing.T) {
	r := castStalled(t, newTestServer(t).url("/broadcast/thinning"), 100, 200)
	wantReaders(t, r)
	if st := r.Stalled; st.Open != 4 || st.Late == 0 || st.Never < st.Late-8 || st.Never > st.Late+8 {
		t.Errorf("%+v", r.Stalled)
	}
}

func TestStalledAreSpread(t *testing.T) {
	o := quick(newTestServer(t).url("/broadcast/right"))
	r := cast(t, BroadcastOptions{Options: o, Stalled: 18}) // of 20, on two loops
	if r.Stalled.Conns != 18 || r.Stalled.Open != 18 || r.Missing != 0 || r.Messages > 2*(r.Broadcasts+1) {
		t.Errorf("%d messages, %d deliveries, %d missing, %+v", r.Broadcasts, r.Messages, r.Missing, r.Stalled)
	}
	for _, stalled := range []int{-1, 19, 20} {
		if _, err := Broadcast(t.Context(), BroadcastOptions{Options: o, Stalled: stalled}); err == nil {
			t.Errorf("%d of 20 stalled are taken, on two loops", stalled)
		}
	}
}

// TestStrainSeesThePeak holds much memory for as long as it takes to be seen: more than a collector that other
// tests have set going could give back meanwhile.
func TestStrainSeesThePeak(t *testing.T) {
	debug.FreeOSMemory()
	s, err := newStrain(BroadcastOptions{Stalled: 1}, &run{server: &process{pid: os.Getpid()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	held, err := syscall.Mmap(-1, 0, 256<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(held)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	until(t, "the peak", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.rss.Peak-s.rss.Before > int64(len(held))/4 && s.sockets.Peak > 0 && s.slab.Peak > 0
	})
	s.stop()
	if s.err != nil || held[4096] != 1 {
		t.Error(s.err)
	}
}

// TestStrainAsksForTheBacklog: the server is asked at the beginning, seldom in between, and at the end.
func TestStrainAsksForTheBacklog(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "stillpool_budget_used_bytes{budget=\"outbound\"} %d\n", []int{5, 9, 3}[asked.Add(1)-1])
	}))
	defer server.Close()
	s, err := newStrain(BroadcastOptions{Stalled: 1, MetricsURL: server.URL}, &run{})
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.accounted = time.Now()
	for _, into := range []func(*Level, int64){(*Level).note, (*Level).note, (*Level).end} {
		if err := s.look(into); err != nil {
			t.Fatal(err)
		}
		s.accounted = time.Time{}
	}
	if want := (Level{5, 9, 3}); *s.backlog != want || asked.Load() != 3 {
		t.Errorf("got %+v of %d answers, want %+v", s.backlog, asked.Load(), want)
	}
	server.Close()
	if _, err := newStrain(BroadcastOptions{Stalled: 1, MetricsURL: server.URL}, &run{}); err == nil {
		t.Error("a server that does not answer is no error")
	}
}

// TestStrainOfAProcessThatEnds is an error, not a peak of nothing.
func TestStrainOfAProcessThatEnds(t *testing.T) {
	if _, err := newStrain(BroadcastOptions{Stalled: 1}, &run{server: &process{pid: 1 << 22}}); err == nil {
		t.Error("the memory of nobody is known")
	}
}

func TestParseSockstat(t *testing.T) {
	const text = "sockets: used 13\nTCP: inuse 1 orphan 0 tw 800 alloc 1 mem 109\nUDP: inuse 0 mem 7\n"
	if pages, err := parseSockstat([]byte(text)); err != nil || pages != 109 {
		t.Errorf("got %d, %v, want 109", pages, err)
	}
	for _, text := range []string{"", "UDP: mem 1\n", "TCP: inuse 1\n", "TCP: inuse 1 mem\n", "TCP: mem -1\n", "TCP: mem 9999999999999\n"} {
		if pages, err := parseSockstat([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, pages)
		}
	}
	if bytes, err := socketMemory(); err != nil || bytes < 0 {
		t.Errorf("of this machine: %d, %v", bytes, err)
	}
}
