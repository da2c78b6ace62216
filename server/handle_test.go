//go:build linux

package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// descriptor is the number that a connection's descriptor has.
func descriptor(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.fd)
}

// TestInvariant5DescriptorReused: a handle to a closed connection answers ErrClosed, and nothing that
// is done with it reaches the connection that got its descriptor's number.
func TestInvariant5DescriptorReused(t *testing.T) {
	// Not parallel, because others would get the number.
	for _, backend := range []string{"epoll", "easygo"} {
		t.Run(backend, func(t *testing.T) {
			s := &Server{Logger: quiet}
			if backend == "easygo" {
				s.Poller = "easygo"
			}
			j := newJournal()
			s.Handle("/", j.keep(Options{OnMessage: echo}))
			addr := serve(t, s)
			first := open(t, addr, "/")
			old := j.want(t, "open").conn
			number, id := descriptor(old), old.ID()
			old.SetValue("kept")
			// Descriptors are given out from the lowest on. The number gets free when the next client has
			// a descriptor already, and before it connects.
			heir := dialAfter(t, addr, func() {
				first.send(closeFrame(1000, ""))
				first.wantClose(1000, "")
				first.wantEnd()
				j.want(t, "close")
				await(t, "the server has closed it", func() bool { return s.Stats().Conns == 0 })
			})
			heir.send(upgradeTo("/"))
			heir.upgraded()
			conn := j.want(t, "open").conn
			if descriptor(conn) != number || conn == old {
				t.Fatalf("nobody got descriptor %d", number)
			}
			for range 100 {
				gone(t, old)
				if err := old.Close(); err != ErrClosed {
					t.Errorf("Close: %v, want ErrClosed", err)
				}
			}
			if old.Value() != "kept" || old.ID() != id || old.ID() == conn.ID() || !old.RemoteAddr().IsValid() || old.Buffered() != 0 {
				t.Errorf("the old handle: value %v, id %d, address %v, %d bytes wait", old.Value(), old.ID(), old.RemoteAddr(), old.Buffered())
			}
			heir.send(frame(ws.OpText, "mine"))
			heir.want(ws.OpText, "mine") // and nothing before it
			j.want(t, "message")
			heir.send(closeFrame(1000, ""))
			heir.wantClose(1000, "")
			heir.wantEnd()
			j.wantClose(t, Closing{Cause: PeerClosed, Code: 1000})
		})
	}
}

// TestInvariant5Churn: while connections come and go, and their numbers with them, everybody sends
// through old handles and new. What arrives is for the one that it was sent to.
func TestInvariant5Churn(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const clients, rounds, senders = 4, 20, 2
		handles := make(chan *Conn, clients*rounds)
		s.Handle("/", Options{
			OnOpen: func(c *Conn, _ *Request) {
				c.WriteText(fmt.Sprint(c.ID()))
				handles <- c
			},
			OnMessage: func(c *Conn, _ Message) { c.WriteText(fmt.Sprint(c.ID())) },
		})
		addr := serve(t, s)
		var done atomic.Bool
		var mu sync.Mutex
		var all []*Conn
		var sending, running sync.WaitGroup
		for range senders {
			sending.Go(func() {
				for i := 0; !done.Load(); i++ {
					mu.Lock()
					for len(handles) > 0 {
						all = append(all, <-handles)
					}
					var c *Conn
					if n := len(all); n > 0 {
						c = all[n-1-i%min(n, 12)] // the last ones, open or not
					}
					mu.Unlock()
					if c == nil {
						continue
					}
					if _, err := c.WriteText(fmt.Sprint(c.ID())); err != nil && err != ErrClosed {
						t.Errorf("connection %d: %v", c.ID(), err)
					}
				}
			})
		}
		for range clients {
			running.Go(func() {
				for round := range rounds {
					p := open(t, addr, "/")
					_, id := p.frame()
					if round%2 == 0 {
						p.send(frame(ws.OpText, "who"))
					}
					for range 3 {
						if _, data := p.frame(); string(data) != string(id) {
							t.Errorf("connection %s got what was for %s", id, data)
						}
						p.send(frame(ws.OpText, "more"))
					}
					if round%3 == 0 {
						p.conn.SetLinger(0)
					}
					p.conn.Close()
				}
			})
		}
		running.Wait()
		done.Store(true)
		sending.Wait()
		await(t, "all are gone", func() bool { return s.Stats().Conns == 0 })
		for _, c := range all {
			gone(t, c)
		}
	})
}

// TestStaleEvents: an event whose token is of a connection that is gone is dropped, though its slot
// has a new one.
func TestStaleEvents(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{OnMessage: echo}))
		addr := serve(t, s)
		p := open(t, addr, "/")
		old := j.want(t, "open").conn
		must(t, p.conn.Close())
		j.want(t, "close")
		open(t, addr, "/")
		conn := j.want(t, "open").conn
		if conn.slot != old.slot {
			t.Fatalf("slot %d was not given again, but %d", old.slot, conn.slot)
		}
		l := conn.loop
		l.mu.Lock()
		defer l.mu.Unlock()
		stale, fresh := &shift{loop: l}, &shift{loop: l}
		l.takeEvents(stale, []netpoll.Event{{Token: old.token(), Ready: netpoll.Readable}})
		l.takeEvents(fresh, []netpoll.Event{{Token: conn.token(), Ready: netpoll.Readable}})
		if len(stale.items) != 0 || len(fresh.items) != 1 || fresh.items[0].conn != conn {
			t.Errorf("taken are %v of the old one's events and %v of the new one's", stale.items, fresh.items)
		}
	})
}
