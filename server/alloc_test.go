//go:build linux

package server

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// What runs for each tick and each message allocates nothing. These tests are not parallel, because
// what others allocate would count.

// bare is a client that allocates nothing: a blocking descriptor, and a buffer.
type bare struct {
	t   testing.TB
	fd  int
	buf []byte
}

// bareClient upgrades, and goes on with the bare descriptor.
func bareClient(t testing.TB, addr, path string) *bare {
	t.Helper()
	p := open(t, addr, path)
	raw, err := p.conn.SyscallConn()
	must(t, err)
	b := &bare{t: t, buf: make([]byte, 4096)}
	must(t, raw.Control(func(fd uintptr) { b.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }))
	must(t, err)
	must(t, p.conn.Close())
	must(t, unix.SetNonblock(b.fd, false))
	patience := unix.NsecToTimeval(bound.Nanoseconds())
	must(t, unix.SetsockoptTimeval(b.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
	t.Cleanup(b.close)
	return b // what the server said with its answer were whole frames, which nobody misses
}

func (b *bare) close() {
	if b.fd >= 0 {
		unix.Close(b.fd)
		b.fd = -1
	}
}

// take reads so many bytes.
func (b *bare) take(n int) {
	for n > 0 {
		got, err := unix.Read(b.fd, b.buf[:min(n, len(b.buf))])
		if err == unix.EINTR {
			continue
		}
		if got <= 0 || err != nil {
			b.t.Fatalf("read: %d, %v", got, err)
		}
		n -= got
	}
}

func (b *bare) give(p []byte) {
	if n, err := unix.Write(b.fd, p); n != len(p) || err != nil {
		b.t.Fatalf("write: %d, %v", n, err)
	}
}

// allocations counts what the whole process allocates while f runs n times, after it ran warm.
func allocations(n int, f func()) uint64 {
	for range n / 4 {
		f()
	}
	// A collection empties the pools, which is not what is measured.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f()
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// raceEnabled: the race detector has the pools forget what they are given, so that allocations say
// nothing with it. The tests run all the same.
var raceEnabled = func() bool {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-race" && setting.Value == "true" {
			return true
		}
	}
	return false
}()

// allocatesNothing takes a few for what the runtime and the test itself do meanwhile, and tries
// again when there are more: others' timers may have run.
func allocatesNothing(t *testing.T, what string, n int, f func()) {
	t.Helper()
	var got uint64
	for range 3 {
		if got = allocations(n, f); got <= uint64(n)/100 || raceEnabled {
			return
		}
	}
	t.Errorf("%s: %d allocations in %d", what, got, n)
}

// TestInvariant7Echo: the echo of a small message allocates nothing, however it comes.
func TestInvariant7Echo(t *testing.T) {
	s := &Server{Logger: quiet} // on epoll: easygo hands events over, and allocates by itself
	s.Handle("/", Options{OnMessage: echo})
	b := bareClient(t, serve(t, s), "/")
	for _, c := range []struct {
		name  string
		gives []byte
		takes int
	}{
		{"a small one", frame(ws.OpText, strings.Repeat("x", 64)), 2 + 64},
		{"1 KB", frame(ws.OpBinary, strings.Repeat("x", 1024)), 4 + 1024},
		{"a ping", frame(ws.OpPing, "ping"), 2 + 4},
	} {
		allocatesNothing(t, c.name, 2000, func() { b.give(c.gives); b.take(c.takes) })
	}
}

// TestInvariant7Upgrade: reading a handshake, judging it and answering allocates nothing, and the
// offer that browsers make changes nothing of that.
func TestInvariant7Upgrade(t *testing.T) {
	s := &Server{Logger: quiet}
	ep := s.Handle("/", Options{Compression: Compression{Enabled: true}, Subprotocols: []string{"chat"}})
	const browsers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
	for _, head := range [][]byte{upgradeTo("/"), upgradeTo("/", "Sec-WebSocket-Protocol: x, chat"), upgradeTo("/", browsers)} {
		r, answer := new(Request), make([]byte, 0, 1024)
		n := testing.AllocsPerRun(100, func() {
			raw, _, _ := cutHead(head, 0)
			must(t, r.parse(raw))
			var err error
			r.agreed, err = ep.judge(&r.head)
			must(t, err)
			answer = appendUpgrade(answer[:0], r.head.key, &r.agreed)
		})
		if n != 0 {
			t.Errorf("%v allocations for %q", n, head)
		}
	}
}

// TestInvariant7Tick: a tick of a prepared message allocates nothing.
func TestInvariant7Tick(t *testing.T) {
	s := &Server{Logger: quiet}
	woo := PrepareText("Woohoo!")
	s.Handle("/", Options{Every: time.Millisecond, OnTick: func(c *Conn) { c.Send(woo) }})
	text := []byte("Woohoo!")
	s.Handle("/written", Options{Every: time.Millisecond, OnTick: func(c *Conn) { c.Write(Text, text) }})
	addr := serve(t, s)
	for _, path := range []string{"/", "/written"} {
		b := bareClient(t, addr, path)
		allocatesNothing(t, "ticks of "+path, 500, func() { b.take(woo.Len()) })
		b.close()
	}
}
