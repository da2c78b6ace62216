package netpoll

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			l := listen(t, loopback(t, host))
			if fd, _, err := Accept(l.FD); fd != -1 || err != ErrWouldBlock {
				t.Fatalf("of nobody: %d, %v", fd, err)
			}
			checkRaw(t, l.FD)
			client := dial(t, l)
			server, peer := accept(t, l)
			checkRaw(t, server.fd)
			if want, err := LocalAddr(client.fd); peer != want || err != nil {
				t.Errorf("peer %v, want %v, %v", peer, want, err)
			}
		})
	}
	if fd, _, err := Accept(-1); fd != -1 || !errors.Is(err, unix.EBADF) {
		t.Errorf("of no descriptor: %d, %v", fd, err)
	}
}

// TestAcceptNeverBlocks: whoever hands a listener to a child process makes it a blocking one for all
// who have a duplicate.
func TestAcceptNeverBlocks(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	dup, err := l.original.(*net.TCPListener).File()
	must(t, err)
	defer dup.Close()
	if dup.Fd(); !blocks(l.FD) {
		t.Fatal("it does not, so this tests nothing")
	}
	accepted := make(chan error, 1)
	go func() {
		_, _, err := Accept(l.FD)
		accepted <- err
	}()
	select {
	case err := <-accepted:
		if err != ErrWouldBlock {
			t.Errorf("of nobody: %v", err)
		}
	case <-time.After(bound):
		dial(t, l) // lets it go
		t.Error("it blocks")
	}
}

// TestAcceptMapped: who comes by IPv4 to a listener on both has an IPv4 address.
func TestAcceptMapped(t *testing.T) {
	t.Parallel()
	loopback(t, "::1")
	l := listen(t, ":0")
	fd, err := Connect(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addressOf(l).Port()), netip.Addr{})
	must(t, err)
	own(t, fd)
	if _, peer := accept(t, l); peer.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("peer %v", peer)
	}
}

// TestListenerIsReadable: each connection is an edge, whether or not the last was accepted.
func TestListenerIsReadable(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, b Backend) {
		p, l := open(t, b), listen(t, "127.0.0.1:0")
		must(t, p.Add(l.FD, 1, Read))
		quiet(t, p)
		for range 3 {
			dial(t, l)
			expect(t, p, 1, Readable)
			quiet(t, p)
		}
		for range 3 {
			accept(t, l)
		}
		if _, _, err := Accept(l.FD); err != ErrWouldBlock {
			t.Errorf("then %v", err)
		}
		must(t, p.Remove(l.FD))
	})
}

func TestListenTaken(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	for _, reusePort := range []bool{false, true} {
		_, err := Listen(l.Addr().String(), reusePort)
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("the error does not tell what is wrong, and where: %v", err)
		}
	}
}

func TestReusePort(t *testing.T) {
	t.Parallel()
	first, err := Listen("127.0.0.1:0", true)
	must(t, err)
	second, err := Listen(first.Addr().String(), true)
	must(t, err)
	p := open(t, Epoll)
	must(t, p.Add(first.FD, 1, Read))
	must(t, p.Add(second.FD, 2, Read))
	seen := map[Token]bool{}
	for range 200 { // the kernel spreads by hash: all to one side is 2 to the -200
		dial(t, first).close()
		for _, ev := range wait(t, p, bound) {
			seen[ev.Token] = true
		}
		if len(seen) == 2 {
			break
		}
	}
	if len(seen) != 2 {
		t.Errorf("only %v of two listeners are heard", seen)
	}
	must(t, p.Remove(first.FD))
	must(t, p.Remove(second.FD))
	must(t, first.Close())
	must(t, second.Close())
}

func TestFromListenerTCP(t *testing.T) {
	t.Parallel()
	original, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l, err := FromListener(original)
	must(t, err)
	if l.Addr() != original.Addr() {
		t.Errorf("address %v, want %v", l.Addr(), original.Addr())
	}
	dial(t, l)
	server, _ := accept(t, l)
	checkRaw(t, server.fd)
	must(t, l.Close())
	if _, err := original.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the original goes on: %v", err)
	}
	if fd, err := Connect(addressOf(l), netip.Addr{}); err == nil {
		s := own(t, fd)
		s.await(unix.POLLOUT)
		checkRefused(t, ConnectError(fd))
	}
}

func TestFromListenerUnix(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "netpoll") // t.TempDir may be longer than such a path can be
	must(t, err)
	defer os.RemoveAll(dir)
	path := dir + "/socket"
	original, err := net.Listen("unix", path)
	must(t, err)
	l, err := FromListener(original)
	must(t, err)
	for range 2 {
		conn, err := net.Dial("unix", path)
		must(t, err)
		server, peer := accept(t, l)
		if peer.IsValid() {
			t.Errorf("the peer of a unix socket is %v", peer)
		}
		checkRaw(t, server.fd)
		conn.Write([]byte("hello"))
		server.receives("hello")
		must(t, conn.Close())
		server.ends()
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the path is gone while in use: %v", err)
	}
	must(t, l.Close())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is left behind: %v", err)
	}
}

// plainListener hides the descriptor of the listener in it.
type plainListener struct{ net.Listener }

func TestFromListenerRefuses(t *testing.T) {
	t.Parallel()
	original, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	for _, l := range []net.Listener{plainListener{original}, tls.NewListener(original, &tls.Config{})} {
		if _, err := FromListener(l); err == nil || !strings.Contains(err.Error(), "no descriptor") {
			t.Errorf("a %T: %v", l, err)
		}
	}
	conn, err := net.Dial("tcp", original.Addr().String()) // it is still the caller's, and works
	must(t, err)
	must(t, conn.Close())
	must(t, original.Close())
	if _, err := FromListener(original); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// TestListenerClosesOnce is not parallel, so that nobody else opens the number.
func TestListenerClosesOnce(t *testing.T) {
	l, err := Listen("127.0.0.1:0", false)
	must(t, err)
	must(t, l.Close())
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, l.FD)
	must(t, err)
	if other := own(t, fd); other.fd != l.FD {
		t.Fatalf("descriptor %d was not given back", l.FD)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("it closed a descriptor of somebody else: %v", err)
	}
}

// TestAcceptExhausted is not parallel: for a moment no descriptor can be opened in this process.
func TestAcceptExhausted(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	dial(t, l)
	(&sock{t, l.FD}).await(unix.POLLIN)
	err := withDescriptors(t, 0, func() error {
		fd, _, err := Accept(l.FD)
		if fd != -1 {
			t.Errorf("descriptor %d", fd)
		}
		return err
	})
	if !IsExhausted(err) || IsTransient(err) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v", err)
	}
	accept(t, l) // it waited
	err = withDescriptors(t, 0, func() error {
		_, err := Connect(addressOf(l), netip.Addr{})
		return err
	})
	if !IsExhausted(err) {
		t.Errorf("Connect: %v", err)
	}
}

// TestListenExhausted gets as far as a listener, but not to a descriptor of its own for it.
func TestListenExhausted(t *testing.T) {
	free := nextDescriptor(t)
	err := withDescriptors(t, 1, func() error {
		_, err := Listen("127.0.0.1:0", false)
		return err
	})
	if !IsExhausted(err) {
		t.Errorf("Listen: %v", err)
	}
	if nextDescriptor(t) != free {
		t.Error("the listener is left open")
	}
}

// nextDescriptor is the number that will be opened next.
func nextDescriptor(t *testing.T) int {
	t.Helper()
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	must(t, Close(next))
	return next
}

// withDescriptors calls f while no more than n can be opened.
func withDescriptors(t *testing.T, n int, f func() error) error {
	t.Helper()
	next := nextDescriptor(t)
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }()
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(next + n), Max: limit.Max}))
	return f()
}
