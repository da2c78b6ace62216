//go:build linux

package netpoll

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// bound is how long a test waits for what must come; only a failure takes that long.
	bound = 10 * time.Second
	// moment is how long a test looks on where nothing may come and no marker can show it.
	moment = 20 * time.Millisecond
	// marker is the token of quiet and flush.
	marker Token = 1 << 60
)

// backends runs test on each of them.
func backends(t *testing.T, test func(t *testing.T, b Backend)) {
	for _, b := range []Backend{Epoll, EasyGo} {
		t.Run(string(b), func(t *testing.T) { test(t, b) })
	}
}

// open opens a poller for the time of the test.
func open(t testing.TB, b Backend) Poller {
	t.Helper()
	p, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && err != ErrClosed {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func add(t testing.TB, p Poller, s *sock, tok Token, want Interest) {
	t.Helper()
	must(t, p.Add(s.fd, tok, want))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait is one Wait that must not fail, and that something must end if its timeout is bound.
func wait(t testing.TB, p Poller, timeout time.Duration) []Event {
	t.Helper()
	start, events := time.Now(), make([]Event, 64)
	n, err := p.Wait(events, timeout)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if timeout == bound && time.Since(start) >= bound {
		t.Fatalf("nothing ended the Wait in %v", bound)
	}
	return events[:n]
}

// expect waits until tok has been reported ready, in one event or several, and fails on any bit and
// any token beside that.
func expect(t testing.TB, p Poller, tok Token, ready Ready) {
	t.Helper()
	for got := Ready(0); got != ready; {
		for _, ev := range wait(t, p, bound) {
			if got |= ev.Ready; ev.Token != tok || got&^ready != 0 {
				t.Fatalf("token %#x is %q, want only token %#x, %q", ev.Token, ev.Ready, tok, ready)
			}
		}
	}
}

// quiet fails if there is anything to report. It waits for no time to pass: events come in the
// order in which things became ready, so whatever there is comes before, or with, a marker that is
// made ready last.
func quiet(t testing.TB, p Poller) {
	t.Helper()
	mark := eventFD(t, 1)
	add(t, p, mark, marker, Read)
	expect(t, p, marker, Readable)
	must(t, p.Remove(mark.fd))
	mark.close()
}

// flush takes whatever there is to report and returns it.
func flush(t testing.TB, p Poller) (seen []Event) {
	t.Helper()
	mark := eventFD(t, 1)
	add(t, p, mark, marker, Read)
	for marked := false; !marked; {
		for _, ev := range wait(t, p, bound) {
			if ev.Token == marker {
				marked = true
			} else {
				seen = append(seen, ev)
			}
		}
	}
	must(t, p.Remove(mark.fd))
	mark.close()
	return seen
}

// parked runs f on a goroutine and returns when f blocks in a Wait. The channel is closed when f
// has returned.
func parked(t testing.TB, f func()) <-chan struct{} {
	t.Helper()
	names, done := make(chan string), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		name, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "[")
		names <- name
		f()
	}()
	for name, end := <-names, time.Now().Add(bound); time.Now().Before(end); runtime.Gosched() {
		for _, stack := range stacks() {
			// One backend parks in Go's poller, the other in a select.
			state, ok := strings.CutPrefix(stack, name)
			if ok && (strings.HasPrefix(state, "[IO wait") || strings.HasPrefix(state, "[select")) {
				return done
			}
		}
	}
	t.Fatal("the goroutine does not block")
	return nil
}

// blocked is a Wait that blocks, on a goroutine of its own.
type blocked struct {
	t      testing.TB
	done   <-chan struct{}
	events []Event
	err    error
}

func block(t testing.TB, p Poller, timeout time.Duration) *blocked {
	t.Helper()
	w := &blocked{t: t}
	w.done = parked(t, func() {
		events := make([]Event, 8)
		n, err := p.Wait(events, timeout)
		w.events, w.err = events[:n], err
	})
	return w
}

// stays fails if the Wait returns within d.
func (w *blocked) stays(d time.Duration) {
	w.t.Helper()
	select {
	case <-w.done:
		w.t.Fatalf("Wait returned %v, %v", w.events, w.err)
	case <-time.After(d):
	}
}

// returns fails unless the Wait returns that.
func (w *blocked) returns(err error, events ...Event) {
	w.t.Helper()
	finishes(w.t, w.done, "Wait")
	if w.err != err || !slices.Equal(w.events, events) {
		w.t.Fatalf("Wait: %v, %v, want %v, %v", w.events, w.err, events, err)
	}
}

// finishes fails unless done is closed in time.
func finishes(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(bound):
		t.Fatalf("%s: still blocked after %v", what, bound)
	}
}
