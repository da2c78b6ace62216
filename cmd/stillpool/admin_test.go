package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/stillpool/stillpool/server"
)

// adminURL waits until the log says where the process tells of itself.
func adminURL(t *testing.T, log *journal) (url string) {
	t.Helper()
	eventually(t, "the address of the metrics", func() bool {
		found := regexp.MustCompile(`msg="Serving metrics.*url=(http://\S+)/`).FindStringSubmatch(log.String())
		if found != nil {
			url = found[1]
		}
		return found != nil
	})
	return url
}

func TestAdminHasAnAddressOfItsOwn(t *testing.T) {
	addr, log := started(t, "--admin", "0")
	at := adminURL(t, log)
	eventually(t, "the server to be ready", func() bool { status, _ := get(t, at+"/readyz"); return status == http.StatusOK })
	hear(t, mustDial(t, "ws://"+addr+"/ws"))
	for _, c := range []struct {
		url    string
		status int
		want   string
	}{
		{at + "/", http.StatusOK, "/metrics"},
		{at + "/healthz", http.StatusOK, "ok"},
		{at + "/metrics", http.StatusOK, "stillpool_connections{state=\"open\"} 1\n"},
		{at + "/metrics", http.StatusOK, "\ngo_goroutines "},
		{at + "/metrics", http.StatusOK, "\nprocess_resident_memory_bytes "},
		{at + "/metrics", http.StatusOK, "\ngo_build_info{"},
		{at + "/debug/pprof/", http.StatusOK, "goroutine"},
		{at + "/debug/pprof/heap?debug=1", http.StatusOK, "heap profile"},
		{at + "/ws", http.StatusNotFound, ""},
		{"http://" + addr + "/metrics", http.StatusNotFound, ""},
		{"http://" + addr + "/healthz", http.StatusNotFound, ""},
		{"http://" + addr + "/debug/pprof/", http.StatusNotFound, ""},
	} {
		if status, body := get(t, c.url); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: status %d, want %d and %q in\n%.300s", c.url, status, c.status, c.want, body)
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	r, err := http.Post(at+"/healthz", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v", r.Status)
	}
}

func TestAdminIsOffUnlessAskedFor(t *testing.T) {
	_, log := started(t)
	eventually(t, "the log", func() bool { return strings.Contains(log.String(), "msg=Serving ") })
	if strings.Contains(log.String(), "metrics") {
		t.Errorf("metrics are served without having been asked for:\n%s", log)
	}
}

// Who may look from elsewhere is said in the log.
func TestAdminWarnsOfOthers(t *testing.T) {
	for addr, warned := range map[string]bool{":0": false, "127.0.0.1:0": false, "0.0.0.0:0": true} {
		_, log := started(t, "--admin", addr)
		adminURL(t, log)
		if strings.Contains(log.String(), "Other machines may reach metrics") != warned {
			t.Errorf("%s: logged\n%s", addr, log)
		}
	}
}

// While the last connections are being closed, the process is alive and not ready, and says so.
func TestAdminWhileDraining(t *testing.T) {
	p := startChild(t, "--admin", "0", "--every", "10ms")
	at := adminURL(t, p.log)
	conn := mustDial(t, "ws://"+p.url+"/ws")
	hear(t, conn)
	want := func(path string, status int, words string) {
		t.Helper()
		if got, body := get(t, at+path); got != status || !strings.Contains(body, words) {
			t.Errorf("%s: status %d, want %d and %q in\n%.300s", path, got, status, words, body)
		}
	}
	want("/readyz", http.StatusOK, "ok")
	want("/metrics", http.StatusOK, "\nstillpool_ready 1\n")
	p.Process.Signal(syscall.SIGTERM)
	code, _ := closeFrame(t, conn) // which is not answered yet
	want("/readyz", http.StatusServiceUnavailable, "server closed")
	want("/healthz", http.StatusOK, "ok")
	want("/metrics", http.StatusOK, "\nstillpool_ready 0\n")
	want("/metrics", http.StatusOK, "stillpool_connections{state=\"closing\"} 1\n")
	ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
	if status := p.ends(t); status != exitOK {
		t.Errorf("status %d\n%s", status, p.log)
	}
}

// ward has what it is told to have.
type ward struct {
	healthy func(context.Context) error
	ready   error
}

func (w ward) Healthy(ctx context.Context) error { return w.healthy(ctx) }
func (w ward) Ready() error                      { return w.ready }

// A server that does not answer is red within a bound, and says what it is.
func TestAdminTellsWhatIsWrong(t *testing.T) {
	sick := ward{func(ctx context.Context) error {
		if _, ends := ctx.Deadline(); !ends {
			return errors.New("the question has no end")
		}
		return server.ErrStuck
	}, server.ErrNotListening}
	web := httptest.NewServer(adminMux(sick, prometheus.NewRegistry()))
	defer web.Close()
	for path, want := range map[string]string{"/healthz": "event loop does not answer", "/readyz": "not listening"} {
		if status, body := get(t, web.URL+path); status != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, %s", path, status, body)
		}
	}
}

// All that is at /metrics is as Prometheus wants it.
func TestAdminMetricsLint(t *testing.T) {
	_, log := started(t, "--admin", "0")
	r, err := http.Get(adminURL(t, log) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	problems, err := promlint.New(r.Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %+v", err, problems)
	}
}
