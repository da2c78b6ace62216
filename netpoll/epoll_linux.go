package netpoll

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epollPoller is an epoll descriptor that is itself registered with Go's poller.
//
// Waiting in epoll_wait would hold a thread and cost a hand-over of the processor at every wake-up.
// Instead the goroutine parks in the runtime until the epoll descriptor turns readable, and events
// are only ever collected with a wait of zero. The runtime's registration is edge-triggered too, so
// it parks only after a collection that came back empty.
type epollPoller struct {
	fd   int
	file *os.File // owns fd
	conn syscall.RawConn

	// woken is set before the deadline that interrupts a parked Wait, and looked at after Wait set
	// a deadline of its own; so one of the two always sees the other.
	woken atomic.Bool

	// mu is held for reading around every system call on fd, so that Close can't give the number
	// back, and somebody else open it, between the look at closed and the call.
	mu     sync.RWMutex
	closed bool

	// Scratch of the one goroutine in Wait. collect is bound once, because a method value made at
	// each call would be allocated at each call.
	raw     []unix.EpollEvent
	n       int
	err     error
	collect func(fd uintptr) bool
}

func newEpoll() (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// os.NewFile hands only non-blocking descriptors to the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &epollPoller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		p.file.Close()
		return nil, errors.New("netpoll: this kernel does not let an epoll descriptor be polled")
	}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	p.collect = func(uintptr) bool {
		p.n, p.err = collectEvents(p.fd, p.raw)
		return p.n != 0 || p.err != nil
	}
	return p, nil
}

// collectEvents takes what is ready and never blocks.
func collectEvents(fd int, raw []unix.EpollEvent) (int, error) {
	for {
		n, err := unix.EpollWait(fd, raw, 0)
		if err != unix.EINTR {
			return max(n, 0), os.NewSyscallError("epoll_wait", err)
		}
	}
}

// Wait implements Poller.
func (p *epollPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	if cap(p.raw) < len(events) {
		p.raw = make([]unix.EpollEvent, len(events))
	}
	p.raw = p.raw[:len(events)]
	if err := p.park(timeout); err != nil {
		return 0, err
	}
	for i := range p.n {
		events[i] = eventOf(&p.raw[i])
	}
	return p.n, nil
}

// park fills p.raw[:p.n], after sleeping if it may.
func (p *epollPoller) park(timeout time.Duration) error {
	// The first look is free of the runtime's locks and timers: under load it finds something.
	if err := p.look(); p.n != 0 || err != nil || timeout == 0 {
		return err
	}
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	if err := p.file.SetReadDeadline(deadline); err != nil {
		return p.outcome(err)
	}
	if p.woken.Swap(false) {
		return nil
	}
	err := p.conn.Read(p.collect)
	p.woken.Store(false)
	if err == nil {
		err = p.err
	}
	return p.outcome(err)
}

// look collects once.
func (p *epollPoller) look() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	p.collect(0)
	return p.err
}

func (p *epollPoller) outcome(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	return err
}

// Wake implements Poller. It moves the deadline of the parked Wait into the past.
func (p *epollPoller) Wake() {
	if !p.woken.Swap(true) {
		p.file.SetReadDeadline(time.Unix(1, 0)) // fails only when closed, and then Wait returns anyway
	}
}

// Add implements Poller.
func (p *epollPoller) Add(fd int, tok Token, want Interest) error {
	return p.ctl("add", unix.EPOLL_CTL_ADD, fd, tok, want)
}

// Modify implements Poller.
func (p *epollPoller) Modify(fd int, tok Token, want Interest) error {
	return p.ctl("mod", unix.EPOLL_CTL_MOD, fd, tok, want)
}

// Remove implements Poller.
func (p *epollPoller) Remove(fd int) error {
	return p.ctl("del", unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func (p *epollPoller) ctl(name string, op, fd int, tok Token, want Interest) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	// The 64 bits of user data are the token, so an event needs no look-up by descriptor and a
	// closed one can't be taken for its successor.
	ev := unix.EpollEvent{Events: epollBits(want), Fd: int32(uint32(tok)), Pad: int32(uint32(tok >> 32))}
	if err := unix.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl "+name, err)
	}
	return nil
}

// Close implements Poller.
func (p *epollPoller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.closed = true
	return p.file.Close()
}

func epollBits(want Interest) uint32 {
	// The kernel reports errors, and hang-ups of both ways, unasked, but not the peer's end alone.
	bits := uint32(unix.EPOLLET&0xffffffff) | unix.EPOLLRDHUP
	if want&Read != 0 {
		bits |= unix.EPOLLIN
	}
	if want&Write != 0 {
		bits |= unix.EPOLLOUT
	}
	return bits
}

func eventOf(ev *unix.EpollEvent) Event {
	return Event{
		Token: Token(uint32(ev.Fd)) | Token(uint32(ev.Pad))<<32,
		Ready: readyOf(ev.Events),
	}
}

func readyOf(bits uint32) (r Ready) {
	if bits&unix.EPOLLIN != 0 {
		r |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		r |= Writable
	}
	if bits&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		r |= Readable | HangUp
	}
	if bits&unix.EPOLLERR != 0 {
		r |= Readable | Writable | Failed
	}
	return r
}
