//go:build linux

package server

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// paused reports whether reading of c is paused and nothing is done for it.
func paused(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.has(stPaused) && !c.state.has(stTurn|stQueued|stJob)
}

// pausedByAnswers sends messages to an echo, one after the other, until reading pauses, and returns how
// many there were. None of them is left unread.
func pausedByAnswers(t *testing.T, p *peer, c *Conn, j journal, size int) (n int) {
	t.Helper()
	for ; !paused(c); n++ {
		p.send(frame(ws.OpBinary, string(numbered(n, size))))
		j.want(t, "message")
		await(t, "the turn is over", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.state.has(stTurn | stQueued | stJob)
		})
	}
	return n
}

// wantAnswers reads that number of messages, in order. Pongs may be among them.
func (p *peer) wantAnswers(messages, size int) {
	p.t.Helper()
	for n := 0; n < messages; {
		switch h, data := p.frame(); {
		case h.OpCode == ws.OpPong:
		case string(data) != string(numbered(n, size)):
			p.t.Fatalf("message %d came as %s", n, drawn(h.OpCode, string(data)))
		default:
			n++
		}
	}
}

// TestPauseMark holds the rule against the cases that it is made of.
func TestPauseMark(t *testing.T) {
	t.Parallel()
	o := Options{PauseReadingAt: 1000, Backlog: 10_000}
	large, never, forgets := o, o, o
	large.PauseReadingAt, never.PauseReadingAt, forgets.Overflow = 6000, -1, KeepLatest
	for _, c := range []struct {
		name      string
		o         Options
		own, held int
		was, want bool
	}{
		{"up to the mark", o, 1000, 1000, false, false},
		{"past the mark", o, 1001, 1001, false, true},
		{"above half of it", o, 501, 501, true, true},
		{"down to half of it", o, 500, 500, true, false},
		{"what others sent", o, 0, 5000, false, false},
		{"what others sent, of which a full backlog would refuse more", o, 0, 5001, false, true},
		{"what others sent, of which a full backlog drops some", forgets, 0, 10_000, false, false},
		{"answers, where a full backlog drops some", forgets, 1001, 10_000, false, true},
		{"the mark is no more than half of the backlog", large, 5001, 5001, false, true},
		{"no mark", never, 5000, 5000, false, false},
	} {
		if got := c.o.pausesReading(c.own, c.held, c.was); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPauseDataNext: what comes next is known from its first byte, wherever the stream was split.
func TestPauseDataNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		came, next []byte
		want       bool
	}{
		{"nothing", nil, nil, false},
		{"a message", nil, frame(ws.OpText, "x"), true},
		{"a ping", nil, frame(ws.OpPing, "x"), false},
		{"a close frame", nil, frame(ws.OpClose, ""), false},
		{"a continuation", fragment(ws.OpText, false, "x"), cont(true, "y"), true},
		{"a ping between fragments", fragment(ws.OpText, false, "x"), frame(ws.OpPing, ""), false},
		{"the rest of a message", frame(ws.OpText, "xyz")[:7], nil, true},
		{"the rest of a ping", frame(ws.OpPing, "xyz")[:7], nil, false},
		{"the rest of a message's header", frame(ws.OpText, "xyz")[:1], nil, true},
		{"the rest of a ping's header", frame(ws.OpPing, "xyz")[:1], []byte{0x81}, false},
	} {
		d := decoder{limit: 100, budget: &budget{limit: 1 << 20}}
		for p := c.came; len(p) > 0; {
			var err error
			if _, p, err = d.next(p); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if got := d.dataNext(c.next); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPauseControlFrames: a peer that does not read its answers is read up to its next message, in the
// loop and in the pool. When it has read, it is read on.
func TestPauseControlFrames(t *testing.T) {
	for _, where := range []string{"loop", "pool"} {
		t.Run(where, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const size = 20_000
				p, c, j := slowPeer(t, s, Options{OnMessage: echo, IdleTimeout: time.Hour})
				if where == "pool" {
					c.ep.slow.mark(s.now(), slowFor)
				}
				n := pausedByAnswers(t, p, c, j, size)
				p.send(frame(ws.OpPing, "first"), frame(ws.OpPong, ""), frame(ws.OpPing, "second"))
				await(t, "the pings are read", func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return c.out.pinged && string(c.out.ping) == "second"
				})
				p.send(frame(ws.OpBinary, string(numbered(n, size))), frame(ws.OpPing, "behind"))
				await(t, "the message is withheld", func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return !c.state.has(stTurn|stQueued) && c.withheld()
				})
				c.mu.Lock()
				if len(c.in.rest) > pausedRead || c.listens() {
					t.Errorf("%d bytes are kept aside, the idle timeout runs: %v", len(c.in.rest), c.listens())
				}
				c.state |= stHalf // as where the message was half received
				c.messageExpired(s.now())
				if c.state &^= stHalf; c.state.has(stCloseSent) {
					t.Error("the peer is closed for a message that is not read")
				}
				c.mu.Unlock()
				p.wantAnswers(n+1, size)
				p.send(frame(ws.OpClose, "\x03\xe8"))
				j.want(t, "message")
				j.wantClose(t, Closing{Cause: PeerClosed, Code: CodeNormal})
				if s.Stats().ReadPauses == 0 {
					t.Error("no pause was counted")
				}
			})
		})
	}
}

// TestPauseClose: the close frame of a paused peer is answered, though answers wait.
func TestPauseClose(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := slowPeer(t, s, Options{OnMessage: echo})
		pausedByAnswers(t, p, c, j, 20_000)
		p.send(frame(ws.OpClose, "\x03\xe8"))
		await(t, "the close frame is read", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stCloseTaken)
		})
	})
}

// TestPauseEndsWithClosing: when the server closes a paused connection, the peer's close frame is read
// behind its messages.
func TestPauseEndsWithClosing(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := slowPeer(t, s, Options{OnMessage: echo})
		pausedByAnswers(t, p, c, j, 20_000)
		p.send(frame(ws.OpText, "unheard"), frame(ws.OpClose, "\x03\xe8"))
		await(t, "the message is withheld", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.state.has(stTurn|stQueued) && c.withheld()
		})
		must(t, c.CloseWith(CodeNormal, ""))
		await(t, "the close frame is read", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stCloseTaken)
		})
	})
}

// TestPausePushed: a peer that does not read what it is sent unasked is read on, and so is its close
// frame. Both where a full backlog closes, and where it drops.
func TestPausePushed(t *testing.T) {
	for _, overflow := range []Overflow{CloseSlow, KeepLatest, DropNew} {
		t.Run("overflow "+string('0'+rune(overflow)), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const backlog = 1 << 20
				p, c, j := slowPeer(t, s, Options{
					Overflow: overflow, Backlog: backlog, Every: time.Millisecond, WriteTimeout: -1,
					OnTick: func(c *Conn) {
						if c.Buffered() < backlog/3 {
							c.Write(Binary, make([]byte, 4000))
						}
					},
					OnMessage: func(*Conn, Message) {},
				})
				await(t, "much waits", func() bool { return c.Buffered() > 10*defaultPauseReadingAt })
				for range 3 {
					p.send(frame(ws.OpText, "hear me"))
					j.want(t, "message")
				}
				p.send(frame(ws.OpClose, "\x03\xe8"))
				await(t, "the close frame is read", func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return c.state.has(stCloseTaken)
				})
			})
		})
	}
}

// TestPauseWithinOneRead: messages that came together are not all answered when the peer reads none.
func TestPauseWithinOneRead(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		var asked atomic.Int64
		const answer, messages = 10_000, 100
		o := Options{Backlog: 10 << 20, OnMessage: func(c *Conn, m Message) {
			asked.Add(1)
			c.Write(Text, []byte(strings.Repeat("x", answer)))
		}}
		p, c, _ := slowPeer(t, s, o)
		p.send([]byte(strings.Repeat(string(frame(ws.OpText, "?")), messages)))
		await(t, "reading is paused", func() bool { return paused(c) })
		if n, most := c.Buffered(), corkBytes+2*answer; n > most || asked.Load() == messages {
			t.Errorf("%d bytes wait after %d messages, want at most %d", n, asked.Load(), most)
		}
		for range messages {
			p.want(ws.OpText, strings.Repeat("x", answer))
		}
	})
}

// unserved is a connection of a loop that no goroutine serves, and the peer's descriptor.
func unserved(t *testing.T, s *Server) (c *Conn, peer int) {
	t.Helper()
	must(t, s.start())
	t.Cleanup(func() { s.Close() })
	l, err := newLoop(s)
	must(t, err)
	t.Cleanup(l.close)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	c = &Conn{loop: l, ep: s.Handle("/", Options{}), fd: int32(fds[0]), state: stOpen | stAnnounced}
	c.slot = l.table.add(c)
	return c, fds[1]
}

// TestBulkShare: the turn of a connection is a buffer of readBuffer bytes, and less when its batch has read
// much; then it waits among bulk, and its next event is a late one.
func TestBulkShare(t *testing.T) {
	for _, c := range []struct {
		batch, sent, want int
		marked, waits     bool
	}{
		{0, readBuffer, readBuffer, true, true},
		{0, bulkFrom, bulkFrom, true, false},
		{0, bulkFrom - 1, bulkFrom - 1, false, false},
		{batchBytes, readBuffer, bulkFrom, true, true},
		{batchBytes, 1000, 1000, false, false},
	} {
		conn, peer := unserved(t, &Server{Logger: quiet})
		if n, err := unix.Write(peer, frame(ws.OpBinary, strings.Repeat("x", 2*readBuffer))[:c.sent]); n != c.sent || err != nil {
			t.Fatal(n, err)
		}
		w := &worker{role: onLoop, srv: conn.loop.srv, buf: make([]byte, readBuffer), batchRead: c.batch}
		conn.event(w, netpoll.Readable)
		if n := w.batchRead - c.batch; n != c.want {
			t.Errorf("%+v: read %d", c, n)
		}
		if n := len(conn.loop.bulk); (n == 1) != c.waits || len(conn.loop.queue) != 0 {
			t.Errorf("%+v: %d wait among bulk, %d among the others", c, n, len(conn.loop.queue))
		}
		if conn.loop.read.remove(conn.slot) != c.marked {
			t.Errorf("%+v: marked: %v", c, !c.marked)
		}
		conn.dropInbound()
	}
}

// TestBulkEvent: in a batch that has read much, a bulk connection waits for another batch.
func TestBulkEvent(t *testing.T) {
	for _, batch := range []int{0, batchBytes} {
		c, peer := unserved(t, &Server{Logger: quiet})
		_, err := unix.Write(peer, frame(ws.OpBinary, strings.Repeat("x", 100)))
		must(t, err)
		w := &worker{role: onLoop, srv: c.loop.srv, buf: make([]byte, readBuffer), batchRead: batch}
		c.bulkEvent(w, netpoll.Readable)
		waits := len(c.loop.bulk) == 1 && c.state.has(stQueued)
		if read := w.batchRead > batch; read == (batch > 0) || waits != (batch > 0) {
			t.Errorf("after %d bytes: it is read %v, waits %v", batch, read, waits)
		}
	}
}

// TestBatchOrder: in a batch small messages come before bulk, what waits in the queue too, and all bulk
// gets its turn in a bounded number of batches, however many small messages come.
func TestBatchOrder(t *testing.T) {
	t.Parallel()
	l, s := new(loop), new(shift)
	var events []netpoll.Event
	conns := make([]*Conn, 4)
	for i := range conns {
		conns[i] = &Conn{id: uint64(i + 1), loop: l}
		conns[i].slot = l.table.add(conns[i])
		events = append(events, netpoll.Event{Token: conns[i].token(), Ready: netpoll.Readable})
	}
	l.read.add(conns[0].slot)
	l.read.add(conns[2].slot)
	l.read.add(conns[3].slot)
	events[3].Ready = netpoll.Writable // nothing to read: not in the way
	for range 2*batchBulk + 1 {
		l.bulk = append(l.bulk, new(Conn))
	}
	for range batchQueue + 1 {
		l.queue = append(l.queue, new(Conn))
	}
	small, bulk := l.queue[0], l.bulk[0]
	take := func() {
		s.items = s.items[:0]
		l.take(s, events)
	}
	take()
	if len(s.items) != 2+batchQueue+batchBulk+2 {
		t.Fatalf("%d items", len(s.items))
	}
	for i, want := range map[int]item{
		0:                {conn: conns[1], what: itemEvent, ready: netpoll.Readable},
		1:                {conn: conns[3], what: itemEvent, ready: netpoll.Writable},
		2:                {conn: small, what: itemResume},
		2 + batchQueue:   {conn: bulk, what: itemResume},
		len(s.items) - 2: {conn: conns[0], what: itemBulk, ready: netpoll.Readable},
		len(s.items) - 1: {conn: conns[2], what: itemBulk, ready: netpoll.Readable},
	} {
		if s.items[i] != want {
			t.Errorf("item %d is %+v, want %+v", i, s.items[i], want)
		}
	}
	for range 2 {
		take()
		if s.items[0].conn != conns[0] || s.items[1].conn != conns[1] {
			t.Error("a connection that is no bulk any more is not served in order")
		}
	}
	if len(l.bulk)+len(l.queue) != 0 {
		t.Errorf("%d and %d wait after three batches", len(l.bulk), len(l.queue))
	}
}

// TestSlotSet adds and removes slots, in any order.
func TestSlotSet(t *testing.T) {
	t.Parallel()
	var s slotSet
	for _, slot := range []uint32{200, 0, 63, 64} {
		if s.remove(slot) {
			t.Errorf("%d was there before", slot)
		}
		s.add(slot)
		if !s.remove(slot) || s.remove(slot) {
			t.Errorf("%d was not there once", slot)
		}
	}
}

// TestPauseStopsTheClock: while reading is paused, no time of the peer's runs; after it, it has all of it again.
func TestPauseStopsTheClock(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = time.Hour
		p, c, j := slowPeer(t, s, Options{OnMessage: echo, IdleTimeout: timeout, MessageTimeout: timeout})
		pausedByAnswers(t, p, c, j, 20_000)
		quietly(t, c, func() {
			late := s.now() - 2*ticksOf(timeout)
			c.state |= stHalf
			c.began, c.heard = late, late
			c.expire(s.now())
			if c.state.has(stCloseSent | stDead) {
				t.Fatal("it is closed while it is not read")
			}
			c.unpause()
			c.expire(s.now())
			if c.state.has(stCloseSent|stDead) || c.began == late || c.heard == late {
				t.Error("when it is read again, the time of the pause counts")
			}
			c.state &^= stHalf
		})
	})
}

// TestUnreadIsNotSilence: while a handler runs, the peer's silence proves nothing.
func TestUnreadIsNotSilence(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = time.Hour
		conns, release := make(chan *Conn, 1), make(chan bool)
		s.Handle("/", Options{IdleTimeout: timeout, Keepalive: timeout, OnMessage: func(c *Conn, m Message) {
			conns <- c
			<-release
			echo(c, m)
		}})
		p := open(t, serve(t, s), "/")
		p.send(frame(ws.OpText, "busy"))
		c := receive(t, "the message", conns)
		c.mu.Lock()
		c.state |= stPinged
		c.noAnswer(s.now())
		c.state &^= stPinged
		c.heard = s.now() - 2*ticksOf(timeout)
		c.expire(s.now())
		ended := c.state.has(stCloseSent | stDead)
		c.mu.Unlock()
		close(release)
		if ended {
			t.Error("a peer that is not read is given up")
		}
		p.want(ws.OpText, "busy")
	})
}
