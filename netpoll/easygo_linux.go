package netpoll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	easygo "github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// easyGoQueue bounds the events queued between easygo's goroutine and Wait. When it is full, that
// goroutine blocks and events stay in the kernel.
const easyGoQueue = 1024

// easyGoPoller makes a pull-style Wait from easygo's callbacks.
//
// easygo.Epoll runs a goroutine that takes a batch from the kernel, looks the callbacks up by
// descriptor and calls them. When a descriptor is removed and registered anew meanwhile, either the
// old callback runs late, or the new one runs for an event of the old registration. Each callback is
// bound to its token, so the first case reports the old token, as the contract demands. The function
// genuine covers the second.
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
	// A failed wait ends easygo's goroutine, and no event would follow. Close waits for that
	// goroutine, so it runs in another one.
	p.epoll, err = easygo.EpollCreate(&easygo.EpollConfig{OnWaitError: func(error) { go p.Close() }})
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return p, nil
}

// Wait implements Poller.
func (p *easyGoPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	select {
	case <-p.done:
		return 0, ErrClosed
	default:
	}
	// A Wait that does not block returns here. It leaves a Wake to the next one that does.
	if n := p.take(events, 0); n > 0 || timeout == 0 {
		return n, nil
	}
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
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

// take fills events from index n on from the queue.
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
	err := p.epoll.Add(fd, easygo.EpollEvent(epollBits(want)), p.callback(fd, tok, want))
	if err != nil && !errors.Is(err, easygo.ErrRegistered) {
		// easygo keeps the entry of a failed registration and would reject the descriptor for ever.
		p.epoll.Del(fd)
	}
	return easyGoError("add", err)
}

// callback returns the function that easygo's goroutine calls for each event of one registration.
func (p *easyGoPoller) callback(fd int, tok Token, want Interest) func(easygo.EpollEvent) {
	first := true
	return func(event easygo.EpollEvent) {
		bits := uint32(event)
		if first {
			first = false
			bits = genuine(fd, bits, want)
		}
		p.deliver(Event{Token: tok, Ready: readyOf(bits)})
	}
}

// genuine keeps those bits of a registration's first event that hold for its descriptor now. The
// kernel may have reported the event for an earlier registration of the number. Only the first event
// can be such a one: easygo handles one batch at a time, and a batch has a descriptor once.
func genuine(fd int, bits uint32, want Interest) uint32 {
	bits &= epollBits(want) | unix.EPOLLERR | unix.EPOLLHUP
	if bits == 0 {
		return 0
	}
	now := []unix.PollFd{{Fd: int32(fd), Events: int16(bits)}} // poll(2) has the same bits
	if _, err := unix.Poll(now, 0); err != nil {
		return bits
	}
	return bits & uint32(uint16(now[0].Revents))
}

// deliver queues an event for Wait.
func (p *easyGoPoller) deliver(ev Event) {
	if ev.Ready == 0 {
		return // not genuine, or easygo's own event at Close
	}
	select {
	case p.queue <- ev:
	case <-p.done:
	}
}

// Modify implements Poller. It registers anew, because easygo's Mod keeps the old callback and so the
// old token.
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
