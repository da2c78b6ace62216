//go:build linux

package server

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// shedWorld has connections whose peers don't read, and a budget that they share.
type shedWorld struct {
	t    *testing.T
	s    *Server
	j    journal
	addr string
}

func newShedWorld(t *testing.T, s *Server, budget int64) *shedWorld {
	t.Helper()
	s.OutboundBudget = budget
	w := &shedWorld{t, s, newJournal(), ""}
	for o := range overflows {
		s.Handle(fmt.Sprint("/", o), w.j.keep(Options{Overflow: o, Backlog: 1 << 20, SendBuffer: smallBuffer, WriteTimeout: -1}))
	}
	w.addr = serve(t, s)
	return w
}

// slow opens a connection to an endpoint with such an Overflow.
func (w *shedWorld) slow(o Overflow) (*peer, *Conn) {
	w.t.Helper()
	p := openWith(w.t, w.addr, fmt.Sprint("/", o), smallBuffer)
	return p, w.j.want(w.t, "open").conn
}

// load sends numbered messages until so many bytes wait, though the peer's kernel may take some more yet,
// and tells how many.
func (w *shedWorld) load(c *Conn, from, bytes, size int) (next int) {
	w.t.Helper()
	for ; c.Buffered() < bytes; from++ {
		outcome, err := sendNumbered(w.t, c, from, size)
		if must(w.t, err); outcome == Dropped {
			w.t.Fatal("dropped")
		}
	}
	return from
}

func (w *shedWorld) wantWithin() {
	w.t.Helper()
	if n := w.s.Stats().OutboundHeld; n > w.s.OutboundBudget {
		w.t.Errorf("%d bytes are held, of a budget of %d", n, w.s.OutboundBudget)
	}
}

// wantNumberedTo reads messages up to the one before next.
func (p *peer) wantNumberedTo(next, size int) {
	p.t.Helper()
	for i := range next {
		p.wantNumbered(i, size)
	}
}

// TestInvariant3Outbound: what waits for all peers together is bounded by the budget. When it is spent,
// the connection for which most waits gives way, and nobody else notices.
func TestInvariant3Outbound(t *testing.T) {
	for o := range overflows {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const size = 3000
				w := newShedWorld(t, s, 400_000)
				worst, c1 := w.slow(o)
				middling, c2 := w.slow(CloseSlow)
				small, c3 := w.slow(Refuse)
				n2 := w.load(c2, 0, 100_000, size)
				n1 := w.load(c1, 0, 250_000, size)
				n3 := w.load(c3, 0, 90_000, size)
				w.wantWithin()
				st := s.Stats()
				if st.Shed != 1 || st.ShedBytes < 100_000 || st.Refused != 0 || st.DroppedNew != 0 || o.forgets() != (st.DroppedOld > 0) {
					t.Errorf("shed %d times and %d bytes, refused %d, forgotten %d and %d", st.Shed, st.ShedBytes, st.Refused, st.DroppedNew, st.DroppedOld)
				}
				middling.wantNumberedTo(n2, size)
				small.wantNumberedTo(n3, size)
				if o.forgets() {
					of := make([][2]int, n1)
					for i := range of {
						of[i] = [2]int{i, size}
					}
					if came := worst.wantSome(of); len(came) != n1-int(st.DroppedOld) {
						t.Errorf("of %d messages %d came, and %d were forgotten", n1, len(came), st.DroppedOld)
					}
				} else {
					// Whole messages from the first on, and then why there are no more.
					next := 0
					h, data := worst.frame()
					for ; h.OpCode == ws.OpBinary; h, data = worst.frame() {
						if string(data) != string(numbered(next, size)) {
							t.Fatalf("message %d is not as it was", next)
						}
						next++
					}
					if want := string(appendClose(nil, CodeTryAgain, "backlog shed")[2:]); h.OpCode != ws.OpClose || string(data) != want || next >= n1/2 {
						t.Errorf("after %d of %d messages came %s", next, n1, drawn(h.OpCode, string(data)))
					}
					worst.send(closeFrame(CodeTryAgain, ""))
					worst.wantEnd()
					w.j.wantClose(t, Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog shed", Err: ErrShed})
				}
				await(t, "nothing waits", func() bool { st := s.Stats(); return st.OutboundHeld == 0 && st.Slow == 0 })
			})
		})
	}
}

// TestShedItself: who has most waiting, and wants more, is treated as its endpoint says, and nobody else is
// touched.
func TestShedItself(t *testing.T) {
	for o := range overflows {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const size = 3000
				w := newShedWorld(t, s, 300_000)
				other, c2 := w.slow(CloseSlow)
				greedy, c1 := w.slow(o)
				n2 := w.load(c2, 0, 100_000, size)
				outcome, err := Sent, error(nil)
				next := 0
				forgotten := func() uint64 { return s.Stats().DroppedOld }
				for ; (outcome == Sent || outcome == Queued) && forgotten() == 0; next++ {
					outcome, err = sendNumbered(t, c1, next, size)
				}
				want, wantErr := Refused, ErrBacklogFull
				switch o {
				case DropNew:
					want, wantErr = Dropped, nil
				case DropOldest, KeepLatest:
					want, wantErr = Queued, nil
				}
				if st := s.Stats(); outcome != want || err != wantErr || st.Shed != 0 {
					t.Errorf("%v, %v, and shed %d times", outcome, err, st.Shed)
				}
				w.wantWithin()
				switch o {
				case CloseSlow: // what it has is given back at once
					if n := s.Stats().OutboundHeld; n > 150_000 {
						t.Errorf("%d bytes are held", n)
					}
					h, _ := greedy.frame()
					for h.OpCode == ws.OpBinary {
						h, _ = greedy.frame()
					}
					greedy.send(closeFrame(CodeTryAgain, ""))
					greedy.wantEnd()
					w.j.wantClose(t, Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full", Err: ErrBacklogFull})
				case Refuse, DropNew:
					greedy.wantNumberedTo(next-1, size)
				default:
					of := make([][2]int, next)
					for i := range of {
						of[i] = [2]int{i, size}
					}
					greedy.wantSome(of)
				}
				other.wantNumberedTo(n2, size)
				await(t, "nothing waits", func() bool { return s.Stats().OutboundHeld == 0 })
			})
		})
	}
}

// TestShedTorn: a frame that has begun is not taken back. Where it is what takes so much, its connection is
// cut off, whatever its endpoint does otherwise, and what it had is free at once.
func TestShedTorn(t *testing.T) {
	for o := range overflows {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				w := newShedWorld(t, s, 400_000)
				_, c1 := w.slow(o)
				small, c2 := w.slow(CloseSlow)
				if outcome, err := sendNumbered(t, c1, 0, 300_000); outcome != Queued {
					t.Fatal(outcome, err)
				}
				n := w.load(c2, 0, 200_000, 3000)
				w.wantWithin()
				w.j.wantClose(t, Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrShed})
				gone(t, c1)
				small.wantNumberedTo(n, 3000)
			})
		})
	}
}

// TestShedClosing: one that is closing gives way too. Its close frame still comes behind the frame that
// has begun, and its close event says what it would have said.
func TestShedClosing(t *testing.T) {
	for o := range overflows {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const size = 3000
				s.CloseTimeout = time.Hour
				w := newShedWorld(t, s, 400_000)
				closing, c1 := w.slow(o)
				small, c2 := w.slow(CloseSlow)
				n1 := w.load(c1, 0, 300_000, size)
				must(t, c1.CloseWith(CodeNormal, "bye"))
				n2 := w.load(c2, 0, 150_000, size)
				w.wantWithin()
				next := 0
				h, data := closing.frame()
				for ; h.OpCode == ws.OpBinary; h, data = closing.frame() {
					next++
				}
				if want := string(appendClose(nil, CodeNormal, "bye")[2:]); h.OpCode != ws.OpClose || string(data) != want || next > n1/2 {
					t.Errorf("after %d of %d messages came %s", next, n1, drawn(h.OpCode, string(data)))
				}
				closing.send(closeFrame(CodeNormal, ""))
				closing.wantEnd()
				w.j.wantClose(t, Closing{Cause: ClosedLocally, Code: CodeNormal, Reason: "bye"})
				small.wantNumberedTo(n2, size)
			})
		})
	}
}

// TestShedTornAsker: a frame that is torn when there is no budget for the rest of it, and nobody who has
// more, is the end of its connection.
func TestShedTornAsker(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		w := newShedWorld(t, s, 100_000)
		_, c := w.slow(Refuse)
		if outcome, err := c.Write(Binary, make([]byte, 200_000)); outcome != Refused || err != ErrBacklogFull {
			t.Errorf("%v, %v", outcome, err)
		}
		w.j.wantClose(t, Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrBacklogFull})
		gone(t, c)
		w.wantWithin()
	})
}

// TestShedPicks: of several lists and loops the worst is found, who is busy is passed over, and nobody
// waits.
func TestShedPicks(t *testing.T) {
	t.Parallel()
	s := &Server{OutboundBudget: 1 << 30, Loops: 3}
	must(t, s.start())
	defer s.Close()
	ep := s.Handle("/", Options{})
	var conns []*Conn
	random := rand.New(rand.NewPCG(3, 4))
	some := func() int { return random.IntN(1 << (1 + random.IntN(24))) }
	for i := range 200 {
		c := &Conn{loop: s.loops()[i%3], ep: ep, fd: -1, id: uint64(i)}
		c.ownBacklog().held = some()
		c.weigh()
		conns = append(conns, c)
	}
	asker := conns[0]
	var busy [100]bool // of the first ones
	for range 1000 {
		i := random.IntN(len(conns))
		switch c := conns[i]; {
		case i == 0 || i >= len(busy):
			c.out.held = some()
			c.weigh()
		case busy[i]:
			busy[i] = false
			c.mu.Unlock()
		default:
			busy[i] = true
			c.mu.Lock()
		}
		most, slow := 0, 0
		for i, c := range conns {
			if c.out.held >= rankUnit {
				slow++
			}
			if i > 0 && (i >= len(busy) || !busy[i]) {
				most = max(most, c.out.held)
			}
		}
		if got := s.Stats().Slow; got != slow {
			t.Fatalf("%d are slow, want %d", got, slow)
		}
		least := max(rankUnit, some())
		got := s.worst(asker, least)
		switch {
		case got == nil && most >= least:
			t.Fatalf("none found with %d, though one has %d", least, most)
		case got != nil && (got == asker || got.out.held < least || classOf(got.out.held) != classOf(most)):
			t.Fatalf("found one with %d for %d, though one has %d", got.out.held, least, most)
		}
		if got != nil {
			got.mu.Unlock()
		}
	}
	for i := range busy {
		if busy[i] {
			conns[i].mu.Unlock()
		}
	}
	for _, c := range conns {
		c.unrank()
	}
	for _, l := range s.loops() {
		if l.ranks.n.Load() != 0 || l.ranks.present.Load() != 0 {
			t.Errorf("left: %d, classes %b", l.ranks.n.Load(), l.ranks.present.Load())
		}
	}
}

// TestShedBusy: when those that have most can't be got at in that moment, nobody waits for them, and who has
// less has what is kept for that; who is among the largest has not, and is not read either.
func TestShedBusy(t *testing.T) {
	t.Parallel()
	s := &Server{OutboundBudget: 1_600_000}
	must(t, s.start())
	defer s.Close()
	ep := s.Handle("/", Options{Backlog: 10 << 20, Overflow: Refuse})
	holding := func(n int) *Conn {
		c := &Conn{loop: s.loops()[0], ep: ep, fd: -1, state: stWriting}
		c.ownBacklog().held = n
		c.weigh()
		return c
	}
	busy, large, small := holding(800_000), holding(690_000), holding(10_000)
	busy.mu.Lock()
	if !s.outbound.take(1_500_000) || s.outbound.common() != 1_500_000 {
		t.Fatalf("%d of %d are for all", s.outbound.common(), s.outbound.limit)
	}
	if large.afford(5000) {
		t.Error("one of the largest had what is kept for others")
	}
	large.mu.Lock()
	if !small.afford(5000) || s.outbound.used.Load() != 1_505_000 || small.afford(200_000) {
		t.Errorf("%d are used", s.outbound.used.Load())
	}
	if !busy.congested() || !large.congested() || small.congested() {
		t.Errorf("not read are: %v, %v, %v", busy.congested(), large.congested(), small.congested())
	}
	for _, c := range []*Conn{busy, large, small} {
		c.unrank()
	}
}

// TestShedLog: the log has one line for many, and not one for each.
func TestShedLog(t *testing.T) {
	t.Parallel()
	log := new(lifeLog)
	s := &Server{Logger: slog.New(log), OutboundBudget: 1234}
	must(t, s.start())
	defer s.Close()
	var said shedLog
	said.tell(s)
	for range 3 {
		s.loops()[0].stats.shed.Add(2)
		s.loops()[0].stats.shedBytes.Add(100)
		said.tell(s)
	}
	want := map[string]string{"bound": "OutboundBudget", "limit": "1234", "count": "2", "bytes": "100"}
	if got := log.find("backlogs shed"); len(got) != 1 || !maps.Equal(got[0], want) {
		t.Errorf("logged: %v", got)
	}
	said.said = time.Now().Add(-complainEvery)
	said.tell(s)
	want["count"], want["bytes"] = "4", "200"
	if got := log.find("backlogs shed"); len(got) != 2 || !maps.Equal(got[1], want) {
		t.Errorf("logged: %v", got)
	}
}

// TestShedBroadcast: a message for all goes out again and again, to many who read and to some who never do.
// What waits stays within the budget at all times, and each of the many gets each message, in order.
func TestShedBroadcast(t *testing.T) {
	t.Parallel()
	for o := range overflows {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			const messages, size = 100, 4 << 10
			peers, stalled := 200, 20
			if o == CloseSlow {
				peers, stalled = 1000, 50
			}
			s := &Server{Logger: quiet, OutboundBudget: 2 << 20, Loops: 2}
			ep := s.Handle("/", Options{Overflow: o, SendBuffer: 16 << 10, WriteTimeout: -1})
			addr := serve(t, s)
			var most atomic.Int64
			within := func() {
				if n := s.Stats().OutboundHeld; n > most.Load() {
					most.Store(n)
				}
			}
			for range stalled {
				openWith(t, addr, "/", smallBuffer)
			}
			got := make([]atomic.Int64, peers-stalled)
			var done sync.WaitGroup
			for i := range got {
				p := open(t, addr, "/")
				done.Go(func() {
					for next := range messages {
						p.conn.SetDeadline(time.Now().Add(bound)) // which is for one message, and not for all
						h, data, err := p.tryFrame()
						if err != nil || h.OpCode != ws.OpBinary || len(data) != size || int(binary.BigEndian.Uint64(data)) != next {
							t.Errorf("peer %d: instead of message %d came %s, error %v", i, next, drawn(h.OpCode, string(data[:min(len(data), 8)])), err)
							got[i].Store(messages)
							return
						}
						got[i].Add(1)
					}
				})
			}
			await(t, "all are open", func() bool { return ep.Len() == peers })
			for n := range messages {
				m, err := Prepare(Binary, numbered(n, size))
				must(t, err)
				all := ep.Broadcast(m)
				within()
				if all.Sent+all.Queued < peers-stalled || o != CloseSlow && o != Refuse && all.Sent+all.Queued+all.Dropped != peers {
					t.Fatalf("message %d: %+v", n, all)
				}
				// The rate is theirs: nobody is more than a few messages behind, or it would be as slow as those.
				for i := range got {
					await(t, "it has read", func() bool { return got[i].Load() > int64(n-4) })
				}
				within()
			}
			done.Wait()
			st := s.Stats()
			if most.Load() > s.OutboundBudget || most.Load() < s.OutboundBudget/2 {
				t.Errorf("%d bytes were held, of a budget of %d", most.Load(), s.OutboundBudget)
			}
			if st.Shed+st.Refused+st.DroppedNew+st.DroppedOld == 0 || ep.Len() < peers-stalled || o.forgets() && ep.Len() != peers {
				t.Errorf("%d are left; %+v", ep.Len(), st)
			}
			s.Close()
			await(t, "all are gone", func() bool { st := s.Stats(); return st.Conns == 0 && st.OutboundHeld == 0 && st.Slow == 0 })
		})
	}
}

// TestShedRace: many send at once, to connections of all endpoints, of which some read, some don't and some
// end; with so little budget that each send sheds. What comes is whole, and of each sender in order, and in
// the end all is given back.
func TestShedRace(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const senders, messages, each = 4, 1500, 6
		s.CloseTimeout = time.Millisecond * 200
		w := newShedWorld(t, s, 150_000)
		var conns []*Conn
		var readers sync.WaitGroup
		for o := range overflows {
			for i := range each {
				p, c := w.slow(o)
				conns = append(conns, c)
				if i%3 > 0 {
					readers.Go(func() { readInOrder(p, senders, i == 2) })
				}
			}
		}
		var sending sync.WaitGroup
		for sender := range senders {
			sending.Go(func() {
				random := rand.New(rand.NewPCG(5, uint64(sender)))
				for n := range messages {
					c := conns[random.IntN(len(conns))]
					data := numbered(n<<8|sender, 16+random.IntN(6000)*random.IntN(2))
					if m, err := Prepare(Binary, data); err == nil && n%2 == 0 {
						c.Send(m)
					} else {
						c.Write(Binary, data)
					}
					switch random.IntN(400) {
					case 0:
						c.CloseWith(CodeNormal, "")
					case 1:
						c.Close()
					}
				}
			})
		}
		sending.Wait()
		if st := s.Stats(); st.Shed == 0 || st.OutboundHeld > s.OutboundBudget+int64(len(conns)*(maxControl+frameCost)) {
			t.Errorf("shed %d times, and %d bytes are held", st.Shed, st.OutboundHeld)
		}
		s.Close()
		readers.Wait()
		await(t, "all is given back", func() bool { st := s.Stats(); return st.Conns == 0 && st.OutboundHeld == 0 && st.Slow == 0 })
	})
}

// readInOrder reads to the end of the stream, slowly or not. Of each sender the numbers grow.
func readInOrder(p *peer, senders int, slowly bool) {
	last := make([]int, senders)
	for i := range last {
		last[i] = -1
	}
	for n := 0; ; n++ {
		h, data, err := p.tryFrame()
		if err != nil || h.OpCode == ws.OpClose {
			return
		}
		if h.OpCode != ws.OpBinary || len(data) < 16 {
			p.t.Errorf("came %s", drawn(h.OpCode, string(data)))
			return
		}
		number := int(binary.BigEndian.Uint64(data))
		if sender := number & 0xff; string(data) != string(numbered(number, len(data))) || sender >= senders || number>>8 <= last[sender] {
			p.t.Errorf("message %d is not whole, or not in order", number)
			return
		} else {
			last[sender] = number >> 8
		}
		if slowly && n%8 == 0 {
			time.Sleep(time.Millisecond) // of the peer's, not for anything
		}
	}
}
