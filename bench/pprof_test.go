package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"strings"
	"testing"
)

// memStats is the end of a heap profile.
const memStats = `
# runtime.MemStats
# Alloc = 210800
# TotalAlloc = 210801
# Sys = 6381584
# Lookups = 0
# Mallocs = 595
# HeapAlloc = 210802
# HeapSys = 3899392
# HeapIdle = 3325952
# HeapInuse = 573440
# HeapReleased = 3293184
# HeapObjects = 576
# Stack = 294912 / 294913
# MSpan = 13600 / 16320
# MCache = 4592 / 16072
# BuckHashSys = 3121
# GCSys = 1722128
# OtherSys = 429639
# NextGC = 4194304
# PauseNs = [0 0 0]
# NumGC = 0
# DebugGC = false
`

// profileOf has stacks before its end, one of which is an old value of a field.
func profileOf(stats string) string {
	return "heap profile: 1: 4096 [2: 8192] @ heap/1048576\n1: 4096 [2: 8192] @ 0x47\n#\t0x46\tmain.f+0x1\n# Sys = 1\n\n" + stats
}

func TestParseMemStats(t *testing.T) {
	want := RuntimeMemory{
		Sys: 6381584, HeapAlloc: 210802, HeapSys: 3899392, HeapIdle: 3325952, HeapInuse: 573440,
		HeapReleased: 3293184, StackInuse: 294912, StackSys: 294913, MSpanSys: 16320, MCacheSys: 16072,
		BuckHashSys: 3121, GCSys: 1722128, OtherSys: 429639,
	}
	if got, err := parseMemStats(strings.NewReader(profileOf(memStats))); err != nil || *got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, stats := range map[string]string{
		"nothing":            "",
		"no header":          strings.Replace(memStats, "# runtime.MemStats\n", "", 1),
		"a field missing":    strings.Replace(memStats, "# GCSys = 1722128\n", "", 1),
		"no number":          strings.Replace(memStats, "1722128", "many", 1),
		"a negative number":  strings.Replace(memStats, "1722128", "-1", 1),
		"too large a number": strings.Replace(memStats, "1722128", "9223372036854775808", 1),
		"one number for two": strings.Replace(memStats, " / 294913", "", 1),
		"two for one":        strings.Replace(memStats, "1722128", "1 / 2", 1),
		"an endless line":    strings.Repeat("x", pprofLine) + memStats,
		"endless":            strings.Repeat("stack\n", pprofSize/6) + memStats,
	} {
		if got, err := parseMemStats(strings.NewReader(profileOf(stats))); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// FuzzParseMemStats holds that what is read is never negative, and that no stack before it changes it.
func FuzzParseMemStats(f *testing.F) {
	f.Add(profileOf(memStats))
	f.Add(strings.Replace(memStats, " / ", "/", 1))
	f.Add("# runtime.MemStats\n# Stack = 1 / 2 / 3\n")
	f.Fuzz(func(t *testing.T, profile string) {
		m, err := parseMemStats(strings.NewReader(profile))
		if err != nil {
			return
		}
		for _, n := range []int64{m.Sys, m.HeapAlloc, m.HeapSys, m.HeapIdle, m.HeapInuse, m.HeapReleased, m.StackInuse,
			m.StackSys, m.MSpanSys, m.MCacheSys, m.BuckHashSys, m.GCSys, m.OtherSys} {
			if n < 0 {
				t.Fatalf("%+v", m)
			}
		}
		again, err := parseMemStats(strings.NewReader("# GCSys = 1\n" + profile))
		if err != nil || *again != *m {
			t.Fatalf("with a line before it %+v, %v; want %+v", again, err, m)
		}
	})
}

// newPprofServer is this process's own, and tells what it was asked for.
func newPprofServer(t *testing.T) (url string, asked *string) {
	asked = new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.String()
		pprof.Handler("heap").ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestPprofIsAsked(t *testing.T) {
	url, asked := newPprofServer(t)
	host := strings.TrimPrefix(url, "http://")
	for _, c := range []struct {
		where string
		gc    bool
		want  string
	}{
		{host, false, "/debug/pprof/heap?debug=1"},
		{url, false, "/debug/pprof/heap?debug=1"},
		{url + "/", true, "/debug/pprof/heap?debug=1&gc=1"},
		{url + "/debug/pprof/", true, "/debug/pprof/heap?debug=1&gc=1"},
		{url + "/debug/pprof/heap", false, "/debug/pprof/heap?debug=1"},
		{host + "/inner/pprof", false, "/inner/pprof/heap?debug=1"},
	} {
		p, err := newPprof(c.where, c.gc)
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.memory(t.Context())
		if err != nil || *asked != c.want {
			t.Errorf("%s: asked for %s, want %s; %v", c.where, *asked, c.want, err)
			continue
		}
		if m.HeapInuse <= 0 || m.HeapInuse > m.HeapSys || m.StackInuse <= 0 || m.Sys < m.HeapSys+m.StackSys {
			t.Errorf("%s: %+v", c.where, m)
		}
	}
}

func TestPprofThatDoesNotAnswer(t *testing.T) {
	for answer, want := range map[string]func(http.ResponseWriter){
		"HTTP 404":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"no heap profi": func(w http.ResponseWriter) { io.WriteString(w, "hello\n") },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { want(w) }))
		p, err := newPprof(s.URL, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.memory(t.Context()); err == nil || !strings.Contains(err.Error(), answer) {
			t.Errorf("got %v, want %s", err, answer)
		}
		s.Close()
		if _, err := p.memory(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("of nobody: %v", err)
		}
	}
	for _, where := range []string{"ftp://localhost", "http://", "http://[", ":\x00"} {
		if p, err := newPprof(where, false); err == nil {
			t.Errorf("%q: %+v", where, p)
		}
	}
	if p, err := newPprof("", false); p != nil || err != nil {
		t.Errorf("without an address: %v, %v", p, err)
	}
}
