//go:build linux

package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestPace: 4 KiB or all that is left is progress, and less is not.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		held, now int
		all, want bool
	}{
		{10_000, 10_000 - 4096, false, true},
		{10_000, 10_000 - 4095, false, false},
		{10_000, 9_999, true, false},
		{100, 0, true, true},
		{100, 1, true, false},
		{100, 0, false, false}, // more is left in the process
		{0, 0, true, false},    // nothing was left, so nothing was taken
		{100, 900, false, false},
	} {
		p := pace{since: 5, held: uint32(c.held)}
		if moved := p.moved(1000, c.now, c.all); moved != c.want || moved != (p == pace{1000, uint32(c.now)}) {
			t.Errorf("of %d bytes %d are left, all %v: moved %v, want %v; %+v", c.held, c.now, c.all, moved, c.want, p)
		}
	}
}

// trickle reads a little at a time, and keeps it for the frames to be read from later.
type trickle struct {
	*peer
	conn io.Reader
	got  bytes.Buffer
}

func trickleOf(p *peer) *trickle {
	r := &trickle{peer: p, conn: p.to.(io.Reader)}
	rest, _ := p.in.Peek(p.in.Buffered())
	r.got.Write(rest)
	return r
}

// takes reads until so much less is outstanding for c.
func (r *trickle) takes(c *Conn, n int) {
	r.t.Helper()
	before, buf := outstanding(c), make([]byte, 1024)
	await(r.t, "its kernel acknowledges what it reads", func() bool {
		if before-outstanding(c) >= n {
			return true
		}
		m, err := r.conn.Read(buf)
		r.got.Write(buf[:m])
		if err != nil {
			r.t.Errorf("the stream ends: %v", err)
		}
		return err != nil
	})
}

// pongAt is a pong, and how many messages came before it.
type pongAt struct {
	data     string
	messages int
}

// rest reads frames to a close frame or the end of the stream, compressed or not, and returns how many messages
// came, the pongs, and the close frame's payload.
func (r *trickle) rest() (messages int, pongs []pongAt, closed []byte, err error) {
	in := bufio.NewReader(io.MultiReader(&r.got, r.conn))
	r.in = in
	for {
		h, err := ws.ReadHeader(in)
		if err != nil {
			return messages, pongs, nil, err
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(in, data); err != nil {
			return messages, pongs, nil, err
		}
		switch h.OpCode {
		case ws.OpClose:
			return messages, pongs, data, nil
		case ws.OpPong:
			pongs = append(pongs, pongAt{string(data), messages})
		default:
			messages++
		}
	}
}

// queue sends messages of random bytes until so much waits in the process, and returns how many that were.
func queue(t *testing.T, c *Conn, size, wait int) (messages int) {
	t.Helper()
	data := make([]byte, size)
	for c.Buffered() < wait {
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		if outcome, err := c.Write(Binary, data); err != nil || outcome == Dropped {
			t.Fatalf("message %d: %v, %v", messages, outcome, err)
		}
		messages++
	}
	return messages
}

// compressions are what a connection may have agreed to.
var compressions = map[string]struct {
	o     Compression
	offer []string
}{
	"plain":      {},
	"compressed": {Compression{Enabled: true}, []string{"Sec-WebSocket-Extensions: permessage-deflate"}},
	"in context": {Compression{Enabled: true, ContextTakeover: true}, []string{"Sec-WebSocket-Extensions: permessage-deflate"}},
}

// everyWay runs a test on every poller, for connections that come in every way, with and without compression.
func everyWay(t *testing.T, test func(t *testing.T, s *Server, meet func(*testing.T, Options) (*trickle, *Conn, journal))) {
	for _, v := range ways {
		for name, z := range compressions {
			t.Run(v.name+", "+name, func(t *testing.T) {
				onPollers(t, func(t *testing.T, s *Server) {
					test(t, s, func(t *testing.T, o Options) (*trickle, *Conn, journal) {
						o.Compression = z.o
						p, c, j := v.meet(t, s, o, z.offer...)
						return trickleOf(p), c, j
					})
				})
			})
		}
	}
}

// steady has the peer take 8 KiB in each time, which is less than the timeout.
func (r *trickle) steady(s *Server, c *Conn, each time.Duration) {
	r.t.Helper()
	for range 5 {
		r.takes(c, 8<<10)
		pass(s, each)
	}
	if outstanding(c) == 0 {
		r.t.Fatal("ended, or nothing waits any more")
	}
}

// stalls waits until the connection ends because the peer takes nothing more.
func (j journal) stalls(t *testing.T, s *Server, each time.Duration) Closing {
	t.Helper()
	for start := time.Now(); time.Since(start) < bound; pass(s, each) {
		select {
		case e := <-j:
			return e.why
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatal("a peer that takes nothing is not ended")
	return Closing{}
}

// TestProgressWriteTimeout: a peer that takes 8 KiB in each timeout stays, and one that takes nothing does not.
func TestProgressWriteTimeout(t *testing.T) {
	const timeout, each = time.Hour, 40 * time.Minute
	check := func(t *testing.T, s *Server, r *trickle, c *Conn, j journal) {
		queue(t, c, 1000, 80_000)
		r.steady(s, c, each)
		if why := j.stalls(t, s, each); why != (Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrWriteTimeout}) {
			t.Errorf("ended by %+v", why)
		}
	}
	for o := range overflows {
		t.Run(fmt.Sprint("overflow ", o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				p, c, j := ways[0].meet(t, s, Options{WriteTimeout: timeout, Overflow: o, Backlog: 200_000})
				check(t, s, trickleOf(p), c, j)
			})
		})
	}
	everyWay(t, func(t *testing.T, s *Server, meet func(*testing.T, Options) (*trickle, *Conn, journal)) {
		r, c, j := meet(t, Options{WriteTimeout: timeout})
		check(t, s, r, c, j)
	})
}

// TestMaxQueueAge: what waits for longer ends the connection, whatever the peer takes.
func TestMaxQueueAge(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := ways[0].meet(t, s, Options{WriteTimeout: time.Hour, MaxQueueAge: 10 * time.Hour})
		r := trickleOf(p)
		queue(t, c, 100_000, 80_000)
		r.steady(s, c, time.Hour)
		pass(s, 6*time.Hour)
		if why := j.want(t, "close").why; why != (Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrQueueAge}) {
			t.Errorf("ended by %+v", why)
		}
	})
	if (Options{MaxQueueAge: -1}).Check() == nil || (Options{MaxQueueAge: maxTimer + 1}).Check() == nil {
		t.Error("a MaxQueueAge that can't be held is taken")
	}
}

// TestProgressClose: while the peer makes progress, what is queued and the close frame arrive, and then it has
// CloseTimeout to answer. A Shutdown waits for that, and says if a peer took too little.
func TestProgressClose(t *testing.T) {
	const timeout, each = time.Hour, 40 * time.Minute
	begin := map[string]func(s *Server, c *Conn) <-chan error{
		"CloseWith": func(s *Server, c *Conn) <-chan error {
			done := make(chan error, 1)
			done <- c.CloseWith(CodeGoingAway, goingAway.Reason)
			return done
		},
		"Shutdown": func(s *Server, c *Conn) <-chan error {
			done := make(chan error, 1)
			go func() { done <- s.Shutdown(context.Background()) }()
			return done
		},
	}
	for how, begin := range begin {
		for _, end := range []string{"answers", "is silent", "stalls"} {
			t.Run(how+", the peer "+end, func(t *testing.T) {
				everyWay(t, func(t *testing.T, s *Server, meet func(*testing.T, Options) (*trickle, *Conn, journal)) {
					s.CloseTimeout = timeout
					r, c, j := meet(t, Options{WriteTimeout: -1})
					sent := queue(t, c, 1000, 80_000)
					done := begin(s, c)
					await(t, "it is closing", func() bool { return c.snapshot().has(stCloseSent) })
					r.steady(s, c, each)
					want, result := Closing{Cause: ClosedLocally, Code: CodeGoingAway, Reason: goingAway.Reason}, error(nil)
					if how == "Shutdown" {
						want.Cause = ShutDown
					}
					if end == "stalls" {
						want.Err = ErrWriteTimeout
						if how == "Shutdown" {
							result = ErrWriteTimeout
						}
						if why := j.stalls(t, s, each); why != want {
							t.Errorf("ended by %+v", why)
						}
					} else {
						messages, _, closed, err := r.rest()
						if err != nil || messages != sent || !bytes.Equal(closed, appendClose(nil, want.Code, want.Reason)[2:]) {
							t.Fatalf("%d messages of %d, close frame %q, error %v", messages, sent, closed, err)
						}
					}
					switch end {
					case "answers":
						await(t, "everything is acknowledged", func() bool { return outstanding(c) == 0 })
						pass(s, each)
						r.send(closeFrame(CodeGoingAway, ""))
						j.wantClose(t, want)
					case "is silent":
						want.Err = ErrCloseTimeout
						if why := j.stalls(t, s, each); why != want {
							t.Errorf("ended by %+v", why)
						}
					}
					if err := receive(t, "the end of "+how, done); !errors.Is(err, result) || (err == nil) != (result == nil) {
						t.Errorf("%s: %v", how, err)
					}
				})
			})
		}
	}
}

// TestProgressCloseByPeer: section 5.5.1, the answer to a close frame waits for the current message only, however
// slowly the peer takes that; what is queued behind it is dropped.
func TestProgressCloseByPeer(t *testing.T) {
	const timeout, each = time.Hour, 40 * time.Minute
	everyWay(t, func(t *testing.T, s *Server, meet func(*testing.T, Options) (*trickle, *Conn, journal)) {
		s.CloseTimeout = timeout
		r, c, j := meet(t, Options{WriteTimeout: -1, Backlog: 10 << 20})
		sent := queue(t, c, 200_000, 900_000)
		r.send(closeFrame(CodeNormal, "enough"))
		await(t, "it is closing", func() bool { return c.snapshot().has(stCloseTaken) })
		r.steady(s, c, each)
		if held := s.Stats().OutboundHeld; held > 400_000 {
			t.Errorf("%d bytes are held", held)
		}
		messages, _, closed, err := r.rest()
		if err != nil || messages >= sent-2 || messages == 0 || !bytes.Equal(closed, appendClose(nil, CodeNormal, "")[2:]) {
			t.Fatalf("%d messages of %d, close frame %q, error %v", messages, sent, closed, err)
		}
		j.wantClose(t, Closing{Cause: PeerClosed, Code: CodeNormal, Reason: "enough"})
	})
}

// TestPongAhead: section 5.5.2, a pong goes out at the next frame boundary, ahead of what is queued in the process,
// and only the newest of several.
func TestPongAhead(t *testing.T) {
	const size = 3000
	check := func(t *testing.T, s *Server, r *trickle, c *Conn, j journal) {
		sent := queue(t, c, size, 80_000)
		var most []pongAt
		for _, last := range []string{"last", "really"} {
			before := s.Stats().BytesIn
			pings := cat(frame(ws.OpPing, "first"), frame(ws.OpPing, last))
			r.send(pings)
			await(t, "the pings are read", func() bool {
				return s.Stats().BytesIn == before+uint64(len(pings)) && !c.snapshot().has(stReadable|stTurn)
			})
			waits := c.Buffered() / (size + 4)
			most = append(most, pongAt{last, sent - waits + 1}) // what is half sent goes first
			r.takes(c, outstanding(c)-c.Buffered()+3*size)
		}
		must(t, c.CloseWith(CodeNormal, ""))
		messages, pongs, _, err := r.rest()
		early := func(p, most pongAt) bool { return p.data == most.data && p.messages <= most.messages }
		if err != nil || messages != sent || !slices.EqualFunc(pongs, most, early) {
			t.Errorf("%d messages of %d, pongs %v, at the latest %v; error %v", messages, sent, pongs, most, err)
		}
		r.send(closeFrame(CodeNormal, ""))
		j.wantClose(t, Closing{Cause: ClosedLocally, Code: CodeNormal})
	}
	for o := range overflows {
		t.Run(fmt.Sprint("overflow ", o), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				p, c, j := ways[0].meet(t, s, Options{WriteTimeout: -1, Overflow: o, Backlog: 200_000})
				check(t, s, trickleOf(p), c, j)
			})
		})
	}
	everyWay(t, func(t *testing.T, s *Server, meet func(*testing.T, Options) (*trickle, *Conn, journal)) {
		r, c, j := meet(t, Options{WriteTimeout: -1})
		check(t, s, r, c, j)
	})
}
