//go:build linux

package netpoll

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPoller holds both backends to the sentences of the contract on Poller.
func TestPoller(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, b Backend) {
		families(t, func(t *testing.T, pair family) {
			for _, sentence := range aboutEvents {
				t.Run(sentence.says, func(t *testing.T) {
					t.Parallel()
					sentence.test(t, open(t, b), pair)
				})
			}
		})
		for _, sentence := range aboutCalls {
			t.Run(sentence.says, func(t *testing.T) {
				t.Parallel()
				sentence.test(t, open(t, b))
			})
		}
	})
}

// aboutEvents says what is reported of a stream, and as what.
var aboutEvents = []struct {
	says string
	test func(*testing.T, Poller, family)
}{
	{"what is ready at Add is reported", testReadyAtAdd},
	{"an edge is reported once", testEdgeOnce},
	{"a short read without hang-up has emptied the socket", testShortRead},
	{"returning room is reported once the socket was full", testRoomReturns},
	{"a full socket is not writable", testFullAtAdd},
	{"a hang-up leaves data to be read", testHangUp},
	{"data and end together give one event", testDataAndEnd},
	{"a hang-up is reported whatever the interest", testHangUpUnasked},
	{"a reset is a failure", testReset},
	{"a failure is reported whatever the interest", testResetUnasked},
	{"shutting this end is reported", testShut},
	{"the token comes back whole", testTokenWhole},
	{"a new registration is not reported under the old token", testGeneration},
	{"a stale event has the old token", testStale},
	{"Modify changes the token and reports anew", testModify},
	{"Modify changes the interest", testModifyInterest},
	{"adding twice is an error", testAddTwice},
	{"a failed Add leaves nothing behind", testFailedAdd},
	{"Remove ends the registration", testRemove},
	{"what is not registered can't be removed or modified", testUnregistered},
	{"Add and Remove may be called during Wait", testAddDuringWait},
	{"nobody starves when events are few", testNobodyStarves},
	{"Close leaves descriptors open", testCloseLeavesOpen},
}

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

func testTokenWhole(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 0, Write)
	expect(t, p, 0, Writable)
	for bit := range 64 {
		must(t, p.Modify(a.fd, 1<<bit, Write))
		expect(t, p, 1<<bit, Writable)
		must(t, p.Modify(a.fd, ^(1<<bit), Write))
		expect(t, p, ^(1 << bit), Writable)
	}
	add(t, p, b, 0xfedcba9876543210, Write)
	expect(t, p, 0xfedcba9876543210, Writable)
}

func testGeneration(t *testing.T, p Poller, pair family) {
	a, _ := pair(t)
	add(t, p, a, 0, Read)
	for generation := Token(1); generation < 20; generation++ {
		must(t, p.Remove(a.fd))
		next, b := pair(t)
		a.replaceBy(next)
		add(t, p, a, generation<<32, Read)
		b.send("to the new one")
		expect(t, p, generation<<32, Readable)
		a.receives("to the new one")
	}
}

// testStale leaves events of the old registration to be taken, which must not look like events of
// the new one.
func testStale(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 0, Read)
	for generation := Token(1); generation < 50; generation++ {
		next, peer := pair(t)
		b.send("to the old one")
		b.close()
		must(t, p.Remove(a.fd))
		a.replaceBy(next)
		add(t, p, a, generation, Read)
		for _, ev := range flush(t, p) {
			if ev.Token != generation-1 {
				t.Fatalf("generation %d, which is not ready, is reported as %q", ev.Token, ev.Ready)
			}
		}
		b = peer
		b.send("to the new one")
		expect(t, p, generation, Readable)
		a.receives("to the new one")
	}
}

func testModify(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	b.send("old news")
	expect(t, p, 1, Readable)
	quiet(t, p)
	must(t, p.Modify(a.fd, 2, Read))
	expect(t, p, 2, Readable)
	quiet(t, p)
	a.receives("old news")
	b.send("news")
	expect(t, p, 2, Readable)
}

func testModifyInterest(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	must(t, p.Modify(a.fd, 1, Write))
	expect(t, p, 1, Writable)
	must(t, p.Modify(a.fd, 1, 0))
	b.send("unheard")
	quiet(t, p)
	must(t, p.Modify(a.fd, 1, Read|Write))
	expect(t, p, 1, Readable|Writable)
}

func testAddTwice(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	if err := p.Add(a.fd, 2, Read|Write); err == nil {
		t.Fatal("a descriptor can be added twice")
	}
	quiet(t, p)
	b.send("x")
	expect(t, p, 1, Readable)
	must(t, p.Remove(a.fd))
	if err := p.Remove(a.fd); err == nil {
		t.Fatal("the second Add left something behind")
	}
}

func testFailedAdd(t *testing.T, p Poller, pair family) {
	name := t.TempDir() + "/regular"
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	must(t, err)
	file := own(t, fd)
	for range 2 { // the second failure is the first's twin, not its consequence
		if err := p.Add(file.fd, 1, Read); !errors.Is(err, unix.EPERM) {
			t.Fatalf("Add of a regular file: %v, want EPERM", err)
		}
	}
	a, b := pair(t)
	file.replaceBy(a)
	add(t, p, file, 2, Read)
	b.send("x")
	expect(t, p, 2, Readable)
}

func testRemove(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read)
	must(t, p.Remove(a.fd))
	b.send("unheard")
	quiet(t, p)
	add(t, p, a, 2, Read)
	expect(t, p, 2, Readable)
	must(t, p.Remove(a.fd))
	b.close()
	quiet(t, p)
}

func testUnregistered(t *testing.T, p Poller, pair family) {
	a, _ := pair(t)
	if err := p.Remove(a.fd); err == nil || err == ErrClosed {
		t.Errorf("Remove: %v", err)
	}
	if err := p.Modify(a.fd, 1, Read|Write); err == nil || err == ErrClosed {
		t.Errorf("Modify: %v", err)
	}
	quiet(t, p)
	add(t, p, a, 2, Write)
	expect(t, p, 2, Writable)
}

func testAddDuringWait(t *testing.T, p Poller, pair family) {
	const workers, rounds = 4, 25
	var heard [workers]chan Token
	for i := range heard {
		heard[i] = make(chan Token, 8)
	}
	waiter := parked(t, func() {
		for events := make([]Event, 2); ; {
			n, err := p.Wait(events, -1)
			if err != nil {
				return
			}
			for _, ev := range events[:n] {
				heard[ev.Token%workers] <- ev.Token
			}
		}
	})
	var all sync.WaitGroup
	for i := range heard {
		all.Go(func() {
			for round := range rounds {
				a, b := pair(t)
				tok := Token(round*workers + i)
				add(t, p, a, tok, Read)
				b.send("x")
				select {
				case got := <-heard[i]:
					if got != tok {
						t.Errorf("token %d, want %d", got, tok)
					}
				case <-time.After(bound):
					t.Errorf("nothing of token %d", tok)
				}
				must(t, p.Remove(a.fd))
				a.close()
				b.close()
			}
		})
	}
	all.Wait()
	must(t, p.Close())
	finishes(t, waiter, "Wait after Close")
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

func testCloseLeavesOpen(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read|Write)
	must(t, p.Close())
	a.send("ping")
	b.receives("ping")
	b.send("pong")
	a.receives("pong")
}

func TestNew(t *testing.T) {
	t.Parallel()
	if _, err := New("kqueue"); err == nil {
		t.Error("an unknown backend can be opened")
	}
	p, ok := open(t, "").(*epollPoller)
	if !ok {
		t.Fatal("the default is not epoll")
	}
	checkRaw(t, p.fd)
}

func TestReadyString(t *testing.T) {
	t.Parallel()
	if got := (Readable | Writable | HangUp | Failed).String(); got != "readable|writable|hang-up|failed" {
		t.Errorf("got %q", got)
	}
}
