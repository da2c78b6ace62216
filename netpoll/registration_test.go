//go:build linux

package netpoll

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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

func testCloseLeavesOpen(t *testing.T, p Poller, pair family) {
	a, b := pair(t)
	add(t, p, a, 1, Read|Write)
	must(t, p.Close())
	a.send("ping")
	b.receives("ping")
	b.send("pong")
	a.receives("pong")
}
