//go:build linux

package netpoll

import (
	"errors"
	"runtime"
	"testing"
	"time"

	easygo "github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// Traps that pollers are known to have fallen into. What can be said as a sentence of the contract
// is in TestPoller; here are those that need a certain order of things, or more than one poller.

// TestBatchInHand: what Remove does not reach is told by its token.
func TestBatchInHand(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, b Backend) {
		p := open(t, b)
		first, peer := unixPair(t)
		second, _ := unixPair(t)
		add(t, p, first, 1, Read)
		peer.send("x")
		batch := wait(t, p, bound)
		must(t, p.Remove(first.fd))
		first.replaceBy(second)
		add(t, p, first, 2, Read)
		if len(batch) != 1 || batch[0].Token != 1 {
			t.Fatalf("batch %v", batch)
		}
		quiet(t, p)
	})
}

// TestTimerIsEarly has the timer fire while a Wait goes on: it is no more than a reason to look at
// the time.
func TestTimerIsEarly(t *testing.T) {
	t.Parallel()
	p := open(t, Epoll).(*epollPoller)
	start := time.Now()
	w := block(t, p, 5*moment)
	p.timer.set(1)
	w.returns(nil)
	if took := time.Since(start); took < 5*moment {
		t.Errorf("Wait of %v returned after %v", 5*moment, took)
	}
}

// TestTimerFillsBatch has the timer's expiry fill a batch of one while an event waits behind it: Wait
// collects again, because no further edge announces the event.
func TestTimerFillsBatch(t *testing.T) {
	t.Parallel()
	p := open(t, Epoll).(*epollPoller)
	ev := eventFD(t, 0)
	add(t, p, ev, 1, Read)
	p.timer.set(1)
	for fds := []unix.PollFd{{Fd: int32(p.timer), Events: unix.POLLIN}}; fds[0].Revents == 0; {
		unix.Poll(fds, -1)
	}
	ev.kick()
	batch := make([]Event, 1)
	if n, err := p.Wait(batch, 0); n != 1 || err != nil || batch[0] != (Event{1, Readable}) {
		t.Errorf("Wait: %d, %v, %v", n, err, batch)
	}
}

// gate stops easygo's goroutine in a callback. It is entered when the descriptor is kicked and left
// when open is closed.
type gate struct {
	*sock
	entered, open chan struct{}
}

func newGate(t *testing.T, p *easyGoPoller) gate {
	t.Helper()
	g := gate{eventFD(t, 0), make(chan struct{}), make(chan struct{})}
	must(t, p.epoll.Add(g.fd, easygo.EPOLLIN|easygo.EPOLLET, func(bits easygo.EpollEvent) {
		if readyOf(uint32(bits)) != 0 {
			close(g.entered)
			<-g.open
		}
	}))
	return g
}

// TestLateCallback has easygo look up the callback of a descriptor, and call it only after the
// number was removed, closed, opened anew and added.
func TestLateCallback(t *testing.T) {
	t.Parallel()
	p := open(t, EasyGo).(*easyGoPoller)
	before, ahead := newGate(t, p), newGate(t, p)
	a, b := unixPair(t)
	add(t, p, a, 1, Read)
	before.kick()
	<-before.entered // so that what follows comes as one batch, ahead first
	ahead.kick()
	b.send("to the old one")
	close(before.open)
	<-ahead.entered
	must(t, p.Remove(a.fd))
	next, peer := unixPair(t)
	a.replaceBy(next)
	add(t, p, a, 2, Read)
	peer.send("to the new one")
	close(ahead.open)
	if seen := flush(t, p); len(seen) != 2 || seen[0].Token != 1 || seen[1].Token != 2 {
		t.Errorf("got %v, want an event of the old token and then one of the new", seen)
	}
}

// TestGenuine: the first event that easygo reports of a registration may be its predecessor's.
func TestGenuine(t *testing.T) {
	t.Parallel()
	a, b := unixPair(t)
	const all = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	check := func(what string, want Interest, bits uint32) {
		t.Helper()
		if got := genuine(a.fd, all, want); got != bits {
			t.Errorf("%s: %#x, want %#x", what, got, bits)
		}
	}
	check("nothing", Read, 0)
	check("room", Read|Write, unix.EPOLLOUT)
	b.send("x")
	check("data", Read, unix.EPOLLIN)
	check("data that nobody wants", 0, 0)
	b.close()
	check("hang-up", Read, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP)
	if got := genuine(-1, all, Read|Write); readyOf(got) != 0 {
		t.Errorf("no descriptor: %#x", got)
	}
}

// TestAddAfterBadDescriptor adds a number that is not open yet. It is not parallel, so that nobody
// else opens it.
func TestAddAfterBadDescriptor(t *testing.T) {
	backends(t, func(t *testing.T, b Backend) {
		p := open(t, b)
		a, peer := unixPair(t)
		number, err := unix.FcntlInt(uintptr(a.fd), unix.F_DUPFD_CLOEXEC, 900)
		must(t, err)
		must(t, Close(number))
		if err := p.Add(number, 1, Read); !errors.Is(err, unix.EBADF) {
			t.Fatalf("Add: %v, want EBADF", err)
		}
		must(t, unix.Dup3(a.fd, number, unix.O_CLOEXEC))
		add(t, p, own(t, number), 2, Read)
		peer.send("x")
		expect(t, p, 2, Readable)
	})
}

// TestCloseSparesSuccessor closes a poller under calls, and opens another, which gets its number:
// no call that was meant for the first may reach the second. It is not parallel, so that nobody
// else gets the number.
func TestCloseSparesSuccessor(t *testing.T) {
	backends(t, func(t *testing.T, b Backend) {
		s := eventFD(t, 1)
		for range 60 {
			p := open(t, b)
			answers := make(chan error, 2)
			begun := make(chan struct{}, 2)
			callUntilError(begun, answers, func() error {
				if err := p.Add(s.fd, 1, Read); err != nil {
					return err
				}
				return p.Remove(s.fd)
			})
			callUntilError(begun, answers, func() error {
				_, err := p.Wait(make([]Event, 1), 0)
				return err
			})
			<-begun
			<-begun
			must(t, p.Close())
			q := open(t, b)
			add(t, q, s, 2, Read)
			expect(t, q, 2, Readable)
			for range 2 {
				if err := <-answers; err != ErrClosed {
					t.Errorf("a call that Close overtook: %v", err)
				}
			}
			must(t, q.Close())
		}
	})
}

func callUntilError(begun chan<- struct{}, answers chan<- error, f func() error) {
	go func() {
		err := f()
		for begun <- struct{}{}; err == nil; {
			err = f()
			runtime.Gosched() // or else easygo's goroutine starves on a small machine
		}
		answers <- err
	}()
}

// TestStaleCallback calls back for what happened to the predecessor of a registration, which only
// the first call can be.
func TestStaleCallback(t *testing.T) {
	t.Parallel()
	p := open(t, EasyGo).(*easyGoPoller)
	a, b := unixPair(t)
	callback := p.callback(a.fd, 1, Read)
	callback(easygo.EPOLLIN | easygo.EPOLLHUP)
	quiet(t, p)
	callback(easygo.EPOLLIN)
	expect(t, p, 1, Readable)
	b.send("x")
	p.callback(a.fd, 2, Read)(easygo.EPOLLIN)
	expect(t, p, 2, Readable)
}

// TestFullQueue lets easygo's goroutine block on a queue that nobody takes from. Calls go on
// meanwhile, and in the end nothing is missing.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	p := open(t, EasyGo).(*easyGoPoller)
	p.queue = make(chan Event, 4)
	const many = 50
	for tok := range Token(many) {
		add(t, p, eventFD(t, 1), tok, Read)
	}
	gone := eventFD(t, 0)
	add(t, p, gone, 99, Read)
	must(t, p.Remove(gone.fd))
	if seen := flush(t, p); len(seen) != many {
		t.Errorf("%d of %d came out", len(seen), many)
	}
}

// TestCloseFreesCallback closes while a callback blocks on a full queue.
func TestCloseFreesCallback(t *testing.T) {
	t.Parallel()
	p := open(t, EasyGo).(*easyGoPoller)
	p.queue = make(chan Event)
	callback := parked(t, func() { p.callback(eventFD(t, 1).fd, 1, Read)(easygo.EPOLLIN) })
	must(t, p.Close())
	finishes(t, callback, "the callback")
}
