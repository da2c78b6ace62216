package bench

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// still is a crowd that nobody runs; the test sets its time.
func still(t *testing.T, url string, o HostileOptions, kinds ...*kind) *crowd {
	t.Helper()
	target, err := resolve(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCrowd(target, o, kinds, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// TestComingIsBounded holds that places are filled at the rate, and that those which were filled for
// long are not filled again in one burst.
func TestComingIsBounded(t *testing.T) {
	t.Parallel()
	s := newTestServerOf(t, mute)
	c := still(t, s.url("/echo"), HostileOptions{Conns: 5, Rate: 10, Drip: ms}, named(t, "half-header"))
	for _, step := range []struct {
		at   time.Duration
		came int64
	}{{0, 1}, {350 * ms, 4}, {2 * time.Second, 5}, {9 * time.Second, 5}} {
		c.now = step.at
		c.admit()
		if got := c.parties[0].report.Came; got != step.came {
			t.Errorf("at %v %d have come, want %d", step.at, got, step.came)
		}
	}
	for i := range c.visitors {
		c.end(&c.visitors[i], errHungUp)
	}
	c.now += 150 * ms
	c.admit()
	if got := c.parties[0].report.Came; got != 7 {
		t.Errorf("%d have come again, want 2", got-5)
	}
	if r := c.report().Kinds[0]; r.Opening != 2 || r.Open != 0 || r.Ends[errHungUp.Error()] != 5 {
		t.Errorf("%+v", r)
	}
}

func TestKindsShareThePlaces(t *testing.T) {
	t.Parallel()
	a, b, third := named(t, "half-header"), named(t, "half-bulk"), named(t, "bomb")
	c := still(t, "ws://127.0.0.1:1/", HostileOptions{Conns: 8, Rate: 1, Drip: ms}, a, b, third)
	for i, want := range []int{3, 3, 2} {
		p := c.parties[i]
		if p.report.Conns != want || p.absent.count != want {
			t.Errorf("%s has %d places and %d are free, want %d", p.kind.name, p.report.Conns, p.absent.count, want)
		}
	}
	if v := c.visitors[7]; v.party.kind != b || v.number != 2 {
		t.Errorf("the last one is number %d of %s", v.number, v.party.kind.name)
	}
}

// TestSlowSendsAByteADrip moves the time by less than a drip, and by more.
func TestSlowSendsAByteADrip(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	c := still(t, "ws://127.0.0.1:1/", HostileOptions{Conns: 1, Rate: 1, Drip: 100 * ms, ConnectTimeout: time.Minute}, named(t, "half-handshake"))
	v := &c.visitors[c.parties[0].absent.pop()]
	v.session = session{fd: int32(pair[0]), stage: upgrading, canSend: true}
	c.attend(v)
	for i, at := range []time.Duration{0, 50, 99, 100, 150, 199, 200, 301} {
		c.now = at * ms
		c.sweep()
		if sent, want := v.party.report.SentBytes, []int64{1, 1, 1, 2, 2, 2, 3, 4}[i]; sent != want {
			t.Errorf("after %v %d bytes are sent, want %d", c.now, sent, want)
		}
	}
}

// toTheEnd serves a guest, and then reads until it has left.
func toTheEnd(serve func(*guest) error) func(*guest) error {
	return func(g *guest) error {
		if err := serve(g); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, g)
		return err
	}
}

// TestEndsAreCounted looks at what servers do to visitors.
func TestEndsAreCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		serve func(*guest) error
		want  string
	}{
		{"closed with a code", func(g *guest) error {
			_, err := g.upgrade("")
			if err == nil {
				_, err = g.Write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1009, "no"))))
			}
			g.CloseWrite()
			return err
		}, "closed by the server with code 1009"},
		{"closed without", func(g *guest) error {
			_, err := g.upgrade("")
			g.CloseWrite()
			return err
		}, "end of stream"},
		{"refused", func(g *guest) error {
			_, err := io.WriteString(g.TCPConn, "HTTP/1.1 408 Request Timeout\r\n\r\n")
			return err
		}, "upgrade: HTTP 408 Request Timeout"},
	} {
		k := *named(t, "half-header")
		k.next = upgraded(func(*visitor, int) move { return move{} })
		r := meet(t, &k, 1, 1, toTheEnd(c.serve))
		if r.Ends[c.want] == 0 {
			t.Errorf("%s: %v, want %q", c.name, r.Ends, c.want)
		}
	}
}

// TestCodeIsFoundBehindAnswers is a deaf visitor that is reset, with a close frame behind the echoes
// that it never read.
func TestCodeIsFoundBehindAnswers(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := still(t, "ws://127.0.0.1:1/", HostileOptions{Conns: 1, Rate: 1, Drip: ms}, named(t, "never-reads"))
	v := &c.visitors[c.parties[0].absent.pop()]
	v.session = session{fd: int32(pair[0]), stage: open, canSend: true, canRead: true, moves: 1}
	answers := append(ws.MustCompileFrame(ws.NewBinaryFrame(make([]byte, 100_000))),
		ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1013, "")))...)
	if n, err := unix.Write(pair[1], answers); n < len(answers) || err != nil {
		t.Fatal(n, err)
	}
	unix.Shutdown(pair[1], unix.SHUT_RD) // to write to it is an error from now on
	c.attend(v)
	unix.Close(pair[1])
	if r := c.report().Kinds[0]; r.Ends["closed by the server with code 1013"] != 1 {
		t.Errorf("%+v", r)
	}
}

// TestNewcomers lets them meet servers of all sorts, one at a time.
func TestNewcomers(t *testing.T) {
	t.Parallel()
	goodbye := func(g *guest) error {
		if f, err := g.frame(); err != nil || f.Header.OpCode != ws.OpClose {
			return err
		}
		_, err := g.Write(ws.MustCompileFrame(ws.NewCloseFrame(nil)))
		return err
	}
	answer := func(with string) func(*guest) error {
		return func(g *guest) error {
			if _, err := g.upgrade(""); err != nil {
				return err
			}
			if _, err := g.frame(); err != nil {
				return err
			}
			defer g.CloseWrite()
			if _, err := g.Write(ws.MustCompileFrame(ws.NewTextFrame([]byte(with)))); err != nil || with != string(greeting) {
				return err
			}
			return goodbye(g)
		}
	}
	for _, c := range []struct {
		name  string
		serve func(*guest) error
		want  string
	}{
		{"served", answer(string(greeting)), errServed.Error()},
		{"answered with something else", answer("good night"), errDiffers.Error()},
		{"upgraded and left", func(g *guest) error {
			_, err := g.upgrade("")
			g.CloseWrite()
			return err
		}, errHungUp.Error()},
	} {
		r := meet(t, newcomer, 1, 1, toTheEnd(c.serve))
		if r.Ends[c.want] == 0 {
			t.Errorf("%s: %v, want %q", c.name, r.Ends, c.want)
		}
	}
}

// TestNewcomersAreWaitedFor ends a crowd while its visitor waits for an answer, which comes then.
func TestNewcomersAreWaitedFor(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target, err := resolve(t.Context(), "ws://"+l.Addr().String()+"/echo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCrowd(target, HostileOptions{Conns: 1, Rate: 1, Drip: ms, ConnectTimeout: time.Minute}, []*kind{newcomer}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx, func() {}) }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := &guest{conn.(*net.TCPConn), bufio.NewReader(conn)}
	if _, err := g.upgrade(""); err != nil {
		t.Fatal(err)
	}
	f, err := g.frame()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	g.Write(append(ws.MustCompileFrame(ws.NewTextFrame(f.Payload)), ws.MustCompileFrame(ws.NewCloseFrame(nil))...))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n := newcomersOf(c)
	if n.Came != 1 || n.Served != 1 || len(n.Failed) > 0 || n.Latency.Max == 0 {
		t.Errorf("%+v", n)
	}
	if !maps.Equal(c.report().Kinds[0].Ends, map[string]int{errServed.Error(): 1}) {
		t.Errorf("%v", c.report())
	}
}

// TestStaleEventsReachNobody serves an event of a connection that is gone, on a place that has another.
func TestStaleEventsReachNobody(t *testing.T) {
	t.Parallel()
	s := newTestServerOf(t, mute)
	c := still(t, s.url("/echo"), HostileOptions{Conns: 1, Rate: 1, Drip: ms}, named(t, "half-header"))
	c.admit()
	v := &c.visitors[0]
	stale := v.token()
	c.end(v, errHungUp)
	c.now = 5 * time.Second
	c.admit()
	if v.stage != connecting {
		t.Fatal("it did not come again")
	}
	c.serve(netpoll.Event{Token: stale, Ready: netpoll.Readable | netpoll.HangUp})
	if v.hungUp || v.canRead {
		t.Error("an event of the connection before reached it")
	}
	c.serve(netpoll.Event{Token: v.token(), Ready: netpoll.Readable})
	if !v.canRead {
		t.Error("an event of its own did not")
	}
}
