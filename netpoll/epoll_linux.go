package netpoll

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollPoller is an epoll descriptor that is itself registered with Go's poller.
//
// Waiting in epoll_wait would hold a thread and cost a hand-over of the processor at every wake-up.
// Instead the goroutine parks in the runtime until the epoll descriptor turns readable, and events
// are only ever collected with a wait of zero. The runtime's registration is edge-triggered too, so
// it parks only after a collection that came back empty.
//
// A timer of the kernel in the epoll set ends a wait. A deadline of the runtime is up to a
// millisecond late, and moving it wakes another thread. A deadline in the past readies the
// goroutine without a system call, so Wake sets one.
type epollPoller struct {
	fd   int
	file *os.File // owns fd
	conn syscall.RawConn

	// woken is set before the deadline and cleared after it. So the Wait that one Wake ends also
	// sees a second Wake that found the deadline set.
	woken atomic.Bool
	timer timer

	// mu is held for reading around every system call on fd outside of Wait's read of file, so that Close
	// can't give the number back, and another open take it, between the look at closed and the call.
	mu     sync.RWMutex
	closed bool

	// The fields below belong to the one goroutine in Wait. collect is bound once, because a method
	// value made at each call would be allocated at each call.
	armed    time.Time     // when the timer fires, if that is known
	timeout  time.Duration // of the present Wait
	deadline time.Time     // its end, once a collection came back empty
	raw      []unix.EpollEvent
	out      []Event
	n        int
	err      error
	collect  func(fd uintptr) bool
}

// timerToken is the reserved token, of the poller's own timer.
const timerToken Token = 1<<64 - 1

// timerSlack is the largest error of the timer that does not set it anew.
const timerSlack = 20 * time.Microsecond

func newEpoll() (_ Poller, err error) {
	p := &epollPoller{timer: -1}
	p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	// os.NewFile hands only non-blocking descriptors to the runtime's poller.
	err = unix.SetNonblock(p.fd, true)
	p.file = os.NewFile(uintptr(p.fd), "epoll")
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if p.file.SetReadDeadline(time.Time{}) != nil {
		return nil, errors.New("netpoll: this kernel does not let an epoll descriptor be polled")
	}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, err
	}
	if p.timer, err = newTimer(); err != nil {
		return nil, err
	}
	if err = p.Add(int(p.timer), timerToken, Read); err != nil {
		return nil, err
	}
	p.collect = p.collectOrArm
	return p, nil
}

// collectEvents collects ready events and never blocks. Send explains the raw call.
//
//go:noinline
func collectEvents(fd int, raw []unix.EpollEvent) (int, error) {
	for {
		r, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(raw))), uintptr(len(raw)), 0, 0, 0)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("epoll_pwait", errno)
		}
	}
}

// Wait implements Poller.
//
// One collection serves both to find what is ready and to park safely: file's read resets the runtime's
// notion of readiness before collectOrArm runs, so an edge that comes after the collection ends the park.
// A second collection, made before that, was one of five system calls of each wake-up in a mostly idle process.
func (p *epollPoller) Wait(events []Event, timeout time.Duration) (int, error) {
	if cap(p.raw) < len(events) {
		p.raw = make([]unix.EpollEvent, len(events))
	}
	p.raw = p.raw[:len(events)]
	p.out, p.n, p.err = events, 0, nil
	defer func() { p.out = nil }()
	if timeout == 0 {
		return p.look()
	}
	p.timeout, p.deadline = timeout, time.Time{}
	err := p.conn.Read(p.collect)
	switch {
	case err == nil:
		return p.n, p.err
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.settleWake()
		return p.look()
	}
	return 0, ErrClosed
}

// look collects once, without parking.
func (p *epollPoller) look() (int, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return 0, ErrClosed
	}
	p.collectOnce()
	return p.n, p.err
}

// collectOrArm collects, and reports whether Wait is to return. Otherwise it has set the timer, and the
// goroutine parks until the next edge.
func (p *epollPoller) collectOrArm(uintptr) bool {
	// After a park that lasted until the deadline, the events can wait for the next collection, which
	// is made before the next park in any case.
	if !p.deadline.IsZero() && !time.Now().Before(p.deadline) {
		p.armed = time.Time{}
		return true
	}
	p.collectOnce()
	if p.n != 0 || p.err != nil {
		return true
	}
	if p.timeout > 0 {
		now := time.Now()
		if p.deadline.IsZero() {
			p.deadline = now.Add(p.timeout)
		}
		p.arm(now)
	}
	return false
}

// collectOnce fills out with what is ready. It collects again after a batch that was full of the
// timer's expiry alone, because no edge announces what did not fit.
func (p *epollPoller) collectOnce() {
	for full := true; full && p.n == 0 && p.err == nil; {
		var n int
		n, p.err = collectEvents(p.fd, p.raw)
		p.n = p.events(p.raw[:n])
		full = n == len(p.raw)
	}
}

// settleWake clears a Wake, so that it counts once. It clears the deadline first: a Wake in between
// leaves the deadline alone, and the current Wait returns for both.
func (p *epollPoller) settleWake() {
	p.file.SetReadDeadline(time.Time{}) // fails only when closed, which the next Wait reports
	p.woken.Store(false)
}

// arm sets the timer to the deadline, unless it is set right already. The timer is open: Close ends
// this read of file first.
func (p *epollPoller) arm(now time.Time) {
	if off := p.deadline.Sub(p.armed); off < -timerSlack || off > timerSlack {
		p.armed = p.deadline
		p.timer.set(max(p.deadline.Sub(now), 1))
	}
}

// events converts the collected events, except the timer's.
func (p *epollPoller) events(raw []unix.EpollEvent) (n int) {
	for i := range raw {
		ev := eventOf(&raw[i])
		if ev.Token == timerToken {
			p.armed = time.Time{}
			continue
		}
		p.out[n] = ev
		n++
	}
	return n
}

// Wake implements Poller.
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
	// The 64 bits of user data hold the token: an event needs no look-up by descriptor, and a
	// closed descriptor can't be mistaken for its successor.
	ev := unix.EpollEvent{Events: epollBits(want), Fd: int32(uint32(tok)), Pad: int32(uint32(tok >> 32))}
	if errno := epollCtl(p.fd, op, fd, &ev); errno != 0 {
		return os.NewSyscallError("epoll_ctl "+name, errno)
	}
	return nil
}

// epollCtl calls epoll_ctl(2), which waits only for short locks in the kernel. Send explains the raw
// call.
//
//go:noinline
func epollCtl(epfd, op, fd int, ev *unix.EpollEvent) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(ev)), 0, 0)
	return errno
}

// Close implements Poller.
func (p *epollPoller) Close() error {
	if !p.close() {
		return ErrClosed
	}
	// Not with mu held: this waits for a Wait that is collecting. After it no goroutine sets the timer.
	defer p.timer.close()
	return p.file.Close()
}

// close reports whether it was the first.
func (p *epollPoller) close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.closed
	p.closed = true
	return first
}

func epollBits(want Interest) uint32 {
	// The kernel always reports errors and hang-ups of both directions; a half-close must be asked for.
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
