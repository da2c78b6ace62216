//go:build linux

package netpoll

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
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
	{"a timeout may end about when the last would have", testTimeoutNear},
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
		timesOut(t, p, timeout)
	}
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	endEarly(t, p, ev, time.Hour)
	timesOut(t, p, moment) // which is less than what is left of the hour
}

// endEarly has an event end a Wait that blocks by then, unless the machine is so busy that its time
// passes first.
func endEarly(t *testing.T, p Poller, ev *sock, timeout time.Duration) {
	t.Helper()
	kicked := make(chan struct{})
	time.AfterFunc(moment/4, func() {
		ev.kick()
		close(kicked)
	})
	if len(wait(t, p, timeout)) == 0 {
		wait(t, p, bound)
	}
	<-kicked
}

// timesOut fails unless a Wait returns with nothing and not before its time.
func timesOut(t *testing.T, p Poller, timeout time.Duration) {
	t.Helper()
	start, done := time.Now(), make(chan struct{})
	var n int
	var err error
	go func() {
		defer close(done)
		n, err = p.Wait(make([]Event, 1), timeout)
	}()
	finishes(t, done, "Wait")
	if took := time.Since(start); n != 0 || err != nil || took < timeout {
		t.Fatalf("Wait of %v: %d, %v after %v", timeout, n, err, took)
	}
}

func testTimeoutEnds(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	timesOut(t, p, time.Millisecond)
	endEarly(t, p, ev, moment)
	w := block(t, p, -1)
	w.stays(2 * moment)
	p.Wake()
	w.returns(nil)
}

// testTimeoutNear asks for ends so near each other that a timer might serve for both.
func testTimeoutNear(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	for late := -30 * time.Microsecond; late <= 30*time.Microsecond; late += 10 * time.Microsecond {
		start := time.Now()
		endEarly(t, p, ev, moment)
		timesOut(t, p, max(moment+late-time.Since(start), 1))
	}
}

func testWaitForEver(t *testing.T, p Poller) {
	for _, timeout := range []time.Duration{-1, -time.Hour} {
		w := block(t, p, timeout)
		w.stays(moment)
		p.Wake()
		w.returns(nil)
	}
}

func testEventEndsWait(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	for range 5 {
		w := block(t, p, -1)
		ev.kick()
		w.returns(nil, Event{1, Readable})
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
		for range 5 {
			w := block(t, p, timeout)
			p.Wake()
			w.returns(nil)
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
	for _, wakes := range []int{1, 2, 10} {
		for range wakes {
			p.Wake()
		}
		awoken(t, p)
		timesOut(t, p, moment) // they don't end another
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

// testWakeNeverLost posts work and wakes the waiter, again as soon as that was done. Posters spin
// instead of blocking, because a goroutine that is made ready runs where the waiter ran, after it,
// and here both must run at once. A Wake that is lost leaves the posters to wait for the waiter, and
// the waiter for an event.
func testWakeNeverLost(t *testing.T, p Poller) {
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	var posted, done atomic.Int64
	waiter := parked(t, func() {
		for turn := 0; ; turn++ {
			timeout := []time.Duration{time.Hour, -1, 0, time.Hour, time.Microsecond, time.Hour}[turn%6]
			if _, err := p.Wait(make([]Event, 1), timeout); err != nil {
				return
			}
			done.Store(posted.Load())
		}
	})
	for _, posters := range []int{1, 2, 8} { // a crowd rescues a lost Wake, one alone does not
		var all sync.WaitGroup
		for range posters {
			all.Go(func() {
				for end := time.Now().Add(5 * moment); time.Now().Before(end); {
					spin(rand.IntN(2000))
					if rand.IntN(4) == 0 {
						ev.kick() // so that Wait is about to return anyway
					}
					mine := posted.Add(1)
					p.Wake()
					if !spinUntil(func() bool { return done.Load() >= mine }) {
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

// spin passes some nanoseconds.
func spin(turns int) {
	for range turns {
		spun.Load()
	}
}

var spun atomic.Bool

// spinUntil tells whether it holds in time.
func spinUntil(holds func() bool) bool {
	for end := time.Now().Add(bound); !holds(); {
		if spin(50); time.Now().After(end) {
			return false
		}
		runtime.Gosched()
	}
	return true
}

func testCloseEndsWait(t *testing.T, p Poller) {
	w := block(t, p, -1)
	must(t, p.Close())
	w.returns(ErrClosed)
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
	w := block(t, p, -1)
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
	w.returns(ErrClosed)
}
