//go:build linux

package netpoll

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sock is a raw descriptor that the test owns. It is closed when the test ends, if not before.
type sock struct {
	t  testing.TB
	fd int
}

func own(t testing.TB, fd int) *sock {
	s := &sock{t: t, fd: fd}
	t.Cleanup(s.close)
	return s
}

func (s *sock) close() {
	if s.fd >= 0 {
		must(s.t, Close(s.fd))
	}
	s.fd = -1
}

// replaceBy closes the descriptor and opens its number anew on what o is, in one step, so that no
// test that runs beside this one gets hold of the number.
func (s *sock) replaceBy(o *sock) {
	s.t.Helper()
	must(s.t, unix.Dup3(o.fd, s.fd, unix.O_CLOEXEC))
	o.close()
}

// await blocks until poll(2) reports any of events, which leaves the edges of pollers alone.
func (s *sock) await(events int16) {
	s.t.Helper()
	if !s.is(events, bound) {
		s.t.Fatalf("poll: nothing of %#x after %v", events, bound)
	}
}

func (s *sock) is(events int16, timeout time.Duration) bool {
	s.t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, int(timeout.Milliseconds()))
		if err != unix.EINTR {
			must(s.t, err)
			return n > 0
		}
	}
}

func (s *sock) send(text string) {
	s.t.Helper()
	if n, err := Send(s.fd, []byte(text)); n != len(text) || err != nil {
		s.t.Fatalf("Send of %d bytes: %d, %v", len(text), n, err)
	}
}

// drain reads until ErrWouldBlock or the end of the stream.
func (s *sock) drain() (text string, err error) {
	buf := make([]byte, 4096)
	for {
		n, err := Recv(s.fd, buf)
		if err != nil {
			return text, err
		}
		text += string(buf[:n])
	}
}

// receives fails unless what comes is text.
func (s *sock) receives(text string) {
	s.t.Helper()
	var got string
	for len(got) < len(text) {
		s.await(unix.POLLIN)
		more, err := s.drain()
		if got += more; err != ErrWouldBlock && len(got) < len(text) {
			s.t.Fatalf("received %q and then %v, want %q", got, err, text)
		}
	}
	if got != text {
		s.t.Fatalf("received %q, want %q", got, text)
	}
}

// ends fails unless the stream has ended.
func (s *sock) ends() {
	s.t.Helper()
	s.await(unix.POLLIN)
	if n, err := Recv(s.fd, make([]byte, 1)); n != 0 || err != io.EOF {
		s.t.Fatalf("Recv: %d, %v, want EOF", n, err)
	}
}

// fill sends until the socket takes nothing and, for a while, room does not return by itself: the
// peer's kernel may still acknowledge something, which TCP puts off for up to 40 ms.
func (s *sock) fill() (sent int) {
	s.t.Helper()
	must(s.t, SetSendBuffer(s.fd, 64<<10)) // or else TCP takes megabytes
	chunk := make([]byte, 64<<10)
	for {
		n, err := Send(s.fd, chunk)
		if sent += n; err == nil {
			continue
		}
		if !errors.Is(err, ErrWouldBlock) {
			s.t.Fatalf("Send: %v", err)
		}
		if !s.is(unix.POLLOUT, 50*time.Millisecond) {
			return sent
		}
	}
}

// sink reads from a duplicate, on a goroutine of its own, until the stream ends.
func (s *sock) sink() {
	s.t.Helper()
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	must(s.t, err)
	conn, err := NetConn(fd)
	must(s.t, err)
	go func() {
		defer conn.Close()
		io.Copy(io.Discard, conn)
	}()
}

// eventFD is a descriptor that is readable as often as count grows from zero.
func eventFD(t testing.TB, count uint) *sock {
	t.Helper()
	fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	must(t, err)
	return own(t, fd)
}

var oneMore = binary.NativeEndian.AppendUint64(nil, 1)

// kick makes an eventFD readable, as a new edge.
func (s *sock) kick() {
	s.t.Helper()
	_, err := unix.Write(s.fd, oneMore)
	must(s.t, err)
}

// family opens both ends of a new connection.
type family func(testing.TB) (a, b *sock)

// families runs test on each kind of stream.
func families(t *testing.T, test func(t *testing.T, pair family)) {
	t.Run("tcp", func(t *testing.T) { test(t, tcpPair) })
	t.Run("unix", func(t *testing.T) { test(t, unixPair) })
}

func unixPair(t testing.TB) (a, b *sock) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return own(t, fds[0]), own(t, fds[1])
}

func tcpPair(t testing.TB) (a, b *sock) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	b = dial(t, l)
	a, _ = accept(t, l)
	return a, b
}

// listen opens a listener for the time of the test.
func listen(t testing.TB, addr string) *Listener {
	t.Helper()
	l, err := Listen(addr, false)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects to l from wherever the kernel likes.
func dial(t testing.TB, l *Listener) *sock {
	t.Helper()
	fd, err := Connect(netip.MustParseAddrPort(l.Addr().String()), netip.Addr{})
	must(t, err)
	s := own(t, fd)
	s.await(unix.POLLOUT)
	must(t, ConnectError(fd))
	return s
}

// accept takes the next connection, which may be on its way still.
func accept(t testing.TB, l *Listener) (*sock, netip.AddrPort) {
	t.Helper()
	(&sock{t, l.FD}).await(unix.POLLIN)
	fd, peer, err := Accept(l.FD)
	must(t, err)
	return own(t, fd), peer
}

// reset ends the connection of a and b so that a has an error to report: by a reset on TCP, and on
// a unix socket by closing the other end before it was read empty.
func reset(t testing.TB, a, b *sock) {
	t.Helper()
	if IsTCP(b.fd) {
		must(t, unix.SetsockoptLinger(b.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	} else {
		a.send("never read")
	}
	b.close()
}
