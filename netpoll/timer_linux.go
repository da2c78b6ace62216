package netpoll

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timer is a timer of the kernel's (timerfd_create(2)): a descriptor that turns readable.
//
// A timer of the runtime's is cheap among many others in a busy process. In one that is mostly idle,
// setting it wakes the thread that waits for the network, and its firing another one.
type timer int

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	return timer(fd), os.NewSyscallError("timerfd_create", err)
}

// set makes it fire once, after d, instead of whenever it was to fire. It need not be read: every
// expiry is an edge of its own. Zero and less only stop it.
func (t timer) set(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 0)))}
	// A raw call, as at Send. It can only fail on a descriptor that is closed.
	syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(t), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func (t timer) close() {
	if t >= 0 {
		unix.Close(int(t))
	}
}

// Alarm wakes a goroutine after a time, at less cost than a timer of the runtime's in a process that
// is mostly idle. Set, Stop and Close may be called from any goroutine, Wait from one at a time.
type Alarm struct {
	file *os.File // owns the descriptor

	mu     sync.Mutex
	timer  timer
	closed bool
}

// NewAlarm returns an alarm that is not set.
func NewAlarm() (*Alarm, error) {
	t, err := newTimer()
	if err != nil {
		return nil, err
	}
	return &Alarm{timer: t, file: os.NewFile(uintptr(t), "timer")}, nil
}

// Set has Wait return after d, instead of whenever it was to return.
func (a *Alarm) Set(d time.Duration) { a.set(max(d, 1)) }

// Stop takes back a Set whose time has not come.
func (a *Alarm) Stop() { a.set(0) }

func (a *Alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.timer.set(d)
	}
}

// Wait blocks until the time that was set has come. It answers ErrClosed after Close.
func (a *Alarm) Wait() error {
	var expiries [8]byte
	if _, err := a.file.Read(expiries[:]); err != nil {
		return ErrClosed
	}
	return nil
}

// Close ends a Wait that is under way. It answers ErrClosed the second time.
func (a *Alarm) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	a.closed = true
	return a.file.Close()
}
