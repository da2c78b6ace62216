//go:build linux

package server

import (
	"net/http/httptest"
	"testing"

	"golang.org/x/sys/unix"
)

// unreadBy is how many bytes have come to a peer that it did not read.
func unreadBy(t *testing.T, p *peer) (n int) {
	t.Helper()
	raw, err := p.conn.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }))
	must(t, err)
	return n + p.in.Buffered()
}

// TestWaiting: every byte that was taken for a peer is somewhere, and the handle says where.
func TestWaiting(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{Backlog: 1 << 20, Overflow: Refuse, WriteTimeout: -1}))
		p := openWith(t, serve(t, s), "/", smallBuffer)
		c := j.want(t, "open").conn
		if w, err := c.Waiting(); w != (Waiting{}) || err != nil {
			t.Errorf("of nothing there waits %+v, error %v", w, err)
		}
		for outcome := Sent; outcome != Refused; {
			outcome, _ = c.Write(Binary, make([]byte, 10_000))
		}
		var w Waiting
		await(t, "all bytes are where they are said to be", func() bool {
			var err error
			w, err = c.Waiting()
			must(t, err)
			return w.Process+w.Unsent+w.Unacked+unreadBy(t, p) == int(s.Stats().BytesOut)
		})
		if w.Process < 900_000 || w.Process != c.Buffered() || w.Unsent < 100_000 {
			t.Errorf("%+v of %d bytes", w, s.Stats().BytesOut)
		}
		must(t, c.Close())
		gone(t, c)
		if w, err := c.Waiting(); w != (Waiting{}) || err != ErrClosed {
			t.Errorf("of a closed connection: %+v, error %v", w, err)
		}
	})
}

// TestWaitingUnix: a unix socket's kernel holds what the peer did not read.
func TestWaitingUnix(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, _ := onUnix(t, s, Options{WriteTimeout: -1, Overflow: Refuse})
		for outcome := Sent; outcome != Refused; {
			outcome, _ = c.Write(Binary, make([]byte, 10_000))
		}
		w, err := c.Waiting()
		if taken := int(s.Stats().BytesOut); err != nil || w.Process != c.Buffered() || w.Unsent != 0 || w.Unacked < taken-w.Process {
			t.Errorf("%+v of %d bytes, error %v", w, taken, err)
		}
	})
}

// TestWaitingIsNotAnothers: a handle whose descriptor is another connection's by now says nothing of that.
func TestWaitingIsNotAnothers(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{WriteTimeout: -1, Overflow: Refuse}))
		addr := serve(t, s)
		for range 100 {
			p := open(t, addr, "/")
			old := j.want(t, "open").conn
			old.mu.Lock()
			fd := old.fd
			old.mu.Unlock()
			must(t, p.conn.Close())
			j.want(t, "close")
			gone(t, old)
			openWith(t, addr, "/", smallBuffer)
			now := j.want(t, "open").conn
			for outcome := Sent; outcome == Sent; {
				outcome, _ = now.Write(Binary, make([]byte, 100_000))
			}
			now.mu.Lock()
			same := now.fd == fd
			now.mu.Unlock()
			if w, err := old.Waiting(); w != (Waiting{}) || err != ErrClosed {
				t.Fatalf("%+v, error %v", w, err)
			}
			must(t, now.Close())
			j.want(t, "close")
			if same {
				return
			}
		}
		t.Skip("no descriptor was used again")
	})
}

// TestUnsentLowWater: what the kernel takes for a peer that does not read is bounded, each endpoint's way,
// so that what waits does so where a policy sees it.
func TestUnsentLowWater(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/default", j.keep(Options{WriteTimeout: -1}))
		s.Handle("/little", j.keep(Options{WriteTimeout: -1, UnsentLowWater: 16 << 10}))
		s.Handle("/none", j.keep(Options{WriteTimeout: -1, UnsentLowWater: -1}))
		addr := serve(t, s)
		unsent := map[string]int{}
		for _, path := range []string{"/default", "/little", "/none"} {
			openWith(t, addr, path, smallBuffer)
			c := j.want(t, "open").conn
			for c.Buffered() < 100_000 {
				_, err := c.Write(Binary, make([]byte, 4096))
				must(t, err)
			}
			w, err := c.Waiting()
			must(t, err)
			unsent[path] = w.Unsent
			c.mu.Lock()
			got, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
			c.mu.Unlock()
			if want := map[string]int{"/default": defaultUnsentLowWater, "/little": 16 << 10}[path]; max(got, 0) != want || err != nil { // -1 is what MPTCP's listeners say for none
				t.Errorf("%s: the option is %d, want %d, error %v", path, got, want, err)
			}
		}
		const packets = 2 * 64 << 10
		if unsent["/little"] > 16<<10+packets || unsent["/default"] > defaultUnsentLowWater+packets || unsent["/none"] < 1<<20 {
			t.Errorf("the kernel took %v", unsent)
		}
	})
}

// TestUnsentLowWaterMounted: it reaches those too that net/http had first, whose listener is none of ours.
func TestUnsentLowWaterMounted(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		web := httptest.NewServer(s.Handle("/", j.keep(Options{})))
		t.Cleanup(func() { s.Close(); web.Close() })
		open(t, web.Listener.Addr().String(), "/")
		c := j.want(t, "open").conn
		c.mu.Lock()
		defer c.mu.Unlock()
		if got, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); got != defaultUnsentLowWater {
			t.Errorf("the option is %d, error %v", got, err)
		}
	})
}
