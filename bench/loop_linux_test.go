package bench

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestLoop is a loop that nobody runs.
func newTestLoop(t *testing.T, o Options, to target) *loop {
	f := &fleet{began: time.Now()}
	l, err := f.newLoop(to, o.withDefaults(), o.Conns)
	if err != nil {
		t.Fatal(err)
	}
	l.scenario = &ticked{loop: l, lateness: newLateness(time.Second, o.Conns)}
	t.Cleanup(func() {
		l.stopped = true
		l.run()
	})
	return l
}

// socketPair is two ends that the test closes.
func socketPair(t *testing.T) (ours, theirs int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return pair[0], pair[1]
}

func TestConnectsAreBounded(t *testing.T) {
	s := newTestServerOf(t, mute)
	l := newTestLoop(t, Options{Conns: 10}, target{addr: netip.MustParseAddrPort(s.listener.Addr().String())})
	l.burst, l.want = 3, 10
	for range 2 {
		l.prepare(new(time.Duration))
	}
	if l.opening != 3 || l.next != 3 {
		t.Errorf("%d are opening and %d were dialled, want 3", l.opening, l.next)
	}
}

// TestSendKeepsWhatTheKernelDoesNotTake fills a socket, which is then read bit by bit.
func TestSendKeepsWhatTheKernelDoesNotTake(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	l := &loop{maxOut: 8 << 20}
	c := &conn{fd: int32(pair[0])}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: more than a socket takes
	for _, p := range [][]byte{want[:3<<20], want[3<<20:]} {
		if err := l.send(c, p); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.out) == 0 {
		t.Fatal("the kernel took it all")
	}
	if err := l.send(c, make([]byte, l.maxOut)); err != errBacklog {
		t.Errorf("past the bound: %v", err)
	}
	var got []byte
	buf := make([]byte, 100_000)
	for len(got) < len(want) {
		n, err := unix.Read(pair[1], buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buf[:n]...)
		if err := l.flush(c); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) || c.out != nil {
		t.Errorf("%d bytes came, not as they were sent; %d are left", len(got), len(c.out))
	}
}

// TestGoodbyeIsNotForEver has a server that reads on after the client's close frame.
func TestGoodbyeIsNotForEver(t *testing.T) {
	o := quick(newTestServer(t).url("/stay")).withDefaults()
	to, err := resolve(t.Context(), o.URL)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(to, o, 0, func(*loop, int) scenario { return bystander{} })
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.open(t.Context(), o.Conns, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if n := f.goodbye(10 * ms); n != o.Conns {
		t.Errorf("%d were still there, want all %d", n, o.Conns)
	}
	f.each(func(l *loop) {
		for i := range l.conns {
			if l.conns[i].state != closed || l.closing != 0 {
				t.Errorf("connection %d is in state %d, and %d are closing", i, l.conns[i].state, l.closing)
			}
		}
	})
}

func TestTicksCountOnlyWhileMeasuring(t *testing.T) {
	l := newTestLoop(t, Options{Conns: 1}, target{})
	tick := l.scenario.(*ticked)
	c := &l.conns[0]
	message := piece{last: true}
	tick.piece(c, message, 0)
	tick.begin(0)
	tick.piece(c, piece{}, 1*time.Second) // the first part of a message
	tick.piece(c, message, 1*time.Second)
	tick.end(2 * time.Second)
	tick.piece(c, message, 2*time.Second)
	if tick.messages != 1 {
		t.Errorf("%d messages were counted, want 1", tick.messages)
	}
}
