//go:build linux

package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// flood sends numbered messages of random sizes up to most, until so many of them met a full backlog, and
// tells which were taken, with their sizes.
func flood(t *testing.T, s *Server, c *Conn, most, late int) (taken [][2]int) {
	t.Helper()
	random := rand.New(rand.NewPCG(8, uint64(most)))
	met := func() int { st := s.Stats(); return int(st.Refused + st.DroppedNew + st.DroppedOld) }
	for i := 0; met() < late; i++ {
		size := 8 + random.IntN(1+random.IntN(most))
		switch outcome, err := sendNumbered(t, c, i, size); {
		case (outcome == Sent || outcome == Queued) && err == nil:
			taken = append(taken, [2]int{i, size})
		case outcome == Refused && err == ErrBacklogFull && c.ep.opts.Overflow == Refuse:
		case outcome == Dropped && err == nil && c.ep.opts.Overflow == DropNew:
		default:
			t.Fatalf("message %d of %d bytes: %v, error %v", i, size, outcome, err)
		}
		limit := max(c.ep.opts.Backlog, most) + frameCost
		if c.ep.opts.Overflow.forgets() {
			limit += most + frameCost // the newest, beside the one that has begun
		}
		if held := s.Stats().OutboundHeld; held > int64(limit) {
			t.Fatalf("%d bytes are held, want %d at the most", held, limit)
		}
	}
	return taken
}

// wantSome reads messages that must be of these, in order and whole, up to the last, and tells which came.
func (p *peer) wantSome(of [][2]int) (came [][2]int) {
	p.t.Helper()
	for len(of) > 0 {
		h, data := p.frame()
		if h.OpCode != ws.OpBinary || len(data) < 8 {
			p.t.Fatalf("came %s", drawn(h.OpCode, string(data)))
		}
		for len(of) > 0 && of[0][0] != int(binary.BigEndian.Uint64(data)) {
			of = of[1:]
		}
		if len(of) == 0 || !bytes.Equal(data, numbered(of[0][0], of[0][1])) {
			p.t.Fatalf("came a message of %d bytes that is none of those that may, or not as it was: %x…", len(data), data[:8])
		}
		came = append(came, of[0])
		of = of[1:]
	}
	return came
}

// TestOverflow: what comes to a peer that did not read, and then reads on, as each endpoint wants it.
func TestOverflow(t *testing.T) {
	const backlog, late = 60_000, 300
	for _, c := range []struct {
		name string
		o    Options
		most int // bytes of a message
	}{
		{"refuse", Options{Overflow: Refuse, Backlog: backlog}, 9000},
		{"drop new", Options{Overflow: DropNew, Backlog: backlog}, 9000},
		{"drop oldest", Options{Overflow: DropOldest, Backlog: backlog}, 9000},
		{"drop oldest, small", Options{Overflow: DropOldest, Backlog: backlog}, 400},
		{"drop oldest, as long as the backlog", Options{Overflow: DropOldest, Backlog: backlog}, backlog},
		{"keep latest", Options{Overflow: KeepLatest, Backlog: backlog}, 9000},
		{"keep latest and nothing else", Options{Overflow: KeepLatest, Backlog: 1}, 9000},
	} {
		t.Run(c.name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				p, conn, _ := slowPeer(t, s, c.o)
				taken := flood(t, s, conn, c.most, late)
				st := s.Stats()
				if c.o.Backlog == 1 && st.OutboundHeld > int64(2*(c.most+frameCost)) {
					t.Errorf("%d bytes are held of two messages", st.OutboundHeld)
				}
				came := p.wantSome(taken)
				if late := s.Stats().DroppedOld; late != st.DroppedOld || len(came) != len(taken)-int(late) {
					t.Errorf("of %d messages %d came, and %d were forgotten", len(taken), len(came), late)
				}
				if c.o.Overflow.forgets() != (st.DroppedOld > 0) || (c.o.Overflow == DropNew) != (st.DroppedNew > 0) ||
					(c.o.Overflow == Refuse) != (st.Refused > 0) || st.MessagesOut != uint64(len(taken)) {
					t.Errorf("counted: %d out, %d refused, %d and %d forgotten", st.MessagesOut, st.Refused, st.DroppedNew, st.DroppedOld)
				}
				if c.o.Overflow == DropOldest {
					wantNewest(t, taken, came, c.o.Backlog, c.most)
				}
				await(t, "nothing waits", func() bool { return conn.Buffered() == 0 })
				if n := s.Stats(); n.OutboundHeld != 0 || n.Slow != 0 {
					t.Errorf("then %d bytes are held, and %d are slow", n.OutboundHeld, n.Slow)
				}
				if outcome, err := sendNumbered(t, conn, 1, 100); outcome != Sent {
					t.Errorf("after it has read: %v, %v", outcome, err)
				}
				p.wantNumbered(1, 100)
			})
		})
	}
}

// wantNewest holds that no more was forgotten than had to be: the last messages, as many as the backlog
// has room for, all came.
func wantNewest(t *testing.T, taken, came [][2]int, backlog, most int) {
	t.Helper()
	for i, room := 1, backlog; i <= len(taken); i++ {
		m := taken[len(taken)-i]
		// The one that has begun is there too, and it may be as long as the longest.
		if room -= m[1] + frameCost; room < most {
			return
		}
		if i > len(came) || came[len(came)-i] != m {
			t.Fatalf("message %d, of the last %d, did not come", m[0], i)
		}
	}
}

// TestOverflowTorn: a message that has begun is never dropped, and the newest is taken beside it, however
// much of it is left.
func TestOverflowTorn(t *testing.T) {
	for _, overflow := range []Overflow{DropOldest, KeepLatest} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const long = 300_000
				p, c, _ := slowPeer(t, s, Options{Overflow: overflow, Backlog: 1000})
				for i := range 4 { // a copy, a prepared one, and what is forgotten for them
					if outcome, err := sendNumbered(t, c, i, long); outcome != Queued {
						t.Fatalf("message %d: %v, %v", i, outcome, err)
					}
				}
				if n := s.Stats().DroppedOld; n != 2 {
					t.Errorf("%d forgotten, want 2", n)
				}
				p.wantNumbered(0, long)
				p.wantNumbered(3, long)
			})
		})
	}
}

// TestOverflowControlFrames: what the protocol says is not dropped, wherever it waits.
func TestOverflowControlFrames(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, _ := slowPeer(t, s, Options{Overflow: KeepLatest, Backlog: 20_000})
		const size = 5000
		i := 0
		for ; s.Stats().DroppedOld == 0; i++ {
			if i%3 == 1 {
				c.mu.Lock()
				c.control(appendFrame(nil, ws.OpPing, fmt.Append(nil, i)))
				c.mu.Unlock()
			}
			_, err := sendNumbered(t, c, i, size)
			must(t, err)
		}
		must(t, c.CloseWith(CodeNormal, "bye"))
		pings, last := 0, -1
		for {
			h, data := p.frame()
			switch h.OpCode {
			case ws.OpPing:
				if want := fmt.Sprint(1 + 3*pings); string(data) != want {
					t.Fatalf("came ping %q, want %s", data, want)
				}
				pings++
				continue
			case ws.OpBinary:
				last = int(binary.BigEndian.Uint64(data))
				continue
			case ws.OpClose:
			default:
				t.Fatalf("came %s", drawn(h.OpCode, string(data)))
			}
			break
		}
		if last != i-1 || pings != (i+1)/3 {
			t.Errorf("came %d pings and last message %d, of %d", pings, last, i)
		}
	})
}

// TestOverflowPong: the answer to a ping outlives what is forgotten, also when nothing else is left.
func TestOverflowPong(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, _ := slowPeer(t, s, Options{Overflow: DropOldest, Backlog: 100_000})
		const size = 3000
		i := 0
		send := func() {
			_, err := sendNumbered(t, c, i, size)
			must(t, err)
			i++
		}
		for c.Buffered() < 4*size {
			send()
		}
		came := s.Stats().BytesIn
		p.send(frame(ws.OpPing, "still there?"))
		await(t, "the ping has come", func() bool { return s.Stats().BytesIn > came })
		for s.Stats().DroppedOld < 100 {
			send()
		}
		h, data := p.frame()
		for h.OpCode == ws.OpBinary {
			h, data = p.frame()
		}
		if h.OpCode != ws.OpPong || string(data) != "still there?" {
			t.Errorf("came %s", drawn(h.OpCode, string(data)))
		}
	})
}

// TestOverflowCompressed: with context takeover, what is dropped is not what later messages refer to.
func TestOverflowCompressed(t *testing.T) {
	for _, overflow := range []Overflow{DropNew, DropOldest, KeepLatest} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				j := newJournal()
				s.Handle("/", j.keep(Options{Overflow: overflow, Backlog: 50_000, SendBuffer: smallBuffer,
					Compression: Compression{Enabled: true, ContextTakeover: true}}))
				p := &deflating{peer: openWith(t, serve(t, s), "/", smallBuffer, offerAll), keep: true}
				c := j.want(t, "open").conn
				var taken []string
				next := 0
				send := func() {
					taken = append(taken, sendAlike(t, c, next)...)
					next++
				}
				for s.Stats().DeflatedOut < 3 {
					send()
				}
				// What only a cork holds back goes compressed, and then waits after all.
				await(t, "nothing waits", func() bool { return c.Buffered() == 0 })
				c.setCork(true)
				for range 40 {
					send()
				}
				c.setCork(false)
				dropped := func() uint64 { st := s.Stats(); return st.DroppedNew + st.DroppedOld }
				for dropped() < 50 {
					send()
				}
				if n := s.Stats().DroppedNew; overflow.forgets() && n > 0 {
					t.Errorf("%d new messages were dropped in place of old ones", n)
				}
				compressed := s.Stats().DeflatedOut
				if compressed < 10 {
					t.Errorf("%d messages went compressed", compressed)
				}
				for range len(taken) - int(s.Stats().DroppedOld) {
					p.hearOneOf(&taken)
				}
				await(t, "nothing waits", func() bool { return c.Buffered() == 0 })
				for s.Stats().DeflatedOut < compressed+3 {
					send()
					p.hearOneOf(&taken)
				}
			})
		})
	}
}

// sendAlike sends a message of which a part is that of all others, and the rest as good as noise, and
// gives it back if it was taken.
func sendAlike(t *testing.T, c *Conn, i int) (taken []string) {
	t.Helper()
	text := fmt.Appendf(nil, "%d %s %s", i, noise(1500), noise(700 + i)[i:])
	outcome, err := Refused, error(nil)
	if i%3 > 0 {
		outcome, err = c.Write(Binary, text)
	} else {
		text = append(text, make([]byte, 100)...) // or it would be no shorter, as it refers to nothing before it
		var m *Prepared
		m, err = Prepare(Binary, text)
		must(t, err)
		outcome, err = c.Send(m)
	}
	must(t, err)
	if outcome == Dropped {
		return nil
	}
	return []string{string(text)}
}

// hearOneOf reads a message that must be one of these, and takes it and those before it off.
func (p *deflating) hearOneOf(of *[]string) {
	p.t.Helper()
	got, _, _ := p.hear()
	i := slices.Index(*of, got)
	if i < 0 {
		p.t.Fatalf("came %d bytes that nobody sent, or not in order: %.20q", len(got), got)
	}
	*of = (*of)[i+1:]
}

// TestOverflowForwarded: large messages are forwarded without a copy, and each is let go of once, whether
// it was sent or forgotten.
func TestOverflowForwarded(t *testing.T) {
	for _, overflow := range []Overflow{DropNew, DropOldest, KeepLatest} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const size = 200_000
				j := newJournal()
				s.Handle("/slow", j.keep(Options{Overflow: overflow, Backlog: 500_000, SendBuffer: smallBuffer}))
				slow := make(chan *Conn, 1)
				regions := make(chan *region, 100)
				s.Handle("/loud", Options{OnMessage: func(_ *Conn, m Message) {
					regions <- m.region
					c := <-slow
					if outcome, err := c.Forward(m); err != nil {
						t.Errorf("%v, %v", outcome, err)
					}
					slow <- c
				}})
				addr := serve(t, s)
				p := openWith(t, addr, "/slow", smallBuffer)
				c := j.want(t, "open").conn
				slow <- c
				loud := open(t, addr, "/loud")
				const messages = 20
				for i := range messages {
					loud.send(frame(ws.OpBinary, string(numbered(i, size))))
				}
				await(t, "all have come", func() bool { return len(regions) == messages })
				await(t, "all are handled", func() bool { return s.Stats().InboundHeld == 0 })
				of := make([][2]int, messages)
				for i := range of {
					of[i] = [2]int{i, size}
				}
				st := s.Stats()
				if overflow == DropNew {
					of = of[:messages-st.DroppedNew]
				}
				if came := p.wantSome(of); st.DroppedNew+st.DroppedOld < messages/2 || len(came) != messages-int(st.DroppedNew+st.DroppedOld) {
					t.Errorf("%d of %d came, and %d and %d were forgotten", len(came), messages, st.DroppedNew, st.DroppedOld)
				}
				await(t, "nothing waits", func() bool { return c.Buffered() == 0 })
				for range messages {
					if r := <-regions; r == nil || r.users.Load() != 0 {
						t.Fatal("a message is still held, or was not held in a region")
					}
				}
			})
		})
	}
}

// TestOverflowWriteTimeout: a peer that takes nothing is given up in time, though nothing of what waits for
// it is old.
func TestOverflowWriteTimeout(t *testing.T) {
	for _, overflow := range []Overflow{DropNew, DropOldest, KeepLatest} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				_, c, j := slowPeer(t, s, Options{Overflow: overflow, Backlog: 10_000, WriteTimeout: 50 * time.Millisecond})
				await(t, "it is closed", func() bool {
					for range 10 {
						if _, err := c.Write(Binary, make([]byte, 1000)); err == ErrClosed {
							return true
						}
					}
					return false
				})
				j.wantClose(t, Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrWriteTimeout})
				gone(t, c)
			})
		})
	}
}

// TestOverflowReadsOn: a peer that was not read, because so much waited for it, is read again when that
// was forgotten, though it takes nothing.
func TestOverflowReadsOn(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := slowPeer(t, s, Options{Overflow: KeepLatest, Backlog: 40_000, WriteTimeout: -1, OnMessage: echo})
		pausedByAnswers(t, p, c, j, 20_000)
		p.send(frame(ws.OpText, "hear me"))
		await(t, "it is there, and not read", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stReadable) && !c.state.has(stTurn) && c.withheld()
		})
		c.mu.Lock()
		c.forget(c.out.held, false)
		if c.state&(stTurn|stQueued) == 0 {
			t.Error("nobody is to look at it")
		}
		c.endEmpty()
		c.mu.Unlock()
		if got := j.want(t, "message"); got.data != "hear me" {
			t.Errorf("came %q", got.data)
		}
	})
}

// TestOverflowChecked: there are no others, and what they may hold is told beforehand.
func TestOverflowChecked(t *testing.T) {
	t.Parallel()
	for o := range overflows {
		if err := (Options{Overflow: o}).Check(); err != nil {
			t.Error(err)
		}
		if more := (Options{Overflow: o}).Bound() - (Options{}).Bound(); o.forgets() != (more == defaultBacklog) {
			t.Errorf("%d more is held", more)
		}
	}
	if (Options{Overflow: overflows}).Check() == nil {
		t.Error("an Overflow that there is not")
	}
}
