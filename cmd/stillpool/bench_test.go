package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stillpool/stillpool/bench"
)

// benched is the result of a scenario on the demonstration, in this process, and what was shown of it.
func benched[R any](t *testing.T, args string) (r R, shown string) {
	t.Helper()
	addr, _ := started(t, "--every", "50ms")
	file := filepath.Join(t.TempDir(), "result.json")
	args = "bench " + args + " --addr " + addr + " --pid " + strconv.Itoa(os.Getpid()) + " --json " + file + " --conns 20 --quiet"
	shown = stdout(t, func() {
		if status, _, errs := ran(strings.Fields(args)...); status != exitOK {
			t.Fatalf("%s: status %d: %s", args, status, errs)
		}
	})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r, shown
}

// stdout is what the process writes there meanwhile.
func stdout(t *testing.T, do func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = file
	defer func() { os.Stdout = old; file.Close() }()
	do()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantLines looks for the names that lines begin with.
func wantLines(t *testing.T, shown string, names ...string) {
	t.Helper()
	for _, name := range names {
		if !strings.Contains("\n"+shown, "\n"+name+" ") {
			t.Errorf("no line %q in\n%s", name, shown)
		}
	}
}

func TestBenchConnect(t *testing.T) {
	r, shown := benched[bench.ConnectResult](t, "connect --duration 300ms --pause 0s")
	if r.Opening.Opened < 20 || r.Closing.Closed != r.Opening.Opened || r.PauseSeconds != 0 || r.Rounds < 1 {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "connect", "opened", "time to open", "closed", "server CPU", "client CPU")
	r, shown = benched[bench.ConnectResult](t, "connect --duration 300ms --rate 200 --connect-burst 7")
	if r.RatePerSecond != 200 || r.DialDelay == nil || r.PauseSeconds != 0.1 {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "of it undialled", "never dialled")
}

func TestBenchIdle(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(pprof.Handler("heap").ServeHTTP))
	defer s.Close()
	r, shown := benched[bench.IdleResult](t, "idle --duration 200ms --settle 0s --steps 4 --gc --pprof "+s.Listener.Addr().String())
	if len(r.Steps) != 5 || r.Steps[4].Conns != 20 || r.Steps[4].Runtime == nil || r.Messages != 0 || !strings.HasSuffix(r.URL, "/echo") {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "idle", "0 connections", "20 connections", "a connection", "server CPU")
	r, _ = benched[bench.IdleResult](t, "idle --duration 200ms --settle 0s --path /ws")
	if len(r.Steps) != 11 || r.Messages == 0 || !strings.HasSuffix(r.URL, "/ws") {
		t.Errorf("%+v", r)
	}
}

func TestBenchBroadcast(t *testing.T) {
	r, shown := benched[bench.BroadcastResult](t, "broadcast --duration 300ms --settle 0s --warmup 50ms --rate 50 --size 100")
	if r.Broadcasts == 0 || r.Missing != 0 || r.SizeBytes != 100 || len(r.Curve) == 0 || r.Last.P50 < r.First.P50 {
		t.Errorf("%+v", r)
	}
	wantLines(t, shown, "broadcast", "first receipt", "half of them", "last receipt", "missing", "server CPU", "server memory", "client CPU")
}

func TestBenchBroadcastStalled(t *testing.T) {
	r, shown := benched[bench.BroadcastResult](t, "broadcast --duration 300ms --settle 0s --warmup 50ms --rate 50 --size 4096 --stalled 5")
	if s := r.Stalled; r.Broadcasts == 0 || r.Missing != 0 || s == nil || s.Conns != 5 || s.Open != 5 || s.Never != 0 || s.RSS == nil {
		t.Errorf("%+v, stalled %+v", r, r.Stalled)
	}
	wantLines(t, shown, "stalled", "their messages", "resident memory", "socket buffers", "kernel slabs")
}

func TestBenchEchoAtARate(t *testing.T) {
	r, _ := benched[bench.EchoResult](t, "echo --duration 300ms --settle 0s --warmup 50ms --rate 200")
	if r.RatePerSecond != 200 || r.SendDelay == nil || len(r.Curve) == 0 || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
}

func TestBenchFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"connect --conns=-1", "negative"},
		{"connect --rate=-5", "negative rate"},
		{"idle", "process id"},
		{"idle --pid 1 --steps 2000", "steps"},
		{"idle --pid 1 --gc", "pprof"},
		{"broadcast --size 4", "8 bytes"},
		{"broadcast --conns 3", "connection refused"},
		{"broadcast --conns 3 --stalled 3", "must read"},
	} {
		status, out, errs := ran(strings.Fields("bench " + c.args + " --addr 127.0.0.1:1")...)
		if status != exitFailed || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %q, want one line about %s", c.args, status, errs, c.want)
		}
	}
}
