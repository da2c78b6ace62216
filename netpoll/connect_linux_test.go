package netpoll

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConnect(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			addr := loopback(t, host)
			l := listen(t, addr)
			client := dial(t, l)
			checkRaw(t, client.fd)
			server, peer := accept(t, l)
			local, err := LocalAddr(client.fd)
			if err != nil || local != peer || peer.Addr() != netip.MustParseAddr(host) {
				t.Errorf("the peer is %v, and calls itself %v, %v", peer, local, err)
			}
			for end, want := range map[*sock]netip.AddrPort{client: addressOf(l), server: peer} {
				if remote, err := RemoteAddr(end.fd); remote != want || err != nil {
					t.Errorf("RemoteAddr is %v, %v, want %v", remote, err, want)
				}
			}
		})
	}
}

// loopback is a free port of host, or skips the test on a machine that has no such host.
func loopback(t *testing.T, host string) string {
	addr := net.JoinHostPort(host, "0")
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	l.Close()
	return addr
}

func addressOf(l *Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

func TestConnectFromSource(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	for _, source := range []string{"127.0.0.2", "127.0.1.3"} {
		fd, err := Connect(addressOf(l), netip.MustParseAddr(source))
		must(t, err)
		own(t, fd)
		if _, peer := accept(t, l); peer.Addr().String() != source {
			t.Errorf("from %v, want %v", peer, source)
		}
	}
	for _, source := range []string{"192.0.2.1", "::1"} { // not here, and of the other family
		if fd, err := Connect(addressOf(l), netip.MustParseAddr(source)); err == nil || fd != -1 {
			t.Errorf("from %s: descriptor %d, %v", source, fd, err)
		}
	}
}

// TestConnectEnds: an attempt is over when its descriptor is Writable, however it ended.
func TestConnectEnds(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, b Backend) {
		p, l := open(t, b), listen(t, "127.0.0.1:0")
		fd, err := Connect(addressOf(l), netip.Addr{})
		must(t, err)
		add(t, p, own(t, fd), 1, Read|Write)
		expect(t, p, 1, Writable)
		must(t, ConnectError(fd))
		refusing := refusal(t)
		if fd, err = Connect(refusing, netip.Addr{}); err != nil {
			checkRefused(t, err) // loopback may answer before connect returns
			return
		}
		add(t, p, own(t, fd), 2, Write)
		expect(t, p, 2, Readable|Writable|HangUp|Failed)
		checkRefused(t, ConnectError(fd))
	})
}

// refusal is an address where nobody listens: the port is bound, so nobody else gets it meanwhile.
func refusal(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	own(t, fd)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	addr, err := LocalAddr(fd)
	must(t, err)
	return addr
}

func checkRefused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, unix.ECONNREFUSED) || !strings.Contains(err.Error(), "connect") {
		t.Errorf("got %v, want a refused connect", err)
	}
}

func TestUnixHasNoAddrPort(t *testing.T) {
	t.Parallel()
	a, _ := unixPair(t)
	for _, of := range []func(int) (netip.AddrPort, error){LocalAddr, RemoteAddr} {
		if addr, err := of(a.fd); addr.IsValid() || err != nil {
			t.Errorf("%v, %v", addr, err)
		}
	}
	if IsTCP(a.fd) {
		t.Error("a unix socket is TCP")
	}
	if _, err := RemoteAddr(-1); err == nil {
		t.Error("no descriptor has an address")
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	accepted, err := l.Accept()
	must(t, err)
	fd, err := Take(accepted.(*net.TCPConn))
	must(t, err)
	taken := own(t, fd)
	checkRaw(t, fd)
	must(t, accepted.Close())
	checkRaw(t, fd)
	if n, err := Recv(fd, make([]byte, 1)); err != ErrWouldBlock {
		t.Errorf("Recv: %d, %v", n, err)
	}
	conn.Write([]byte("still there?"))
	taken.receives("still there?")
	taken.send("yes")
	buf := make([]byte, 3)
	if _, err := io.ReadFull(conn, buf); string(buf) != "yes" {
		t.Errorf("%q, %v", buf, err)
	}
	if fd, err := Take(accepted.(*net.TCPConn)); err == nil || fd != -1 {
		t.Errorf("of a closed connection: %d, %v", fd, err)
	}
}

// TestTakeBlocking takes a connection that somebody made blocking, as File and Fd do.
func TestTakeBlocking(t *testing.T) {
	t.Parallel()
	a, _ := tcpPair(t)
	fd, err := unix.FcntlInt(uintptr(a.fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	conn, err := NetConn(fd)
	must(t, err)
	defer conn.Close()
	must(t, unix.SetNonblock(a.fd, false))
	fd, err = Take(conn.(*net.TCPConn))
	must(t, err)
	own(t, fd)
	checkRaw(t, fd)
}

func TestNetConn(t *testing.T) {
	t.Parallel()
	families(t, func(t *testing.T, pair family) {
		a, b := pair(t)
		conn, err := NetConn(a.fd)
		a.fd = -1 // now conn's
		must(t, err)
		conn.Write([]byte("through net"))
		b.receives("through net")
		must(t, conn.Close())
		b.ends()
	})
}

// TestReset ends a connection. The peer has a reset and not
// the end of the stream, and the descriptor is closed. It is not parallel, because another test
// could get the number in between, and lose its descriptor to the second Reset.
func TestReset(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	fd, err := Connect(addressOf(l), netip.Addr{})
	must(t, err)
	server, _ := accept(t, l)
	must(t, Reset(fd))
	if err := Reset(fd); !errors.Is(err, unix.EBADF) {
		t.Errorf("a second time: %v", err)
	}
	if n, err := Recv(server.fd, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer reads %d, %v", n, err)
	}
}
