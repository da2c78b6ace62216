//go:build linux

package netpoll

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What runs for each event of each connection allocates nothing. These tests are not parallel,
// because what others allocate would count.

func TestSocketCallsAllocateNothing(t *testing.T) {
	families(t, func(t *testing.T, pair family) {
		a, b := pair(t)
		message, buf := []byte("a small message"), make([]byte, 64)
		allocatesNothing(t, "Send and Recv", func() {
			if _, err := Send(a.fd, message); err != nil {
				t.Fatal(err)
			}
			b.await(unix.POLLIN)
			if n, err := Recv(b.fd, buf); n != len(message) || err != nil {
				t.Fatal(n, err)
			}
		})
		allocatesNothing(t, "Recv that would block", func() {
			if _, err := Recv(b.fd, buf); err != ErrWouldBlock {
				t.Fatal(err)
			}
		})
		a.fill()
		for err := error(nil); err == nil; { // small messages may find room where large ones did not
			_, err = Send(a.fd, message)
		}
		allocatesNothing(t, "Send that would block", func() {
			if _, err := Send(a.fd, message); err != ErrWouldBlock {
				t.Fatal(err)
			}
		})
	})
	l := listen(t, "127.0.0.1:0")
	allocatesNothing(t, "Accept that would block", func() {
		if _, _, err := Accept(l.FD); err != ErrWouldBlock {
			t.Fatal(err)
		}
	})
}

// TestWaitAllocatesNothing holds for the default backend only.
func TestWaitAllocatesNothing(t *testing.T) {
	p, ev, events := open(t, Epoll), eventFD(t, 0), make([]Event, 8)
	add(t, p, ev, 1, Read)
	for what, turn := range map[string]func() int{
		"Wait with an event":     func() int { ev.kick(); return 1 },
		"Wait that was woken":    func() int { p.Wake(); return 0 },
		"Wait for a short while": func() int { return 0 },
	} {
		allocatesNothing(t, what, func() {
			want := turn()
			if n, err := p.Wait(events, time.Microsecond); n != want || err != nil {
				t.Fatal(n, err)
			}
		})
	}
	allocatesNothing(t, "Wait for batches of many sizes", func() {
		for size := range events {
			if _, err := p.Wait(events[:size+1], time.Microsecond); err != nil {
				t.Fatal(err)
			}
		}
	})
	allocatesNothing(t, "Modify", func() {
		if err := p.Modify(ev.fd, 1, Read); err != nil {
			t.Fatal(err)
		}
	})
}

func allocatesNothing(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(200, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}
