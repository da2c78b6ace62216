package netpoll

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAcked: what was sent is outstanding until the other end's kernel has acknowledged it, and an
// acknowledgement is new when it comes. Where there are none, it says so.
func TestAcked(t *testing.T) {
	t.Parallel()
	a, b := tcpPair(t)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // until time has passed since the handshake
		if acks, ok := Acked(a.fd); !ok || acks.Outstanding {
			t.Fatalf("%+v, %v", acks, ok)
		} else if acks.Since >= 20*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the last acknowledgement does not age")
		}
	}
	before := time.Now()
	a.send("x")
	b.receives("x")
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		acks, _ := Acked(a.fd)
		if !acks.Outstanding && acks.Since <= time.Since(before)+10*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not acknowledged: %+v", acks)
		}
	}
	a.fill()
	if acks, ok := Acked(a.fd); !ok || !acks.Outstanding {
		t.Errorf("full: %+v, %v", acks, ok)
	}
	local, _ := unixPair(t)
	for _, fd := range []int{local.fd, -1} {
		if acks, ok := Acked(fd); ok || acks != (Acks{}) {
			t.Errorf("descriptor %d: %+v, %v", fd, acks, ok)
		}
	}
}

// TestUnacked: what the kernel holds for the other end goes when that has it, or has read it.
func TestUnacked(t *testing.T) {
	t.Parallel()
	families(t, func(t *testing.T, pair family) {
		a, b := pair(t)
		if n := Unacked(a.fd); n != 0 {
			t.Errorf("of nothing: %d", n)
		}
		taken := a.fill()
		if n := Unacked(a.fd); n < taken-unread(b.fd) || n == 0 {
			t.Errorf("%d of %d bytes, of which %d have come", n, taken, unread(b.fd))
		}
		for n := 0; n < taken; {
			m, err := Recv(b.fd, make([]byte, 64<<10))
			if err == ErrWouldBlock {
				b.await(unix.POLLIN)
				continue
			}
			must(t, err)
			n += m
		}
		for deadline := time.Now().Add(5 * time.Second); Unacked(a.fd) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes are left", Unacked(a.fd))
			}
		}
	})
	if n := Unacked(-1); n != 0 {
		t.Errorf("of no descriptor: %d", n)
	}
}

// unread returns the bytes that have come and were not read yet.
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// BenchmarkAcked is to be held against BenchmarkPing: what asking the kernel saves.
func BenchmarkAcked(b *testing.B) {
	x, _ := tcpPair(b)
	for b.Loop() {
		if _, ok := Acked(x.fd); !ok {
			b.Fatal("not told")
		}
	}
}

// BenchmarkPing is what a ping costs this side without the ways there and back: a small send.
func BenchmarkPing(b *testing.B) {
	x, y := tcpPair(b)
	frame, buf := []byte{0x89, 0}, make([]byte, 2)
	for b.Loop() {
		Send(x.fd, frame)
		if _, err := Recv(y.fd, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAcceptQueue: those who have connected and were not accepted, and nothing of a socket that is no TCP
// listener.
func TestAcceptQueue(t *testing.T) {
	t.Parallel()
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for want := range 4 {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			n, most, ok := AcceptQueue(l.FD)
			if ok && n == want && most >= 4 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d wait, %v, want %d", n, most, ok, want)
			}
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	a, _ := tcpPair(t)
	u, _ := unixPair(t)
	for _, fd := range []int{a.fd, u.fd, -1} {
		if n, most, ok := AcceptQueue(fd); ok || n != 0 || most != 0 {
			t.Errorf("descriptor %d: %d of %d, %v", fd, n, most, ok)
		}
	}
}
