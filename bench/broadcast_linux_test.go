package bench

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func cast(t *testing.T, o BroadcastOptions) *BroadcastResult {
	t.Helper()
	if o.Rate == 0 {
		o.Rate = 200
	}
	o.Warmup = testPeriod
	r, err := Broadcast(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBroadcast(t *testing.T) {
	s := newTestServer(t)
	for _, c := range []struct {
		name string
		o    BroadcastOptions
	}{
		{"small", BroadcastOptions{}},
		{"only the stamp", BroadcastOptions{Size: stampSize}},
		{"larger than a read", BroadcastOptions{Options: Options{Conns: 4}, Size: 100_000, Rate: 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := quick(s.url("/broadcast/right"))
			orElse(&c.o.Conns, o.Conns)
			o.Conns = c.o.Conns
			c.o.Options = o
			r := cast(t, c.o)
			wantAllOpen(t, r.Common)
			if r.Broadcasts == 0 || r.Messages == 0 || r.Missing != 0 || r.Unsent != 0 {
				t.Errorf("%d messages, %d deliveries, %d missing, %d unsent", r.Broadcasts, r.Messages, r.Missing, r.Unsent)
			}
			if r.First.P50 <= 0 || r.First.P50 > r.Median.P50 || r.Median.P50 > r.Last.P50 || r.Last.P50 > r.Last.P99 || len(r.Curve) == 0 {
				t.Errorf("first %v, half %v, last %v", r.First, r.Median, r.Last)
			}
			if r.Server.CPUUsPerMessage <= 0 || r.Client.CPUPercent <= 0 || r.ReaderBusyPercent <= 0 {
				t.Errorf("processor time is missing: %v, %v, %v", r.Server, r.Client, r.ReaderBusyPercent)
			}
		})
	}
}

func TestBroadcastByteByByte(t *testing.T) {
	o := quick(newTestServerOf(t, slow).url("/broadcast/right"))
	o.Conns = 5
	r := cast(t, BroadcastOptions{Options: o, Rate: 50})
	wantAllOpen(t, r.Common)
	if r.Broadcasts == 0 || r.Missing != 0 {
		t.Errorf("%d messages, %d deliveries missing", r.Broadcasts, r.Missing)
	}
}

func TestWrongBroadcastsAreFound(t *testing.T) {
	s := newTestServer(t)
	for manner, want := range map[string]error{
		"twice": errRepeated, "garbled": errGarbled, "cut": errGarbled, "tiny": errGarbled, "foreign": errForeign, "prophecy": errForeign,
	} {
		o := quick(s.url("/broadcast/" + manner))
		o.Loops = 1 // so that one who misses the first message, being still at the door, sends the next
		r := cast(t, BroadcastOptions{Options: o})
		if r.Lost[want.Error()] != 20 || r.Open != 0 {
			t.Errorf("%s: %d open, lost: %v", manner, r.Open, r.Lost)
		}
	}
}

func TestBroadcastsThatDoNotComeAreMissing(t *testing.T) {
	s := newTestServer(t)
	r := cast(t, BroadcastOptions{Options: quick(s.url("/broadcast/half"))})
	wantAllOpen(t, r.Common)
	if half := r.Broadcasts / 2; r.Missing < half-1 || r.Missing > half+1 {
		t.Errorf("of %d messages, %d are missing on the connection that gets every second one", r.Broadcasts, r.Missing)
	}
	r = cast(t, BroadcastOptions{Options: quick(s.url("/broadcast/mute"))})
	wantAllOpen(t, r.Common)
	if r.Broadcasts == 0 || r.Missing != 20*r.Broadcasts || r.Messages != 0 {
		t.Errorf("of %d messages that nobody got, %d are missing; %d deliveries", r.Broadcasts, r.Missing, r.Messages)
	}
	if waited := stragglerTime.Microseconds(); r.First.P50 < waited || r.Last.P50 < waited {
		t.Errorf("nobody got anything for %v, and the times are %v and %v", stragglerTime, r.First, r.Last)
	}
}

// TestBroadcastGoesOnWithAnother has a server that ends a connection after the first message.
func TestBroadcastGoesOnWithAnother(t *testing.T) {
	o := quick(newTestServer(t).url("/broadcast/first"))
	o.Loops, o.ConnectBurst = 1, 1 // so that the first that comes is the first to send
	r := cast(t, BroadcastOptions{Options: o})
	if r.Open != 19 || sum(r.Lost) != 1 || r.Broadcasts < 2 || r.Unsent != 0 {
		t.Errorf("%d open, lost: %v, %d messages, %d unsent", r.Open, r.Lost, r.Broadcasts, r.Unsent)
	}
}

func TestBroadcastOptionsAreChecked(t *testing.T) {
	for _, o := range []BroadcastOptions{{Size: stampSize - 1}, {Size: maxMessage + 1}, {Rate: -1}, {Options: Options{Conns: -1}}} {
		o.URL = "ws://127.0.0.1:1/broadcast"
		if _, err := Broadcast(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestBroadcastInterrupted(t *testing.T) {
	o := quick(newTestServer(t).url("/broadcast/right"))
	o.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 20*testPeriod)
	defer cancel()
	r, err := Broadcast(ctx, BroadcastOptions{Options: o, Rate: 100, Warmup: -1})
	if err != nil || !r.Interrupted || r.Broadcasts == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// assembly is the broadcast scenario on one loop, at a time that the test sets, with the server in the test.
type assembly struct {
	*listening
	t   *testing.T
	now time.Duration
}

func newAssembly(t *testing.T, o BroadcastOptions) *assembly {
	a := &assembly{t: t, now: ms}
	l := newTestLoop(t, o.Options, target{})
	l.clock, l.maxOut = func() time.Duration { return a.now }, 1<<20
	for i := range l.conns {
		fd, _ := socketPair(t)
		l.conns[i] = conn{index: uint32(i), fd: int32(fd), state: open}
	}
	l.next = len(l.conns)
	a.listening = newListening(l, newBoard(o.Size), o, 0)
	l.scenario = a
	a.join()
	a.start(a.now)
	a.begin(a.now)
	return a
}

// copy is what the server should send.
func (a *assembly) copy(number uint32) []byte {
	p := bytes.Clone(a.board.payload.plain)
	stamp := stampOf(a.board.run, number)
	copy(p, stamp[:])
	return p
}

// hear lets a connection hear a message in pieces of so many bytes.
func (a *assembly) hear(conn int, message []byte, size int) error {
	c := &a.loop.conns[conn]
	for len(message) > size {
		if err := a.listening.piece(c, piece{op: ws.OpBinary, data: message[:size]}, a.now); err != nil {
			return err
		}
		message = message[size:]
	}
	return a.listening.piece(c, piece{op: ws.OpBinary, data: message, last: true}, a.now)
}

func TestBroadcastCountsFromWhenDue(t *testing.T) {
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 2, Loops: 1}, Size: 20, Rate: 10})
	if wait := a.step(a.now); wait != 100*ms || a.board.sent != 1 {
		t.Errorf("%d are sent and the next is due in %v", a.board.sent, wait)
	}
	a.now = 131 * ms // one was due at 101
	a.step(a.now)
	a.now = 141 * ms
	for conn := range 2 {
		for number := range uint32(2) {
			if err := a.hear(conn, a.copy(number), 20); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantHistogram(t, "deliveries", a.latency, 140*ms, 140*ms, 40*ms, 40*ms)
	wantHistogram(t, "send delay", a.delay, 0, 30*ms)
	wantHistogram(t, "last", a.board.last, 140*ms, 40*ms)
	if a.messages != 4 || a.pending() != 0 {
		t.Errorf("%d deliveries, %d under way", a.messages, a.pending())
	}
	a.now = 341 * ms // 201 and 301 were due, and nobody is there
	a.loop.conns[0].state, a.loop.conns[1].state = closed, closed
	a.end(a.now)
	if a.unsent != 2 {
		t.Errorf("%d were never sent, want 2", a.unsent)
	}
}

// TestBroadcastWaitsForTheServer has a server that does not read until the fourth message, and messages of
// which the kernel takes but one. What had to wait for that is not the client's own delay.
func TestBroadcastWaitsForTheServer(t *testing.T) {
	const size = 150_000
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 1, Loops: 1}, Size: size, Rate: 10})
	c := &a.loop.conns[0]
	for a.now = ms; len(c.out) == 0; a.now += 100 * ms {
		a.step(a.now)
	}
	sent := a.board.sent
	a.now += 250 * ms // two or three are due
	if wait := a.step(a.now); wait != retryTime || a.board.sent != sent || c.state != open {
		t.Errorf("%d are sent where the kernel took %d, the next in %v; state %d", a.board.sent, sent, wait, c.state)
	}
	c.out = nil // the kernel took it
	a.step(a.now)
	if a.board.sent <= sent || a.own.TotalCount() != int64(sent) || a.delay.TotalCount() != int64(a.board.sent) {
		t.Errorf("%d are sent, of which %d had not to wait, where %d had; %d delays",
			a.board.sent, a.own.TotalCount(), sent, a.delay.TotalCount())
	}
}

// TestBroadcastSendsToTheEnd is late by its own fault when the time is over.
func TestBroadcastSendsToTheEnd(t *testing.T) {
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 1, Loops: 1}, Size: 20, Rate: 10})
	a.now = 250 * ms
	a.end(a.now)
	if a.board.sent != 3 || a.unsent != 0 {
		t.Errorf("%d are sent and %d never were", a.board.sent, a.unsent)
	}
	a.now = 900 * ms
	if wait := a.step(a.now); wait != forever || a.board.sent != 3 {
		t.Error("it sends after the end")
	}
}

func TestBroadcastToALostConnectionIsMissing(t *testing.T) {
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 3, Loops: 1}, Size: 20, Rate: 10})
	a.step(a.now)
	for conn := range 2 {
		if err := a.hear(conn, a.copy(0), 20); err != nil {
			t.Fatal(err)
		}
	}
	a.lost(&a.loop.conns[2], a.now)
	wantBoard(t, a.board, 1, 1, 0)
}

func TestBroadcastsAreKnownAtEverySplit(t *testing.T) {
	const size = 20
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 1, Loops: 1}, Size: size, Rate: 1000})
	for number := range uint32(size) {
		a.now += ms
		a.step(a.now)
		if err := a.hear(0, a.copy(number), int(number)+1); err != nil {
			t.Errorf("in pieces of %d: %v", number+1, err)
		}
	}
	wantBoard(t, a.board, size, 0, int(a.board.sent)-size)
}

// TestEveryByteOfABroadcastCounts changes one after the other.
func TestEveryByteOfABroadcastCounts(t *testing.T) {
	const size = 20
	for i := range size {
		a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 1, Loops: 1}, Size: size, Rate: 1000})
		a.step(a.now)
		message := a.copy(0)
		message[i] ^= 1
		want := errGarbled
		if i < stampSize {
			want = errForeign
		}
		if err := a.hear(0, message, 7); err != want {
			t.Errorf("with byte %d changed: %v, want %v", i, err, want)
		}
	}
	a := newAssembly(t, BroadcastOptions{Options: Options{Conns: 1, Loops: 1}, Size: size, Rate: 1000})
	a.step(a.now)
	if err := a.listening.piece(&a.loop.conns[0], piece{op: ws.OpText, data: a.copy(0), last: true}, a.now); err != errGarbled {
		t.Errorf("as a text: %v", err)
	}
	if err := a.hear(0, append(a.copy(0), 0), 100); err != errGarbled {
		t.Errorf("with a byte more: %v", err)
	}
}

// TestRush has a loop that waited half of the time, in two rushes; what came of the first one late is not in
// them.
func TestRush(t *testing.T) {
	var r rush
	for _, n := range []struct {
		number      uint32
		now, waited time.Duration
	}{
		{0, 10, 3}, {0, 20, 9}, {0, 30, 13}, // 20, of which it waited 10
		{1, 100, 50}, {1, 110, 58}, {1, 120, 60}, {0, 150, 90}, // 20 and 10
		{5, 200, 140}, // alone
	} {
		r.note(n.number, n.now*ms, n.waited*ms)
	}
	r.close()
	if r.span != 40*ms || busyOf(r.span, r.waits) != 50 {
		t.Errorf("busy for %v%% of %v, want 50%% of 40ms", busyOf(r.span, r.waits), r.span)
	}
	if busyOf(0, 0) != 0 {
		t.Error("busy without time")
	}
}
