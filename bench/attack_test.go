package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// brief is an attack that a test has time for.
func brief(url string) AttackOptions {
	return AttackOptions{
		Options: Options{URL: url, Conns: 5, Duration: 10 * testPeriod, Settle: -1, PID: os.Getpid()},
		Rate:    200, Newcomers: 50, Warmup: -1, Hostile: 4, HostileRate: 10_000, Drip: ms,
		Kinds: []string{"half-handshake", "half-header"},
	}
}

func TestAttack(t *testing.T) {
	t.Parallel()
	o := brief(newTestServer(t).url("/echo"))
	r, err := Attack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 1 || r.Rounds[0].Opening.Opened != 5 || r.Interrupted {
		t.Fatalf("%+v", r)
	}
	round := r.Rounds[0]
	for _, p := range []*Phase{round.Alone, round.Beside} {
		if p.Messages == 0 || len(p.Lost) > 0 || p.Latency.Max == 0 || p.Newcomers.Served == 0 {
			t.Errorf("%+v", p)
		}
	}
	if round.Memory.BeforeBytes == 0 || round.Memory.PeakBytes == 0 || round.Memory.AfterBytes == 0 || round.Control != nil {
		t.Errorf("%+v, control %v", round.Memory, round.Control)
	}
	if len(round.Hostile) != 2 || round.Hostile[0].Opening != 2 || round.Hostile[1].Open != 2 || round.Hostile[1].Upgraded != 2 {
		t.Errorf("%+v", round.Hostile)
	}
}

// TestAttackEachWithControl has two servers, of which the other is attacked first each time.
func TestAttackEachWithControl(t *testing.T) {
	t.Parallel()
	server, control := newTestServer(t), newTestServer(t)
	o := brief(server.url("/echo"))
	o.ControlURL, o.Each = control.url("/leave"), true // there the hostile are sent away
	o.Kinds, o.Newcomers = []string{"half-header", "never-reads"}, -1
	r, err := Attack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 2 {
		t.Fatalf("%d rounds", len(r.Rounds))
	}
	for i, round := range r.Rounds {
		if round.Alone == nil || round.Control == nil || round.Beside == nil || len(round.Hostile) != 1 ||
			round.Hostile[0].Kind != o.Kinds[i] || round.Hostile[0].Conns != o.Hostile {
			t.Errorf("round %d: %+v", i, round)
		}
		for reason := range round.Hostile[0].Ends {
			if strings.Contains(reason, "1001") {
				t.Errorf("what the control did is told of the server: %v", round.Hostile[0].Ends)
			}
		}
	}
	if n := server.accepted(); n < 2*(o.Conns+o.Hostile) {
		t.Errorf("the server had %d connections: not new good ones for each round", n)
	}
	if control.accepted() != 2*o.Hostile {
		t.Errorf("the control had %d connections, want those of two attacks", control.accepted())
	}
}

// TestHarmIsFound attacks with newcomers that a server does not serve, and loses the others.
func TestHarmIsFound(t *testing.T) {
	t.Parallel()
	o := brief(newTestServer(t).url("/cut")) // every echo differs
	r, err := Attack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Rounds[0].Alone
	if p.Lost[errDiffers.Error()] != 5 || p.Newcomers.Served != 0 || p.Newcomers.Failed[errDiffers.Error()] == 0 {
		t.Errorf("%+v", p)
	}
	if want := p.Missing + p.Unsent + 5 + p.Newcomers.Came; p.Harm() != want {
		t.Errorf("harm %d, want %d", p.Harm(), want)
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "\nHARMED  ") {
		t.Errorf("%v\n%s", err, table.String())
	}
}

// whenMeasuring calls fn when the first newcomer has come, which is while measuring.
func whenMeasuring(s *testServer, o AttackOptions, fn func()) {
	go func() {
		for s.accepted() <= o.Conns {
			time.Sleep(testPeriod)
		}
		fn()
	}()
}

func TestAttackIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	o := brief(s.url("/echo"))
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	whenMeasuring(s, o, cancel)
	r, err := Attack(ctx, o)
	if err != nil || !r.Interrupted || r.Rounds[0].Alone == nil || r.Rounds[0].Beside != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestServerThatEndsIsTold has another process stand in for the server's, which ends while measuring.
func TestServerThatEndsIsTold(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	o := brief(s.url("/echo"))
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	o.PID = child.Process.Pid
	whenMeasuring(s, o, func() {
		child.Process.Kill()
		child.Wait()
	})
	if _, err := Attack(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the server has gone") {
		t.Error(err)
	}
}

func TestAttacksThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*AttackOptions)
		want   string
	}{
		{func(o *AttackOptions) { o.URL = "ws://192.0.2.1:80/echo" }, ErrNotLoopback.Error()},
		{func(o *AttackOptions) { o.ControlURL = "ws://192.0.2.1:80/echo" }, ErrNotLoopback.Error()},
		{func(o *AttackOptions) { o.Kinds = []string{"rudeness"} }, `no hostile kind is called "rudeness"`},
		{func(o *AttackOptions) { o.Hostile = 1 }, "as many as their kinds"},
		{func(o *AttackOptions) { o.HostileRate = -1 }, "positive"},
		{func(o *AttackOptions) { o.Drip = -1 }, "positive"},
		{func(o *AttackOptions) { o.Rate = -1 }, "rate"},
		{func(o *AttackOptions) { o.Conns = -1 }, "negative"},
	} {
		o := brief("ws://127.0.0.1:1/echo")
		c.change(&o)
		if r, err := Attack(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, %v", c.want, r, err)
		}
	}
}

// TestHostileProcessChecksItsOrders holds that the process that attacks refuses by itself.
func TestHostileProcessChecksItsOrders(t *testing.T) {
	t.Parallel()
	for orders, want := range map[string]string{
		`{"url":"ws://192.0.2.1:80/echo","kinds":["bomb"],"conns":1}`: ErrNotLoopback.Error(),
		`{"url":"ws://127.0.0.1:80/echo","kinds":["rude"],"conns":1}`: "rude",
	} {
		var out bytes.Buffer
		var r HostileReport
		if err := ServeHostile(strings.NewReader(orders), &out); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || !strings.Contains(r.Error, want) {
			t.Errorf("%s: %s, %v", orders, &out, err)
		}
	}
	if err := ServeHostile(strings.NewReader("x"), io.Discard); err == nil {
		t.Error("orders that are no JSON are taken")
	}
}

func TestHostileProcessThatFails(t *testing.T) {
	t.Parallel()
	o := brief(newTestServer(t).url("/echo"))
	o.Command = []string{"/bin/false"}
	if r, err := Attack(t.Context(), o); err == nil || r == nil || r.Rounds[0].Alone == nil {
		t.Errorf("%+v, %v", r, err)
	}
	o.Each, o.Command = true, []string{"/no/such/command"}
	if _, err := Attack(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAttackIsShown(t *testing.T) {
	t.Parallel()
	o := brief(newTestServer(t).url("/echo"))
	var progress, table, text bytes.Buffer
	o.Progress = &progress
	r, err := Attack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"alone ", "beside ", "server memory ", "half-handshake ", "half-header "} {
		if !strings.Contains(table.String(), "\n"+want) {
			t.Errorf("no line %q in\n%s", want, &table)
		}
	}
	if !strings.Contains(progress.String(), "hostile") {
		t.Errorf("progress is %q", &progress)
	}
	if err := WriteJSON(&text, r); err != nil {
		t.Fatal(err)
	}
	var back AttackResult
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || *back.Rounds[0].Memory != *r.Rounds[0].Memory {
		t.Errorf("read back %+v, %v", back, err)
	}
}

func TestContentionIsTold(t *testing.T) {
	t.Parallel()
	busy := Phase{ServerCPUPercent: 1e6}
	late := Phase{ClientDelay: Percentiles{P99: 6_000}, Latency: Percentiles{P99: 10_000}}
	fine := Phase{ClientDelay: Percentiles{P99: 1_000}, Latency: Percentiles{P99: 1_500}, ServerCPUPercent: 50}
	for _, c := range []struct {
		p    Phase
		want string
	}{{busy, "all processors were busy"}, {late, "late itself: p99 6 ms of"}, {fine, ""}} {
		if got := strings.Join(c.p.contention(), ""); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
