package stress

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stillpool/stillpool/server"
)

// subject serves one in this process for the time of the test.
func subject(t *testing.T) (Handle, *server.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewSubject(slog.New(slog.NewTextHandler(io.Discard, nil)))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != server.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return Handle{Addr: l.Addr().String(), PID: os.Getpid()}, srv
}

// TestStorm: whichever way they are dropped, all come back, each of them once, and those that stay are there
// at the end.
func TestStorm(t *testing.T) {
	for _, drop := range []Drop{ByReset, ByEnd, ByServer} {
		t.Run(string(drop), func(t *testing.T) {
			own, srv := subject(t)
			control, other := subject(t)
			o := StormOptions{
				Server: own, Control: control, Stay: 20, Every: 10 * time.Millisecond, Storm: 200, Drop: drop,
				Settle: 10 * time.Millisecond, Quiet: 200 * time.Millisecond,
			}
			if drop == ByEnd {
				o.Within = 100 * time.Millisecond
			}
			r, err := Storm(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Stayed != o.Stay {
				t.Errorf("%d of %d stayed", r.Stayed, o.Stay)
			}
			for name, run := range map[string]*StormRun{"control": r.Control, "own": r.Own} {
				if run.Back != o.Storm || len(run.Failed) > 0 || len(run.Lost) > 0 || run.Refused > 0 {
					t.Errorf("%s: %d of %d are back, failed %v, lost %v, %d refused", name, run.Back, o.Storm, run.Failed, run.Lost, run.Refused)
				}
				if run.BackSeconds < o.Within.Seconds()*.9 || run.DropSeconds > run.BackSeconds || run.Peaks.RSSBytes == 0 {
					t.Errorf("%s: %+v", name, run)
				}
				for _, s := range []*Spell{run.Before, run.During, run.After} {
					if s.Messages == 0 || s.Server.Ticks == 0 || s.Lateness.Max > 60_000_000 {
						t.Errorf("%s: %+v", name, s)
					}
				}
			}
			for name, of := range map[string]*server.Server{"own": srv, "control": other} {
				if n := of.Stats().Accepted; n < uint64(2*o.Storm) || n > uint64(2*o.Storm+o.Stay+10) {
					t.Errorf("%s: %d connections came", name, n)
				}
			}
			wantRows(t, r.WriteTable, "storm", "control", "  before", "  during", "  back", "stayed")
		})
	}
}

func wantRows(t *testing.T, write func(io.Writer) error, names ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains("\n"+b.String(), "\n"+name+" ") {
			t.Errorf("no row %q in:\n%s", name, b.String())
		}
	}
}

// TestOverload: what can't be run is skipped and counted, what is beside it is served, and it ends when the
// load does.
func TestOverload(t *testing.T) {
	own, srv := subject(t)
	o := OverloadOptions{
		Server: own, Conns: 50, Work: time.Millisecond, Rate: 400, Times: []float64{100}, Duration: 500 * time.Millisecond, Closes: 20,
	}
	r, err := Overload(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Loads) != 1 || r.Light == nil || r.RatePerSecond != o.Rate {
		t.Fatalf("%+v", r)
	}
	l := r.Loads[0]
	if l.Server.Skipped == 0 || l.Server.Ticks == 0 || l.PerSecond == 0 || l.Share.Least == 0 || l.Share.Jain < .5 {
		t.Errorf("%+v", l)
	}
	if l.Close.Done != 10 || len(l.Close.Failed) > 0 || l.Echo.P50 == 0 || l.Unanswered > 0 || len(l.Lost) > 0 {
		t.Errorf("%+v", l)
	}
	if !l.Recovery.Calm {
		t.Errorf("ticks are late still: %+v", l.Recovery)
	}
	if n := srv.Stats().Skipped; n < l.Server.Skipped {
		t.Errorf("%d ticks were skipped, of which the load had %d", n, l.Server.Skipped)
	}
	wantRows(t, r.WriteTable, "overload", "100 times", "  ticks", "  a connection", "  echo", "  close", "  recovery")
}

// TestSearch: the rate that is found is one that the server carries.
func TestSearch(t *testing.T) {
	own, _ := subject(t)
	o := OverloadOptions{Server: own, Conns: 100, Work: 3 * time.Millisecond, Times: []float64{2}, Duration: 100 * time.Millisecond}
	r, err := Overload(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// A handler can't be done more often than its time on each of the processors.
	if most := 1000. / 3 * 64; r.RatePerSecond < 1 || r.RatePerSecond > most {
		t.Errorf("%.0f ticks of 3 ms a second can be carried", r.RatePerSecond)
	}
}

// TestSteering: orders that are none are refused, and change nothing.
func TestSteering(t *testing.T) {
	own, _ := subject(t)
	if err := own.load(t.Context(), -time.Second, 0); err != nil {
		t.Errorf("nobody is ticked, and yet %v", err)
	}
	for _, path := range []string{loadPath + "?every=often&work=1ms", loadPath + "?every=1s", "/nowhere"} {
		if err := own.ask(t.Context(), "POST", path, nil); err == nil || !strings.Contains(err.Error(), "40") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []StormOptions{{Stay: -1}, {Storm: 1 << 30}, {Every: 1}, {Drop: "shove"}, {Within: -1}} {
		if r, err := Storm(t.Context(), o); err == nil {
			t.Errorf("%+v: %+v", o, r)
		}
	}
	for _, o := range []OverloadOptions{{Conns: -1}, {Conns: 1 << 30}, {Times: []float64{.5}}, {Rate: -1}} {
		if r, err := Overload(t.Context(), o); err == nil {
			t.Errorf("%+v: %+v", o, r)
		}
	}
}

func TestShareOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		conns map[int]int
		want  Share
	}{
		{nil, Share{}},
		{map[int]int{7: 3}, Share{7, 7, 7, 1}},
		{map[int]int{0: 3, 8: 1}, Share{0, 0, 8, .25}},
		{map[int]int{1: 1, 3: 1}, Share{1, 1, 3, .8}},
		{map[int]int{1: 1, 2: 3, 9: 2}, Share{1, 2, 9, 625. / (6 * 175)}},
		{map[int]int{0: 5}, Share{0, 0, 0, 0}},
	} {
		if got := shareOf(c.conns); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.conns, got, c.want)
		}
	}
}

func TestParseAcceptQueue(t *testing.T) {
	t.Parallel()
	const table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n" +
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:0000012C 00:00000000\n" +
		"   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000\n" +
		"   2: 0100007F:270F 0100007F:1F90 01 00000000:00000007 00:00000000\n"
	for port, want := range map[uint16]int{8080: 300, 80: 0} {
		if n, err := parseAcceptQueue(table, port); n != want || err != nil {
			t.Errorf("port %d: %d, %v, want %d", port, n, err, want)
		}
	}
	for _, port := range []uint16{9999, 1} { // a connection, and nobody
		if n, err := parseAcceptQueue(table, port); err != errNoListener {
			t.Errorf("port %d: %d, %v", port, n, err)
		}
	}
}

// TestAcceptQueue: those who wait for a listener that accepts nobody.
func TestAcceptQueue(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n, err := acceptQueue(l.Addr().String())
		if n == 3 && err == nil {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d wait, %v", n, err)
		}
	}
}

func TestStormWarnings(t *testing.T) {
	t.Parallel()
	r := &StormResult{
		Control: &StormRun{During: &Spell{}, ServerCPUPercent: 20, ClientCPUPercent: 30},
		Own:     &StormRun{During: &Spell{}, ServerCPUPercent: 40, ClientCPUPercent: 99},
	}
	if w := r.Warnings(); len(w) != 1 || !strings.Contains(w[0], "storm: the client was the bottleneck") {
		t.Errorf("warned of %q", w)
	}
	if r.Ratio() != 0 {
		t.Errorf("a ratio of %v to nothing", r.Ratio())
	}
	r.Control.During.Lateness.P99, r.Own.During.Lateness.P99 = 4000, 6000
	if r.Ratio() != 1.5 {
		t.Errorf("a ratio of %v, want 1.5", r.Ratio())
	}
}

// TestDocNamesTheFiles keeps the list in doc.go complete and true.
func TestDocNamesTheFiles(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "doc.go" && !strings.Contains(name, "_") && !bytes.Contains(doc, []byte(name)) {
			t.Errorf("doc.go does not name %s", name)
		}
	}
}
