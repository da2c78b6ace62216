//go:build linux

package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// smallBuffer makes both kernels' buffers so small that a peer that does not read is noticed soon.
const smallBuffer = 4 << 10

// slowPeer is met with a peer for which the kernels hold little.
func slowPeer(t *testing.T, s *Server, o Options) (p *peer, c *Conn, j journal) {
	t.Helper()
	j = newJournal()
	o.SendBuffer = smallBuffer
	s.Handle("/", j.keep(o))
	p = openWith(t, serve(t, s), "/", smallBuffer)
	return p, j.want(t, "open").conn, j
}

// numbered is a message that says which one it is, and all of whose bytes depend on it.
func numbered(i, size int) []byte {
	data := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(data, uint64(i))
	for k := range data[8:] {
		data[8+k] = byte(i*7 + k)
	}
	return data
}

// wantNumbered reads the next message, which must be this one.
func (p *peer) wantNumbered(i, size int) {
	p.t.Helper()
	h, data := p.frame()
	if h.OpCode != ws.OpBinary || !bytes.Equal(data, numbered(i, size)) {
		p.t.Fatalf("message %d of %d bytes came as opcode %x with %d bytes, %x…", i, size, byte(h.OpCode), len(data), data[:min(len(data), 12)])
	}
}

// sendNumbered sends one prepared or written, by turns.
func sendNumbered(t *testing.T, c *Conn, i, size int) (Outcome, error) {
	t.Helper()
	if i%2 == 0 {
		return c.Write(Binary, numbered(i, size))
	}
	p, err := Prepare(Binary, numbered(i, size))
	must(t, err)
	return c.Send(p)
}

// TestOutboundOutcomes: for a peer that does not read, messages are sent, then queued, then refused.
// When it reads again it gets all that was accepted, in order.
func TestOutboundOutcomes(t *testing.T) {
	for name, overflow := range map[string]Overflow{"close": CloseSlow, "refuse": Refuse} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const backlog = 100_000
				p, c, j := slowPeer(t, s, Options{Backlog: backlog, Overflow: overflow})
				random := rand.New(rand.NewPCG(8, 9))
				var accepted [][2]int
				count := map[Outcome]int{}
				var frames uint64
				for i := 0; count[Refused] == 0; i++ {
					size := 8 + random.IntN(1+random.IntN(20_000))
					outcome, err := sendNumbered(t, c, i, size)
					count[outcome]++
					switch {
					case outcome == Refused && err == ErrBacklogFull && count[Queued] > 0:
					case outcome != Refused && err == nil:
						accepted = append(accepted, [2]int{i, size})
						frames += uint64(len(appendHeader(nil, ws.OpBinary, size)) + size)
					default:
						t.Fatalf("message %d of %d bytes: %v, error %v, after %v", i, size, outcome, err, count)
					}
					if c.Buffered() > backlog {
						t.Fatalf("%d bytes wait", c.Buffered())
					}
				}
				if count[Sent] == 0 || count[Queued] == 0 || c.Buffered() == 0 {
					t.Errorf("%v, and %d bytes wait", count, c.Buffered())
				}
				_, err := c.Write(Binary, make([]byte, backlog))
				if want := map[Overflow]error{CloseSlow: ErrClosed, Refuse: ErrBacklogFull}[overflow]; err != want {
					t.Errorf("the next message: %v, want %v", err, want)
				}
				for _, m := range accepted {
					p.wantNumbered(m[0], m[1])
				}
				if st := s.Stats(); st.MessagesOut != uint64(len(accepted)) || st.BytesOut != frames {
					t.Errorf("counted are %d messages of %d bytes, want %d of %d", st.MessagesOut, st.BytesOut, len(accepted), frames)
				}
				if overflow == CloseSlow {
					p.wantClose(CodeTryAgain, "backlog full")
					p.send(closeFrame(CodeTryAgain, ""))
					p.wantEnd()
					j.wantClose(t, Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full", Err: ErrBacklogFull})
					if st := s.Stats(); st.Refused != 1 {
						t.Errorf("%d refused", st.Refused)
					}
					return
				}
				await(t, "nothing waits", func() bool { return c.Buffered() == 0 })
				if outcome, err := sendNumbered(t, c, 1, 100); outcome == Refused {
					t.Errorf("after it has read: %v", err)
				}
				p.wantNumbered(1, 100)
			})
		})
	}
}

// TestOutboundIntegrity: sizes on both sides of every limit, to a peer that reads in fits and
// starts. Whatever was accepted comes, whole and in order.
func TestOutboundIntegrity(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const messages = 600
		p, c, _ := slowPeer(t, s, Options{Backlog: 200_000, Overflow: Refuse})
		sizes := []int{8, 125, 126, shareFrom - 5, shareFrom, joinTo - 4, joinTo, joinTo + 1, 65535, 65536}
		sizeOf := func(i int) int {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			return min(sizes[random.IntN(len(sizes))], 8+random.IntN(70_000))
		}
		var held atomic.Bool
		sent := make(chan error, 1)
		go func() {
			defer close(sent)
			for i := range messages {
				err := ErrBacklogFull
				for err == ErrBacklogFull {
					for c.Buffered() > 100_000 { // until it is closed, at the latest
						held.Store(true)
						time.Sleep(time.Millisecond)
					}
					held.Store(false)
					_, err = sendNumbered(t, c, i, sizeOf(i))
				}
				if err != nil {
					sent <- fmt.Errorf("message %d: %w", i, err)
					return
				}
			}
		}()
		for i := range messages {
			if i%100 == 0 { // a pause, until the sender has nowhere to go
				await(t, "it is held up, or done", func() bool {
					return held.Load() || len(sent) > 0 || s.Stats().MessagesOut == messages
				})
			}
			p.wantNumbered(i, sizeOf(i))
		}
		must(t, receive(t, "the end of sending", sent))
	})
}

// fill sends until something waits.
func fill(t *testing.T, c *Conn) {
	t.Helper()
	for {
		outcome, err := c.Write(Binary, make([]byte, 1000))
		must(t, err)
		if outcome == Queued {
			return
		}
	}
}

// TestOutboundWriteTimeout: what waits too long ends the connection.
func TestOutboundWriteTimeout(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, j := slowPeer(t, s, Options{WriteTimeout: 30 * time.Millisecond})
		// The peer's kernel may yet take what waited first.
		for c.Buffered() < 2*smallBuffer {
			if _, err := c.Write(Binary, make([]byte, 1000)); err == ErrClosed {
				break
			}
		}
		j.wantClose(t, Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrWriteTimeout})
		gone(t, c)
	})
}

// TestOutboundCorkIsNoTimeout: what waits for the end of a handler does not wait for the peer.
func TestOutboundCorkIsNoTimeout(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const timeout = 20 * time.Millisecond
		o := Options{WriteTimeout: timeout, Every: 2 * time.Millisecond, OnTick: func(*Conn) {}}
		o.OnMessage = func(c *Conn, m Message) {
			if outcome, err := c.Write(m.Kind, m.Data); outcome == Refused {
				t.Errorf("%q: %v", m.Data, err)
			}
			start := s.now()
			await(t, "the timeout is over", func() bool { return s.now() > start+3*ticksOf(timeout) })
		}
		p, c, _ := met(t, s, o)
		p.send(frame(ws.OpText, "one"), frame(ws.OpText, "two"))
		p.want(ws.OpText, "one")
		p.want(ws.OpText, "two")
		if _, err := c.WriteText("three"); err != nil {
			t.Error(err)
		}
		p.want(ws.OpText, "three")
	})
}

// TestOutboundPingWhileSomethingWaits: section 5.5.2 wants a pong for each ping, and 5.5.3 is content
// with one for the last.
func TestOutboundPingWhileSomethingWaits(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{SendBuffer: smallBuffer, WriteTimeout: -1}))
		p := openWith(t, serve(t, s), "/", smallBuffer)
		c := j.want(t, "open").conn
		for c.Buffered() < 50_000 {
			fill(t, c)
		}
		came := s.Stats().BytesIn
		pings := cat(frame(ws.OpPing, "first"), frame(ws.OpPing, "last"))
		p.send(pings)
		await(t, "the pings have come", func() bool { return s.Stats().BytesIn == came+uint64(len(pings)) })
		h, data := p.frame()
		for h.OpCode == ws.OpBinary {
			h, data = p.frame()
		}
		if h.OpCode != ws.OpPong || string(data) != "last" {
			t.Errorf("came %s", drawn(h.OpCode, string(data)))
		}
		p.send(frame(ws.OpPing, "next"))
		for h, data = p.frame(); h.OpCode == ws.OpBinary; {
			h, data = p.frame()
		}
		if h.OpCode != ws.OpPong || string(data) != "next" {
			t.Errorf("came %s", drawn(h.OpCode, string(data)))
		}
	})
}

// TestOutboundCorkIsNotRefused: what only waits for the end of a read is sent at once if it may not
// wait, however little of the budget there is.
func TestOutboundCorkIsNotRefused(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.OutboundBudget = 1 << 20
		s.Handle("/", Options{OnMessage: echo})
		addr := serve(t, s)
		others := s.OutboundBudget - 40<<10
		if !s.outbound.take(others) {
			t.Fatal("no budget")
		}
		defer s.outbound.give(others)
		p := open(t, addr, "/")
		for _, n := range []int{100, 15 << 10, 25 << 10, 35 << 10, 60 << 10} {
			long := strings.Repeat("x", n)
			p.send(cat(frame(ws.OpText, long), frame(ws.OpText, "2")))
			p.want(ws.OpText, long)
			p.want(ws.OpText, "2")
		}
	})
}

// TestOutboundEchoIsHeldUp: a peer that asks and does not read the answers is not read any more, so
// what waits for it stays at the mark, and what answers gather to. When it reads, it goes on.
func TestOutboundEchoIsHeldUp(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const backlog, size, messages = 300_000, 1000, 16_000
		var most atomic.Int64
		opened := make(chan *Conn, 1)
		o := Options{Backlog: backlog, SendBuffer: smallBuffer, OnOpen: func(c *Conn, _ *Request) { opened <- c }}
		o.OnMessage = func(c *Conn, m Message) {
			if outcome, err := c.Write(m.Kind, m.Data); outcome == Refused {
				t.Error(err)
			}
			if n := int64(c.Buffered()); n > most.Load() {
				most.Store(n)
			}
		}
		s.Handle("/", o)
		p := openWith(t, serve(t, s), "/", smallBuffer)
		c := receive(t, "the open event", opened)
		written := make(chan error, 1)
		go func() {
			for i := range messages {
				if _, err := p.conn.Write(frame(ws.OpBinary, string(numbered(i, size)))); err != nil {
					written <- fmt.Errorf("message %d: %w", i, err)
					return
				}
			}
			written <- nil
		}()
		await(t, "it is held up", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stPaused)
		})
		for i := range messages {
			p.wantNumbered(i, size)
		}
		must(t, receive(t, "the end of writing", written))
		if limit := int64(defaultPauseReadingAt + corkBytes + size); most.Load() > limit {
			t.Errorf("%d bytes waited, want %d at the most", most.Load(), limit)
		}
	})
}

// TestOutboundPipelined: the answers to messages that came together wait for each other and leave
// together, in order, and with the pongs between them where the pings were.
func TestOutboundPipelined(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const messages = 1000
		addr := serve(t, s)
		var atOnce, segments uint32
		// Where a loop is starved, its handlers are taken for slow ones, and of those the answers do
		// not wait. It is a matter of the endpoint, so another one is tried.
		for attempt := 0; attempt == 0 || attempt < 20 && s.Stats().Deposed > 0; attempt++ {
			atOnce, segments = pipeline(t, s, addr, fmt.Sprint("/", attempt), messages)
			if atOnce < messages/20 && segments < messages/20 {
				return
			}
		}
		t.Errorf("%d answers left in %d segments, and %d of them at once", messages, segments, atOnce)
	})
}

// pipeline has so many messages answered, and tells how many answers did not wait for others, and in
// how many segments they came.
func pipeline(t *testing.T, s *Server, addr, path string, messages int) (atOnce, segments uint32) {
	t.Helper()
	var sent atomic.Uint32
	o := Options{OnMessage: func(c *Conn, m Message) {
		if outcome, _ := c.Write(m.Kind, m.Data); outcome == Sent {
			sent.Add(1)
		}
	}}
	opened := make(chan *Conn, 1)
	o.OnOpen = func(c *Conn, _ *Request) { opened <- c }
	s.Handle(path, o)
	p := open(t, addr, path)
	c := receive(t, "the open event", opened)
	count := func() uint32 {
		c.mu.Lock()
		defer c.mu.Unlock()
		info, err := unix.GetsockoptTCPInfo(int(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		must(t, err)
		return info.Data_segs_out
	}
	before := count()
	var all []byte
	for i := range messages {
		all = append(all, frame(ws.OpBinary, fmt.Sprint(i))...)
		if i%10 == 0 {
			all = append(all, frame(ws.OpPing, fmt.Sprint("ping ", i))...)
		}
	}
	p.send(all)
	for i := range messages {
		p.want(ws.OpBinary, fmt.Sprint(i))
		if i%10 == 0 {
			p.want(ws.OpPong, fmt.Sprint("ping ", i))
		}
	}
	return sent.Load(), count() - before
}

// TestEcho: every size at which the form of the length changes, whole and in fragments, with pings
// between them.
func TestEcho(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/", Options{OnMessage: echo})
		addr := serve(t, s)
		for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
			payload := string(bytes.Repeat([]byte("x€"), size/4+1)[:size/4*4])
			for len(payload) < size {
				payload += "x"
			}
			for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
				p := open(t, addr, "/")
				p.echoes(frame(op, payload), op, payload)
				cut := size / 3 // inside of a character, as it may be
				p.echoes(cat(fragment(op, false, payload[:cut]), cont(false, payload[cut:2*cut]), cont(true, payload[2*cut:])), op, payload)
				p.pongs = []string{"a", "", "c"}
				p.echoes(cat(frame(ws.OpPing, "a"), fragment(op, false, payload[:cut]), frame(ws.OpPing, ""), frame(ws.OpPong, "unasked"),
					cont(false, payload[cut:]), frame(ws.OpPing, "c"), cont(true, "")), op, payload)
			}
		}
	})
}

// echoes sends a message, and reads what comes back while it does.
func (p *peer) echoes(message []byte, op ws.OpCode, payload string) {
	p.t.Helper()
	written := make(chan error, 1)
	go func() { _, err := p.conn.Write(message); written <- err }()
	for _, pong := range p.pongs {
		p.want(ws.OpPong, pong)
	}
	p.pongs = nil
	p.want(op, payload)
	must(p.t, receive(p.t, "the end of writing", written))
}

// TestEchoByTheByte: the same over a socket that gives the server single bytes.
func TestEchoByTheByte(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, _, _ := met(t, s, Options{})
		for _, b := range cat(fragment(ws.OpText, false, "€"), frame(ws.OpPing, "ping"), cont(true, "uro"), frame(ws.OpBinary, string(make([]byte, 130)))) {
			p.send([]byte{b})
		}
		p.want(ws.OpPong, "ping")
		p.want(ws.OpText, "€uro")
		p.want(ws.OpBinary, string(make([]byte, 130)))
	})
}

// TestOutboundSendBuffer: the option reaches the socket.
func TestOutboundSendBuffer(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, _ := slowPeer(t, s, Options{})
		c.mu.Lock()
		defer c.mu.Unlock()
		got, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		if err != nil || got < smallBuffer || got > 4*smallBuffer {
			t.Errorf("SO_SNDBUF is %d, error %v", got, err)
		}
	})
}
