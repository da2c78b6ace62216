//go:build linux

package netpoll

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// aboutCalls says when Wait returns, and what comes after Close.
var aboutCalls = []struct {
	says string
	test func(*testing.T, Poller)
}{
	{"Wait of zero does not block", testWaitZero},
	{"Wait returns when its time has passed", testWaitTimeout},
	{"a timeout does not outlive its Wait", testTimeoutEnds},
	{"Wait of less than zero is for ever", testWaitForEver},
	{"an event ends Wait", testEventEndsWait},
	{"another goroutine may take Wait over", testWaitMoves},
	{"batches may grow and shrink", testBatchSizes},
	{"Wake ends a present Wait", testWakePresent},
	{"Wake ends the next Wait", testWakeNext},
	{"several Wakes count as one", testWakesAreOne},
	{"Wait of zero keeps a Wake for the next that blocks", testWaitZeroKeepsWake},
	{"no Wake is lost", testWakeNeverLost},
	{"Close ends a present Wait", testCloseEndsWait},
	{"after Close all answer ErrClosed", testClosed},
	{"Close from many goroutines happens once", testCloseOnce},
}

func testWaitZero(t *testing.T, p Poller) {
	for range 100 {
		if events := wait(t, p, 0); len(events) != 0 {
			t.Fatalf("events from nowhere: %v", events)
		}
	}
	ev := eventFD(t, 1)
	add(t, p, ev, 1, Read)
	for end := time.Now().Add(bound); len(wait(t, p, 0)) == 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("an event that is ready never comes")
		}
	}
}

func testWaitTimeout(t *testing.T, p Poller) {
	for _, timeout := range []time.Duration{1, time.Microsecond, moment} {
		start := time.Now()
		if events := wait(t, p, timeout); len(events) != 0 {
			t.Fatalf("events from nowhere: %v", events)
		}
		if took := time.Since(start); took < timeout {
			t.Fatalf("Wait of %v returned after %v", timeout, took)
		}
	}
}

func testTimeoutEnds(t *testing.T, p Poller) {
	ev := eventFD(t, 1)
	add(t, p, ev, 1, Read)
	if events := wait(t, p, moment); len(events) != 1 { // an event ends this one early
		t.Fatalf("events: %v", events)
	}
	wait(t, p, time.Millisecond) // and time this one
	done := parked(t, func() { p.Wait(make([]Event, 1), -1) })
	select {
	case <-done:
		t.Fatal("an earlier timeout ended a Wait that is for ever")
	case <-time.After(2 * moment):
	}
	p.Wake()
	finishes(t, done, "Wait")
}

func testWaitForEver(t *testing.T, p Poller) {
	for _, timeout := range []time.Duration{-1, -time.Hour} {
		done := parked(t, func() { p.Wait(make([]Event, 1), timeout) })
		select {
		case <-done:
			t.Fatalf("Wait of %v returned", timeout)
		case <-time.After(moment):
		}
		p.Wake()
		finishes(t, done, "Wait")
	}
}

func testEventEndsWait(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	for range 20 {
		var events []Event
		done := parked(t, func() { events = wait(t, p, -1) })
		ev.kick()
		finishes(t, done, "Wait")
		if len(events) != 1 || events[0] != (Event{1, Readable}) {
			t.Fatalf("got %v", events)
		}
	}
}

func testWaitMoves(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	for i := range 50 {
		ev.kick()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if n, err := p.Wait(make([]Event, 1+i%3), bound); n != 1 || err != nil {
				t.Errorf("Wait: %d, %v", n, err)
			}
		}()
		finishes(t, done, "Wait")
	}
}

func testBatchSizes(t *testing.T, p Poller) {
	const ready = 30
	for tok := range Token(ready) {
		add(t, p, eventFD(t, 1), tok, Read)
	}
	seen := 0
	for i := 0; seen < ready; i++ {
		n, err := p.Wait(make([]Event, []int{7, 1, 2}[i%3]), bound)
		must(t, err)
		if n == 0 {
			t.Fatalf("only %d of %d came out", seen, ready)
		}
		seen += n
	}
	quiet(t, p)
}

func testWakePresent(t *testing.T, p Poller) {
	for _, timeout := range []time.Duration{-1, time.Hour} {
		for range 20 {
			done := parked(t, func() {
				if n, err := p.Wait(make([]Event, 1), timeout); n != 0 || err != nil {
					t.Errorf("Wait: %d, %v", n, err)
				}
			})
			p.Wake()
			finishes(t, done, "Wait after Wake")
		}
	}
}

// awoken fails unless a blocking Wait returns because of a Wake.
func awoken(t *testing.T, p Poller) {
	t.Helper()
	if events := wait(t, p, bound); len(events) != 0 {
		t.Fatalf("events from nowhere: %v", events)
	}
}

func testWakeNext(t *testing.T, p Poller) {
	for range 20 {
		p.Wake()
		awoken(t, p)
	}
}

func testWakesAreOne(t *testing.T, p Poller) {
	for range 3 {
		for range 10 {
			p.Wake()
		}
		awoken(t, p)
		testWaitTimeout(t, p)
	}
}

func testWaitZeroKeepsWake(t *testing.T, p Poller) {
	for range 20 {
		p.Wake()
		for range 5 {
			wait(t, p, 0)
		}
		awoken(t, p)
	}
}

// testWakeNeverLost posts work and wakes the waiter, again as soon as it was done. A Wake that is
// lost leaves all posters waiting for the waiter, and the waiter for an event.
func testWakeNeverLost(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	work := make(chan chan struct{}, 100)
	waiter := parked(t, func() {
		for turn := 0; ; turn++ {
			timeout := []time.Duration{-1, 0, -1, time.Microsecond, -1}[turn%5]
			if _, err := p.Wait(make([]Event, 1), timeout); err != nil {
				return
			}
			for len(work) > 0 {
				close(<-work)
			}
		}
	})
	for _, posters := range []int{1, 2, 8} { // a crowd rescues a lost Wake, one alone does not
		var all sync.WaitGroup
		for range posters {
			all.Go(func() {
				for range 1000 / posters {
					if rand.IntN(2) == 0 {
						ev.kick() // so that Wait is about to return anyway
					}
					done := make(chan struct{})
					work <- done
					p.Wake()
					select {
					case <-done:
					case <-time.After(bound):
						t.Errorf("%d posters: a Wake was lost", posters)
						return
					}
				}
			})
		}
		all.Wait()
	}
	must(t, p.Close())
	finishes(t, waiter, "Wait after Close")
}

func testCloseEndsWait(t *testing.T, p Poller) {
	done := parked(t, func() {
		if n, err := p.Wait(make([]Event, 1), -1); n != 0 || err != ErrClosed {
			t.Errorf("Wait: %d, %v, want ErrClosed", n, err)
		}
	})
	must(t, p.Close())
	finishes(t, done, "Wait after Close")
}

func testClosed(t *testing.T, p Poller) {
	ready, more := eventFD(t, 1), eventFD(t, 1)
	add(t, p, ready, 1, Read)
	must(t, p.Close())
	for _, timeout := range []time.Duration{0, 1, time.Hour, -1} {
		if n, err := p.Wait(make([]Event, 1), timeout); n != 0 || err != ErrClosed {
			t.Errorf("Wait of %v: %d, %v", timeout, n, err)
		}
	}
	p.Wake() // and nothing happens
	for call, err := range map[string]error{
		"Add":    p.Add(more.fd, 2, Read),
		"Modify": p.Modify(ready.fd, 3, Read),
		"Remove": p.Remove(ready.fd),
		"Close":  p.Close(),
	} {
		if err != ErrClosed {
			t.Errorf("%s: %v, want ErrClosed", call, err)
		}
	}
}

func testCloseOnce(t *testing.T, p Poller) {
	waiter := parked(t, func() { p.Wait(make([]Event, 1), -1) })
	answers := make(chan error)
	for range 8 {
		go func() { answers <- p.Close() }()
	}
	closed := 0
	for range 8 {
		switch err := <-answers; err {
		case nil:
			closed++
		case ErrClosed:
		default:
			t.Errorf("Close: %v", err)
		}
	}
	if closed != 1 {
		t.Errorf("%d of 8 closed it", closed)
	}
	finishes(t, waiter, "Wait after Close")
}
