package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const someMetrics = `# HELP stillpool_budget_used_bytes What is held.
# TYPE stillpool_budget_used_bytes gauge
stillpool_budget_used_bytes{budget="inbound"} 7
stillpool_budget_used_bytes{budget="outbound"} 1.048576e+06
stillpool_budget_used_bytes{budget="outbound",server="second"} 24
stillpool_budget_limit_bytes{budget="outbound"} 2.68435456e+08
`

func TestParseBacklog(t *testing.T) {
	if n, err := parseBacklog(strings.NewReader(someMetrics)); err != nil || n != 1<<20+24 {
		t.Errorf("got %d, %v", n, err)
	}
	for _, text := range []string{
		"", `stillpool_budget_used_bytes{budget="inbound"} 7`, `stillpool_budget_used_bytes{budget="outbound"} much`,
		`stillpool_budget_used_bytes{budget="outbound"}`, strings.Repeat("x", 1<<20),
	} {
		if n, err := parseBacklog(strings.NewReader(text)); err == nil {
			t.Errorf("%.60q: got %d, want an error", text, n)
		}
	}
}

func TestBacklogOverHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, someMetrics)
	}))
	defer s.Close()
	for _, where := range []string{s.Listener.Addr().String(), s.URL, s.URL + "/", s.URL + "/metrics"} {
		m, err := newMetrics(where)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := m.backlog(); err != nil || n != 1<<20+24 {
			t.Errorf("%s: got %d, %v", where, n, err)
		}
	}
	m, err := newMetrics(s.URL + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.backlog(); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("of nothing: %v", err)
	}
	for _, where := range []string{"ftp://x", "http://", ":::"} {
		if _, err := newMetrics(where); err == nil {
			t.Errorf("%s is taken", where)
		}
	}
	if m, err := newMetrics(""); m != nil || err != nil {
		t.Errorf("none: %v, %v", m, err)
	}
}
