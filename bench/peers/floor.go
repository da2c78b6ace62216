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
// Connections are written to in bursts, as many as given in a period, in the order in which they came.
// In one burst nothing could be cheaper: the reader on the same machine falls behind, and need not be
// woken any more. Spread over the period the same write costs more, because each burst finds the
// processor asleep, its caches cold and the reader waiting to be woken.
func serveFloor(s *settings, bursts int) error {
	ln, err := netpoll.Listen(s.addr, false)
	if err != nil {
		return err
	}
	f := &floor{frame: gobwasFrame(ws.OpText, []byte(woohoo)), groups: make([][]int, bursts)}
	s.count("ticked", f.len)
	go f.tick(s.every)
	for {
		waitReadable(ln.FD, time.Hour)
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

	// Scratch of the goroutine that accepts, so that a connection leaves nothing to be collected.
	request [2048]byte
	answer  []byte

	mu     sync.Mutex
	groups [][]int // each is a burst
	joined int
}

// admit answers the upgrade at once, before the next connection is accepted. A peer that dawdles
// with its request holds up the others: the floor is for friendly clients.
func (f *floor) admit(fd int) {
	if !f.upgrade(fd) {
		unix.Close(fd)
		return
	}
	f.mu.Lock()
	g := &f.groups[f.joined%len(f.groups)]
	*g = append(*g, fd)
	f.joined++
	f.mu.Unlock()
}

func (f *floor) len() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		n += len(g)
	}
	return n
}

func (f *floor) upgrade(fd int) bool {
	waitReadable(fd, time.Second)
	n, err := netpoll.Recv(fd, f.request[:])
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(f.request[:n], []byte("\r\nSec-WebSocket-Key: "))
	if !ok {
		return false
	}
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	f.answer = append(append(f.answer[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)
	sum := sha1.Sum(f.answer)
	f.answer = append(f.answer[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Accept: "...)
	f.answer = append(base64.StdEncoding.AppendEncode(f.answer, sum[:]), "\r\n\r\n"...)
	n, err = netpoll.Send(fd, f.answer)
	return err == nil && n == len(f.answer)
}

// waitReadable holds its thread; a signal, of which the runtime sends many, does not end it.
func waitReadable(fd int, timeout time.Duration) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, int(timeout.Milliseconds()))
		if err != unix.EINTR {
			return
		}
	}
}

// tick keeps a thread to itself, so that no hand-over between threads is counted as its cost.
func (f *floor) tick(every time.Duration) {
	runtime.LockOSThread()
	due := time.Now().Add(every)
	for i := 0; ; i++ {
		time.Sleep(time.Until(due))
		f.burst(&f.groups[i%len(f.groups)])
		due = due.Add(every / time.Duration(len(f.groups)))
	}
}

func (f *floor) burst(sockets *[]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := (*sockets)[:0]
	for _, fd := range *sockets {
		switch rawWrite(fd, f.frame) {
		case 0, unix.EAGAIN:
			open = append(open, fd)
		default:
			unix.Close(fd)
		}
	}
	*sockets = open
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
