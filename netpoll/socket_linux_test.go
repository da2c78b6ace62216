package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(fd, level, name)
	must(t, err)
	return value
}

// checkRaw fails unless fd is as everything in this package wants it.
func checkRaw(t *testing.T, fd int) {
	t.Helper()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: not non-blocking", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v: not closed on exec", flags, err)
	}
	if IsTCP(fd) && option(t, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
		t.Error("TCP_NODELAY is off")
	}
}

func TestRecv(t *testing.T) {
	t.Parallel()
	families(t, func(t *testing.T, pair family) {
		a, b := pair(t)
		buf := make([]byte, 4)
		if n, err := Recv(a.fd, buf); n != 0 || err != ErrWouldBlock {
			t.Errorf("of nothing: %d, %v", n, err)
		}
		b.send("abcdef")
		a.await(unix.POLLIN)
		if n, err := Recv(a.fd, buf); string(buf[:n]) != "abcd" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		must(t, CloseWrite(b.fd))
		if n, err := Recv(a.fd, buf); string(buf[:n]) != "ef" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		a.ends()
		a.ends()
		if n, err := Recv(-1, buf); n != 0 || !errors.Is(err, unix.EBADF) {
			t.Errorf("of no descriptor: %d, %v", n, err)
		}
	})
}

// senders are Send and SendV as one function.
var senders = map[string]func(fd int, p []byte) (int, error){
	"Send":  Send,
	"SendV": func(fd int, p []byte) (int, error) { return SendV(fd, slices.Collect(slices.Chunk(p, 999))) },
}

func TestSend(t *testing.T) {
	t.Parallel()
	for name, send := range senders {
		t.Run(name, func(t *testing.T) {
			families(t, func(t *testing.T, pair family) {
				testPartialSend(t, send, pair)
				testSendToNobody(t, send, pair)
			})
		})
	}
}

// testPartialSend gives more than the kernel takes, and looks whether the stream is what was given.
func testPartialSend(t *testing.T, send func(int, []byte) (int, error), pair family) {
	a, b := pair(t)
	must(t, SetSendBuffer(a.fd, 64<<10))
	const numbers = 1 << 18
	var all []byte
	for i := range numbers {
		all = append(all, byte(i), byte(i>>8), byte(i>>16))
	}
	var got []byte
	var partial, refused bool
	for left := all; len(got) < len(all); {
		for len(left) > 0 {
			n, err := send(a.fd, left)
			if err != nil && (err != ErrWouldBlock || n != 0) {
				t.Fatalf("%d, %v", n, err)
			}
			partial = partial || n > 0 && n < len(left)
			refused = refused || err != nil
			if left = left[n:]; err != nil {
				break
			}
		}
		b.await(unix.POLLIN)
		more, err := b.drain()
		if got = append(got, more...); err != ErrWouldBlock {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, all) || !partial || !refused {
		t.Errorf("the same: %v, taken in part: %v, ErrWouldBlock: %v", bytes.Equal(got, all), partial, refused)
	}
}

// testSendToNobody listens for SIGPIPE, and for another signal that it raises last itself: signals
// that wait are taken by their number, the least first.
func testSendToNobody(t *testing.T, send func(int, []byte) (int, error), pair family) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGPIPE, unix.SIGWINCH)
	defer signal.Stop(signals)
	brokenPipe(t, send, pair)
	must(t, unix.Kill(unix.Getpid(), unix.SIGWINCH))
	if sig := <-signals; sig != unix.SIGWINCH {
		t.Errorf("a broken connection raises %v", sig)
	}
}

func brokenPipe(t *testing.T, send func(int, []byte) (int, error), pair family) {
	t.Helper()
	a, b := pair(t)
	b.close()
	a.await(unix.POLLRDHUP)
	for end := time.Now().Add(bound); ; { // TCP learns by the answer to the first bytes
		n, err := send(a.fd, []byte("anybody there?"))
		if errors.Is(err, unix.EPIPE) && n == 0 {
			return
		}
		if err != nil && !errors.Is(err, unix.ECONNRESET) || time.Now().After(end) {
			t.Fatalf("%d, %v, want EPIPE", n, err)
		}
	}
}

// TestSendVMany gives more slices than the kernel takes in one call (IOV_MAX, 1024).
func TestSendVMany(t *testing.T) {
	t.Parallel()
	a, b := unixPair(t)
	var bufs [][]byte
	for i := range 1500 {
		bufs = append(bufs, fmt.Appendf(nil, "%d,", i))
	}
	all := bytes.Join(bufs, nil)
	n, err := SendV(a.fd, bufs)
	if err != nil || n == 0 || !bytes.HasPrefix(all, all[:n]) {
		t.Fatalf("%d of %d bytes, %v", n, len(all), err)
	}
	b.receives(string(all[:n]))
	if n, err := SendV(a.fd, nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	if n, err := SendV(a.fd, [][]byte{nil, []byte("x"), {}, []byte("y")}); n != 2 || err != nil {
		t.Errorf("with empty slices: %d, %v", n, err)
	}
	b.receives("xy")
}

func TestSocketOptions(t *testing.T) {
	t.Parallel()
	a, _ := tcpPair(t)
	must(t, SetSendBuffer(a.fd, 50_000))
	if got := option(t, a.fd, unix.SOL_SOCKET, unix.SO_SNDBUF); got != 100_000 {
		t.Errorf("SO_SNDBUF is %d, want twice what was set", got)
	}
	u, _ := unixPair(t)
	for name, err := range map[string]error{
		"TCP_NODELAY": SetNoDelay(u.fd),
		"SO_SNDBUF":   SetSendBuffer(-1, 1),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error %v does not name %s", err, name)
		}
	}
}

// TestSpare: a spare descriptor is one, and is not passed on.
func TestSpare(t *testing.T) {
	t.Parallel()
	fd, err := Spare()
	must(t, err)
	checkRaw(t, fd)
	must(t, Close(fd))
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]struct{ transient, exhausted bool }{
		os.NewSyscallError("accept4", unix.EPROTO):                      {transient: true},
		os.NewSyscallError("accept4", unix.EPERM):                       {transient: true},
		os.NewSyscallError("accept4", unix.EMFILE):                      {exhausted: true},
		os.NewSyscallError("socket", unix.ENFILE):                       {exhausted: true},
		fmt.Errorf("wrapped: %w", os.NewSyscallError("x", unix.ENOMEM)): {exhausted: true},
		setInt(-1, unix.SOL_SOCKET, unix.SO_SNDBUF, "SO_SNDBUF", 1):     {},
		os.NewSyscallError("accept4", unix.EINVAL):                      {},
		syscall.EMFILE: {exhausted: true},
		ErrWouldBlock:  {},
		io.EOF:         {},
	} {
		if IsTransient(err) != want.transient || IsExhausted(err) != want.exhausted {
			t.Errorf("%v: transient %v, exhausted %v", err, IsTransient(err), IsExhausted(err))
		}
	}
	if IsTransient(nil) || IsExhausted(nil) {
		t.Error("no error is an error")
	}
}

// TestUnsentLowWater: a socket takes so much that it can't send, and little more; all of it is accounted for.
func TestUnsentLowWater(t *testing.T) {
	t.Parallel()
	const mark, packets = 32 << 10, 2 * 64 << 10
	a, b := tcpPair(t)
	must(t, SetUnsentLowWater(a.fd, mark))
	taken := 0
	for deadline := time.Now().Add(5 * time.Second); ; {
		n, err := Send(a.fd, make([]byte, 1000))
		if taken += n; err == nil {
			continue
		}
		// It says so for a moment too when the peer's kernel is about to take more.
		unsent, unacked, err := SendQueue(a.fd)
		if must(t, err); unsent >= mark && unsent+unacked+unread(b.fd) == taken && !a.is(unix.POLLOUT, 50*time.Millisecond) {
			if unsent > mark+packets {
				t.Errorf("%d unsent", unsent)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d unsent, %d unacknowledged and %d unread of %d", unsent, unacked, unread(b.fd), taken)
		}
	}
	if SetUnsentLowWater(-1, 1) == nil {
		t.Error("set on no descriptor")
	}
	local, _ := unixPair(t)
	if SetUnsentLowWater(local.fd, 1) == nil {
		t.Error("set on a unix socket")
	}
}

// TestSendQueue: what was sent to a peer that did not read it, by its kind of socket.
func TestSendQueue(t *testing.T) {
	t.Parallel()
	families(t, func(t *testing.T, pair family) {
		a, b := pair(t)
		if unsent, unacked, err := SendQueue(a.fd); unsent != 0 || unacked != 0 || err != nil {
			t.Errorf("of nothing: %d, %d, %v", unsent, unacked, err)
		}
		taken := a.fill()
		unsent, unacked, err := SendQueue(a.fd)
		if tcp := IsTCP(a.fd); err != nil || tcp && unsent+unacked+unread(b.fd) != taken || !tcp && (unsent != 0 || unacked < taken) {
			t.Errorf("%d unsent and %d unacknowledged of %d, error %v", unsent, unacked, taken, err)
		}
	})
	if _, _, err := SendQueue(-1); err == nil {
		t.Error("asked of no descriptor")
	}
}
