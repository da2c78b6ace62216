// Package netpoll reports which sockets are ready. It knows nothing of WebSocket.
//
// It has two halves. A [Poller] waits for readiness on raw descriptors; its contract is written on
// the type and holds for both backends. The socket functions ([Listen], [Accept], [Connect],
// [Recv], [Send], …) open and use raw, non-blocking descriptors that Go's own network poller never
// sees, because registering a socket there as well costs memory and a system call for nothing.
//
// Only Linux has a backend. Elsewhere the package compiles and every function returns
// [ErrUnsupported].
package netpoll

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrClosed is returned by a closed Poller, and by a Wait that Close interrupts.
	ErrClosed = errors.New("netpoll: poller closed")
	// ErrUnsupported is returned by every function on an operating system without a backend.
	ErrUnsupported = errors.New("netpoll: only Linux is supported")
	// ErrWouldBlock is returned by a socket function when the kernel has no data to read, or no
	// room to write. The caller waits for the next event.
	ErrWouldBlock = errors.New("netpoll: operation would block")
)

// Poller waits until raw descriptors are ready to be read or written.
//
// # What an event is
//
// Registrations are edge-triggered. An event says that readiness changed, once; no second event
// comes for what is already ready. After an event the caller must read (or accept, or write)
// repeatedly until [ErrWouldBlock], or remember that it stopped early. One short cut is
// safe: a [Recv] that returned fewer bytes than it had room for has emptied the socket, unless the
// event said [HangUp], because data and end of stream together give one event, not two.
//
// An event is a hint. It may be spurious (nothing is ready by the time one looks) and it may be
// stale: an event already taken out of the kernel can belong to a descriptor that was closed since,
// whose number may even have been opened again. Events therefore carry the [Token] that was given
// at Add and never the descriptor; a caller that puts a generation into the token recognises a
// stale event by it. The poller guarantees the other half: what happens to a new registration is
// never reported under an old token.
//
// HangUp alone ends nothing: bytes that were sent before it are still to be read.
//
// # Concurrency
//
// Wait is for one goroutine at a time; which one may change between calls. Add, Modify, Remove,
// Wake and Close may be called from any goroutine at any time, also during Wait.
//
// A descriptor is removed before it is closed. Remove does not reach into a batch of events that
// Wait already returned.
type Poller interface {
	// Add registers fd, which must be open and non-blocking, under tok. What is ready already is
	// reported. Adding a descriptor twice is an error, and a failed Add leaves nothing behind.
	Add(fd int, tok Token, want Interest) error

	// Modify changes token and interest of a registered descriptor. What is ready for the new
	// interest is reported, even if it was reported before.
	Modify(fd int, tok Token, want Interest) error

	// Remove ends the registration of fd, which must still be open.
	Remove(fd int) error

	// Wait blocks until there is an event, Wake or Close is called, or timeout has passed. It
	// fills events and returns their number. A negative timeout never ends; zero does not block.
	// Zero events and a nil error mean that the timeout passed or that Wake was called. After
	// Close it returns ErrClosed.
	Wait(events []Event, timeout time.Duration) (int, error)

	// Wake makes the current blocking Wait return, or the next one. Several calls before that Wait
	// count as one.
	Wake()

	// Close releases the poller's own descriptors. The current and every later Wait return
	// ErrClosed, and so does a second Close. The registered descriptors stay open: the caller
	// owns them.
	Close() error
}

// Token is the caller's name for a registration. The poller returns it with each event and attaches
// no meaning to it. The token with all bits set is reserved.
type Token uint64

// Interest selects the events of a registration. Errors and hang-ups are always reported.
type Interest uint8

// The two interests; they may be combined.
const (
	Read Interest = 1 << iota
	Write
)

// Ready is the set of conditions that an event reports.
type Ready uint8

// The bits of Ready.
const (
	// Readable: there is something to read or accept, or the end of the stream.
	Readable Ready = 1 << iota
	// Writable: there is room to write, or a connect has ended.
	Writable
	// HangUp: the peer will send nothing more. What it sent before may still wait to be read.
	HangUp
	// Failed: the socket has an error; the next read or write returns it.
	Failed
)

// String names the bits, for logs and tests.
func (r Ready) String() string {
	var names []string
	for i, name := range []string{"readable", "writable", "hang-up", "failed"} {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Event says that readiness of the registration named by Token changed.
type Event struct {
	Token Token // as given to Add or Modify
	Ready Ready // the conditions that hold
}

// Backend names an implementation of Poller.
type Backend string

// The backends.
const (
	// Epoll is the default: an epoll descriptor that itself waits in Go's poller, so that a
	// waiting goroutine holds no thread.
	Epoll Backend = "epoll"
	// EasyGo runs on github.com/mailru/easygo/netpoll, which collects events in a goroutine (and
	// a thread) of its own. It is here for comparison.
	EasyGo Backend = "easygo"
)

// New opens a poller on the given backend. The empty Backend is Epoll.
func New(b Backend) (Poller, error) {
	switch b {
	case "", Epoll:
		return newEpoll()
	case EasyGo:
		return newEasyGo()
	}
	return nil, fmt.Errorf("netpoll: unknown backend %q (there are %q and %q)", b, Epoll, EasyGo)
}
