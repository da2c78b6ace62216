//go:build linux

package netpoll

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func testReadyAtAdd(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	b.send("early")
	a.await(unix.POLLIN)
	add(t, p, a, 1, Read)
	expect(t, p, 1, Readable)
	add(t, p, b, 2, Read|Write)
	expect(t, p, 2, Writable)
	quiet(t, p)
}

func testEdgeOnce(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	quiet(t, p)
	b.send("one ")
	expect(t, p, 1, Readable)
	quiet(t, p)
	b.send("two")
	expect(t, p, 1, Readable)
	quiet(t, p)
	a.receives("one two")
	b.send("three")
	expect(t, p, 1, Readable)
	a.receives("three")
}

// testShortRead reads as the contract allows: until a Recv comes short, unless the event said
// HangUp. Wherever the stream is cut, nothing of it may be left.
func testShortRead(t *testing.T, p Poller, pair family) {
	const size = 100_000
	a, b := pair(t)
	add(t, p, a, 1, Read)
	done := make(chan struct{})
	defer func() {
		Shut(a.fd) // which ends a sender that is not through
		finishes(t, done, "the sender")
	}()
	go func() {
		defer close(done)
		for left := size; left > 0; {
			b.await(unix.POLLOUT)
			n, err := Send(b.fd, make([]byte, min(left, 1+rand.IntN(300))))
			if left -= n; err != nil && err != ErrWouldBlock {
				t.Errorf("Send: %v", err)
				return
			}
		}
		if err := CloseWrite(b.fd); err != nil {
			t.Error(err)
		}
	}()
	var got int
	for buf := make([]byte, 150); ; {
		events := wait(t, p, bound)
		if len(events) == 0 {
			t.Fatalf("stalled after %d of %d bytes", got, size)
		}
		hungUp := slices.ContainsFunc(events, func(ev Event) bool { return ev.Ready&HangUp != 0 })
		for short := false; !short; {
			n, err := Recv(a.fd, buf)
			got += n
			if err == io.EOF && got == size {
				return
			}
			if err != nil && err != ErrWouldBlock {
				t.Fatalf("Recv: %v after %d of %d bytes", err, got, size)
			}
			short = err != nil || n < len(buf) && !hungUp
		}
	}
}

func testRoomReturns(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read|Write)
	expect(t, p, 1, Writable)
	a.fill()
	flush(t, p) // while it was being filled some room returned
	b.sink()
	expect(t, p, 1, Writable)
	a.send("more")
}

func testFullAtAdd(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	a.fill()
	add(t, p, a, 1, Read|Write)
	quiet(t, p)
	b.sink()
	expect(t, p, 1, Writable)
}

func testHangUp(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read|Write)
	expect(t, p, 1, Writable)
	b.send("last words")
	must(t, CloseWrite(b.fd))
	expect(t, p, 1, Readable|Writable|HangUp)
	a.receives("last words")
	a.ends()
	a.send("and yet it hears")
	b.receives("and yet it hears")
}

func testDataAndEnd(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	b.send("last words")
	must(t, CloseWrite(b.fd))
	a.await(unix.POLLRDHUP)
	add(t, p, a, 1, Read)
	if events := wait(t, p, bound); len(events) != 1 || events[0] != (Event{1, Readable | HangUp}) {
		t.Fatalf("got %v, want one event that is readable and hang-up", events)
	}
	if n, err := Recv(a.fd, make([]byte, 99)); n != len("last words") || err != nil {
		t.Fatalf("Recv: %d, %v", n, err)
	}
	quiet(t, p) // which is why this short read was not the end
	a.ends()
}

func testHangUpUnasked(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, 0)
	b.send("nobody asked")
	quiet(t, p)
	must(t, CloseWrite(b.fd))
	expect(t, p, 1, Readable|HangUp)
	c, d := pair(t)
	add(t, p, c, 2, Write)
	expect(t, p, 2, Writable)
	must(t, CloseWrite(d.fd))
	expect(t, p, 2, Readable|Writable|HangUp)
}

func testReset(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	reset(t, a, b)
	expect(t, p, 1, Readable|Writable|HangUp|Failed)
	if _, err := Recv(a.fd, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("Recv: %v, want ECONNRESET", err)
	}
}

func testResetUnasked(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, 0)
	reset(t, a, b)
	expect(t, p, 1, Readable|Writable|HangUp|Failed)
}

func testShut(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	must(t, Shut(a.fd))
	expect(t, p, 1, Readable|HangUp)
	a.ends()
	b.ends()
}

// testNobodyStarves has one busy stream, ready again at every turn, beside many with one event.
func testNobodyStarves(t *testing.T, p Poller, pair family) {
	const quietOnes, hot = 40, 1000
	a, busy := pair(t)
	add(t, p, a, hot, Read)
	for tok := range Token(quietOnes) {
		a, b := pair(t)
		b.send("x")
		add(t, p, a, tok, Read)
	}
	seen := map[Token]bool{}
	for turn := 0; len(seen) < quietOnes; turn++ {
		if turn > 10*quietOnes {
			t.Fatalf("%d of %d came out in %d turns", len(seen), quietOnes, turn)
		}
		busy.send("x")
		events := make([]Event, 3)
		n, err := p.Wait(events, bound)
		must(t, err)
		for _, ev := range events[:n] {
			if ev.Token != hot {
				seen[ev.Token] = true
			}
		}
	}
}
