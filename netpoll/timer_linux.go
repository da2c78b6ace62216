package netpoll

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timer is a timer of the kernel (timerfd_create(2)): a descriptor that becomes readable.
//
// A timer of the Go runtime is cheap in a busy process. In a mostly idle one, setting it wakes the
// thread that waits for the network, and its expiry wakes another one.
type timer int

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	return timer(fd), os.NewSyscallError("timerfd_create", err)
}

// set makes the timer fire once, after d, and cancels an earlier set. It need not be read: every
// expiry is an edge. Zero or less only stops it.
func (t timer) set(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 0)))}
	// A raw call, as in Send. It fails only on a closed descriptor.
	syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(t), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func (t timer) close() {
	if t >= 0 {
		unix.Close(int(t))
	}
}

// Alarm wakes a goroutine after a time, at less cost than a timer of the Go runtime in a mostly idle
// process. Set, Stop and Close are safe for concurrent use; one goroutine at a time may call Wait.
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

// Set makes Wait return after d, and cancels an earlier Set.
func (a *Alarm) Set(d time.Duration) { a.set(max(d, 1)) }

// Stop cancels a Set that has not expired.
func (a *Alarm) Stop() { a.set(0) }

func (a *Alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.timer.set(d)
	}
}

// Wait blocks until the alarm expires. It returns ErrClosed after Close.
func (a *Alarm) Wait() error {
	var expiries [8]byte
	if _, err := a.file.Read(expiries[:]); err != nil {
		return ErrClosed
	}
	return nil
}

// Close ends the current Wait. A second Close returns ErrClosed.
func (a *Alarm) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	a.closed = true
	return a.file.Close()
}
