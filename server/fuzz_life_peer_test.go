//go:build linux

package server

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// life is a connection of FuzzLife: the peer's end of it, what its handlers were called with, and what
// was done to it on either side. From that the model says what must have become of it.
type life struct {
	id                string
	tight, drop, lost bool
	serial            atomic.Int64

	// The peer's end.
	fd         int
	head       []byte // the handshake
	queue      []byte // what it has still to say
	window     int    // how much of that it says; -1 is all
	midMessage bool
	said       []byte // what the kernel took of it
	ended      bool   // it ended its stream
	cut        bool   // it closed or reset the connection without reading to the end
	heard      []byte
	heardEnd   error // io.EOF or another error, once the stream has ended

	// The server's end.
	mu        sync.Mutex // held while the server sends, so that sent is in the order of the wire
	conn      *Conn
	events    []byte // a letter for each
	got, sent []said // the messages that were handled, and those that were taken to be sent
	taken     int    // bytes of sent
	ticks     int
	shut      bool     // from now on every send must be refused
	closing   *Closing // by a CloseWith that answered nil
	killed    bool     // by a Close that answered nil
	panicked  bool
	refused   bool // for want of room
	why       Closing
	wrong     []string

	held     atomic.Bool // a handler waits for release
	release  chan struct{}
	finished chan struct{}
}

// The handlers.

func (w *lifeWorld) opened(c *Conn, r *Request) {
	v, _ := w.lives.Load(r.RawQuery())
	l := v.(*life)
	c.SetValue(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = c
	l.events = append(l.events, 'o')
}

func (l *life) handle(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, 'm')
	l.got = append(l.got, said{ws.OpCode(m.Kind), string(m.Data)})
	switch {
	case m.Kind == Binary || m.Data[0] == 'e':
		outcome, err := l.conn.Write(m.Kind, m.Data)
		l.outcome(said{ws.OpCode(m.Kind), string(m.Data)}, outcome, err)
	case m.Data[0] == 'c':
		l.closesWith(4001, "asked for")
	case m.Data[0] == 'k':
		l.closes()
	case m.Data[0] == 'b':
		for i := range 3 {
			l.sends(i == 1, bytes.Repeat(m.Data, 1+1500/len(m.Data)))
		}
	case m.Data[0] == 'p':
		l.panicked = true
		panic("life")
	case m.Data[0] == 'g':
		l.panicked = true // which it is the same as, to the peer and in the books
		runtime.Goexit()
	case m.Data[0] == 'h':
		l.hold()
	}
}

// hold waits in a handler until it is let go.
func (l *life) hold() {
	l.mu.Unlock()
	l.held.Store(true)
	select {
	case <-l.release:
	case <-l.finished:
	}
	l.held.Store(false)
	l.mu.Lock()
}

func (l *life) ticked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticks++
	l.sends(l.ticks%2 == 0, []byte(l.message("t", 0)))
}

func (l *life) over(why Closing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, 'c')
	l.why = why
	l.sends(true, []byte("late"))
	if !l.shut {
		l.wrong = append(l.wrong, "a send in the close event was taken")
	}
}

// The server's side. The lock is held.

func (l *life) sends(prepared bool, data []byte) {
	if l.conn == nil {
		return
	}
	if !prepared {
		outcome, err := l.conn.Write(Binary, data)
		l.outcome(said{ws.OpBinary, string(data)}, outcome, err)
		return
	}
	p, err := Prepare(Binary, data)
	if err != nil {
		panic(err)
	}
	outcome, err := l.conn.Send(p)
	l.outcome(said{ws.OpBinary, string(data)}, outcome, err)
}

// outcome notes what became of a message that was to be sent. One may be refused for want of room when
// much was taken before; that a small one counts for more than its bytes is what the half is for.
func (l *life) outcome(m said, outcome Outcome, err error) {
	switch {
	case err == nil && outcome != Refused && !l.shut:
		l.sent = append(l.sent, m)
		l.taken += len(m.data)
	case err == ErrClosed && outcome == Refused:
		l.shut = true
	case err == ErrBacklogFull && outcome == Refused && !l.shut && l.taken+len(m.data) > l.conn.ep.opts.Backlog/2:
		l.refused = true
		l.shut = !l.drop
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%v was %v, error %v, closed before %v", m, outcome, err, l.shut))
	}
}

func (l *life) closesWith(code Code, reason string) {
	if l.conn == nil {
		return
	}
	err := l.conn.CloseWith(code, reason)
	switch {
	case err == nil && !l.shut && code.sendable():
		l.closing = &Closing{Cause: ClosedLocally, Code: code, Reason: reason}
	case err == ErrBadCode && !code.sendable():
		return
	case err != ErrClosed || !code.sendable():
		l.wrong = append(l.wrong, fmt.Sprintf("CloseWith(%d): %v, closed before %v", code, err, l.shut))
	}
	l.shut = true
}

func (l *life) closes() {
	if l.conn == nil {
		return
	}
	if l.conn.Close() == nil {
		l.killed = true
	}
	l.shut = true
}

// awaitTick has a tick come, unless there are none any more.
func (l *life) awaitTick(t *testing.T) {
	l.mu.Lock()
	c, before := l.conn, l.ticks
	l.mu.Unlock()
	if c == nil || l.held.Load() || c.SetEvery(time.Millisecond) != nil {
		return
	}
	soon(t, "a tick, or the end of them", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ticks > before || l.held.Load() || c.snapshot().has(stCloseSent|stDead|stGone)
	})
	c.SetEvery(0)
}

func (l *life) letGo() {
	if l.held.Load() {
		select {
		case l.release <- struct{}{}:
		default:
		}
	}
}

// The peer's side.

// say has the peer say something more, as far as it says anything now.
func (l *life) say(p []byte) {
	if !l.ended && !l.cut {
		l.queue = append(l.queue, p...)
		l.pump()
	}
}

// pump gives the kernel what it takes.
func (l *life) pump() {
	n := len(l.queue)
	if l.window >= 0 {
		n = min(n, l.window)
	}
	if n == 0 || l.ended || l.cut || l.heardEnd != nil {
		return
	}
	n, err := netpoll.Send(l.fd, l.queue[:n])
	if err != nil && err != netpoll.ErrWouldBlock {
		l.queue = nil // it is not heard any more
		return
	}
	l.said = append(l.said, l.queue[:n]...)
	l.queue = l.queue[n:]
	if l.window >= 0 {
		l.window -= n
	}
}

// read reads so much of what is there.
func (l *life) read(most int) {
	if l.cut || l.heardEnd != nil {
		return
	}
	buf := make([]byte, most)
	n, err := netpoll.Recv(l.fd, buf)
	if err != nil && err != netpoll.ErrWouldBlock {
		l.heardEnd = err
	}
	l.heard = append(l.heard, buf[:n]...)
}

func (l *life) endStream() {
	if !l.ended && !l.cut {
		l.ended, l.queue = true, nil
		unix.Shutdown(l.fd, unix.SHUT_WR) // which fails if it was reset
	}
}

// leave closes the connection without reading what there still is.
func (l *life) leave(reset bool) {
	if !l.cut {
		l.cut = true
		if reset {
			unix.SetsockoptLinger(l.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(l.fd)
	}
}

// finish is how the peer ends: with a close frame if it can, with the end of its stream, or by leaving.
func (l *life) finish(t *testing.T, ending int) {
	close(l.finished)
	l.window = -1
	if ending >= 2 {
		l.leave(ending == 3)
	}
	if _, half := l.understood(cat(l.said, l.queue)); half || ending == 1 {
		l.pump()
		l.endStream()
	}
	l.say(closeFrame(1000, ""))
	for start := time.Now(); !l.cut && l.heardEnd == nil; {
		l.pump()
		l.read(64 << 10)
		if time.Since(start) > bound {
			t.Fatalf("the server does not end the connection: said %x\nheard %x", l.said, l.heard)
		}
		l.wait()
	}
	l.leave(false)
}

// wait waits until the peer can go on.
func (l *life) wait() {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	if len(l.queue) > 0 {
		fds[0].Events |= unix.POLLOUT
	}
	if !l.cut && l.heardEnd == nil {
		unix.Poll(fds, int(bound.Milliseconds()))
	}
}

// begin is a peer that is about to send its handshake.
func (w *lifeWorld) begin(t *testing.T, setting byte) *life {
	l := &life{fd: w.dial(t, setting), window: -1, release: make(chan struct{}, 1), finished: make(chan struct{})}
	l.id = fmt.Sprint(w.dialed)
	l.tight, l.drop = setting&tapeTight != 0, setting&tapeDrop != 0
	l.lost = setting&tapeLost != 0
	path := fmt.Sprintf("/%d?%s", setting&(tapePool|tapeTight|tapeDrop), l.id)
	if l.lost {
		path = "/lost"
	}
	l.head = upgradeTo(path)
	l.queue = l.head
	w.lives.Store(l.id, l)
	return l
}

// message is one that says which it is, and begins with what the handler is to do about it.
func (l *life) message(command string, more int) string {
	n := l.serial.Add(1)
	return fmt.Sprintf("%s%d%s", command, n, strings.Repeat("-", more))
}
