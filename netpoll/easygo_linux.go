package netpoll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	easygo "github.com/mailru/easygo/netpoll"
)

// easyGoQueue bounds the events that wait between easygo's goroutine and Wait. When it is full the
// goroutine waits, and events stay in the kernel.
const easyGoQueue = 1024

// easyGoPoller turns easygo's callbacks into a pull-style Wait.
//
// easygo.Epoll runs a goroutine of its own, which may call the callback of a registration after its
// Del, even when the number was registered anew. Each callback here is bound to its token, so what
// comes late comes under the old token, as the contract demands.
type easyGoPoller struct {
	epoll *easygo.Epoll
	queue chan Event
	wake  chan struct{} // capacity 1: several wake-ups count as one
	done  chan struct{}

	mu     sync.Mutex // orders Add against Modify and Close
	closed bool
}

func newEasyGo() (Poller, error) {
	p := &easyGoPoller{
		queue: make(chan Event, easyGoQueue),
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	var err error
	// A failed wait ends easygo's goroutine, for whose end Close waits; nothing more would be reported.
	p.epoll, err = easygo.EpollCreate(&easygo.EpollConfig{OnWaitError: func(error) { go p.Close() }})
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return p, nil
}

// Wait implements Poller.
func (p *easyGoPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	var expired <-chan time.Time
	switch {
	case timeout > 0:
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	case timeout == 0:
		closed := make(chan time.Time)
		close(closed)
		expired = closed
	}
	select {
	case <-p.done:
		return 0, ErrClosed
	default:
	}
	if n := p.take(events, 0); n > 0 {
		return n, nil
	}
	select {
	case ev := <-p.queue:
		events[0] = ev
		return p.take(events, 1), nil
	case <-p.wake:
	case <-expired:
	case <-p.done:
		return 0, ErrClosed
	}
	return 0, nil
}

// take fills events from n on with what is queued.
func (p *easyGoPoller) take(events []Event, n int) int {
	for n < len(events) {
		select {
		case events[n] = <-p.queue:
			n++
		default:
			return n
		}
	}
	return n
}

// Wake implements Poller.
func (p *easyGoPoller) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Add implements Poller.
func (p *easyGoPoller) Add(fd int, tok Token, want Interest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.add(fd, tok, want)
}

func (p *easyGoPoller) add(fd int, tok Token, want Interest) error {
	if p.closed {
		return ErrClosed
	}
	err := p.epoll.Add(fd, easygo.EpollEvent(epollBits(want)), func(bits easygo.EpollEvent) {
		p.deliver(Event{Token: tok, Ready: readyOf(uint32(bits))})
	})
	if err != nil && !errors.Is(err, easygo.ErrRegistered) {
		// easygo remembers a descriptor whose registration failed, and would refuse it ever after.
		p.epoll.Del(fd)
	}
	return easyGoError("add", err)
}

// deliver runs on easygo's goroutine.
func (p *easyGoPoller) deliver(ev Event) {
	if ev.Ready == 0 {
		return // easygo's own sign, at Close
	}
	select {
	case p.queue <- ev:
	case <-p.done:
	}
}

// Modify implements Poller. easygo's Mod keeps the old callback, which is bound to the old token,
// so the registration is made anew.
func (p *easyGoPoller) Modify(fd int, tok Token, want Interest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.remove(fd); err != nil {
		return err
	}
	return p.add(fd, tok, want)
}

// Remove implements Poller.
func (p *easyGoPoller) Remove(fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(fd)
}

func (p *easyGoPoller) remove(fd int) error {
	if p.closed {
		return ErrClosed
	}
	return easyGoError("del", p.epoll.Del(fd))
}

// Close implements Poller.
func (p *easyGoPoller) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.closed = true
	p.mu.Unlock()
	close(p.done)
	return easyGoError("close", p.epoll.Close())
}

func easyGoError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, easygo.ErrClosed):
		return ErrClosed
	}
	return fmt.Errorf("easygo epoll %s: %w", op, err)
}
