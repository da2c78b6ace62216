package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// serveFloor is what a tick costs when nothing is done but the system call: the least that any
// server can spend. It holds a slice of descriptors and has no protocol beyond the answer to the
// upgrade, so it does not echo, and it finds out that a peer left when a write fails.
//
// Every connection is written to in one burst a second, in the order in which they came: nothing is
// cheaper, and the first tick comes within the first second instead of at its end.
func serveFloor(addr string) error {
	ln, err := netpoll.Listen(addr, false)
	if err != nil {
		return err
	}
	f := &floor{frame: ws.MustCompileFrame(ws.NewTextFrame([]byte(woohoo)))}
	go f.tick()
	for {
		waitReadable(ln.FD, -1)
		for {
			fd, _, err := netpoll.Accept(ln.FD)
			if err == netpoll.ErrWouldBlock {
				break
			}
			if err != nil {
				return err
			}
			f.admit(fd)
		}
	}
}

type floor struct {
	frame []byte

	mu      sync.Mutex
	sockets []int
}

// admit answers the upgrade at once, before the next connection is accepted. A peer that dawdles
// with its request holds up the others: the floor is for friendly clients.
func (f *floor) admit(fd int) {
	if !answerUpgrade(fd) {
		unix.Close(fd)
		return
	}
	f.mu.Lock()
	f.sockets = append(f.sockets, fd)
	f.mu.Unlock()
}

func answerUpgrade(fd int) bool {
	var buf [2048]byte
	waitReadable(fd, time.Second)
	n, err := netpoll.Recv(fd, buf[:])
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(buf[:n], []byte("\r\nSec-WebSocket-Key: "))
	if !ok {
		return false
	}
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	n, err = netpoll.Send(fd, []byte(answer))
	return err == nil && n == len(answer)
}

func waitReadable(fd int, timeout time.Duration) {
	ms := -1
	if timeout >= 0 {
		ms = int(timeout.Milliseconds())
	}
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
}

// tick keeps a thread to itself, so that no hand-over between threads is counted as its cost.
func (f *floor) tick() {
	runtime.LockOSThread()
	due := time.Now().Add(every)
	for {
		time.Sleep(time.Until(due))
		f.burst()
		due = due.Add(every)
	}
}

func (f *floor) burst() {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.sockets[:0]
	for _, fd := range f.sockets {
		switch rawWrite(fd, f.frame) {
		case 0, unix.EAGAIN:
			open = append(open, fd)
		default:
			unix.Close(fd)
		}
	}
	f.sockets = open
}

// rawWrite bypasses the scheduler's bookkeeping around system calls. It must not be inlined: a loop
// that contains the call itself has no point where garbage collection could stop it.
//
//go:noinline
func rawWrite(fd int, p []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return errno
}
