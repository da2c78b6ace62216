//go:build linux

package server

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

const offerAll = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"

// deflating is a client that offered compression. It has windows of its own, whether or not the
// server agreed to keep any.
type deflating struct {
	*peer
	said, heard []byte // all of it, where the window lives on
	keep        bool
	window      int // of the client
}

func openDeflating(t testing.TB, addr, path string) *deflating {
	t.Helper()
	p := dial(t, addr)
	p.send(upgradeTo(path, offerAll))
	answer := p.upgraded()
	if !strings.Contains(answer, "permessage-deflate") {
		t.Fatalf("no compression was agreed on: %q", answer)
	}
	bits := maxWindowBits
	if _, value, ok := strings.Cut(answer, "client_max_window_bits="); ok {
		fmt.Sscan(value, &bits)
	}
	return &deflating{peer: p, keep: !strings.Contains(answer, "no_context_takeover"), window: 1 << bits}
}

// compressed is a message as the client says it next.
func (p *deflating) compressed(kind Kind, text string) []byte {
	window := p.said[max(0, len(p.said)-p.window):]
	payload := deflatedBy(p.t, 6, window, []byte(text))
	if p.keep {
		p.said = append(p.said, text...)
	}
	return compressedFrame(ws.OpCode(kind), payload)
}

// compressedFrame is a client's frame with RSV1 set.
func compressedFrame(op ws.OpCode, payload []byte) []byte {
	f := frame(op, string(payload))
	f[0] |= bitRsv1
	return f
}

// hear reads a message, and tells whether it came compressed and how long it was then.
func (p *deflating) hear() (text string, compressed bool, size int) {
	p.t.Helper()
	h, err := ws.ReadHeader(p.in)
	must(p.t, err)
	data := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, data)
	must(p.t, err)
	if h.Rsv == 0 {
		return string(data), false, len(data)
	}
	text2, err := inflatedByOthers(cat(data, inflateTail), p.heard[max(0, len(p.heard)-1<<maxWindowBits):], 32<<20)
	must(p.t, err)
	if p.keep {
		p.heard = append(p.heard, text2...)
	}
	return string(text2), true, len(data)
}

// wantEcho reads a message that must be this one.
func (p *deflating) wantEcho(text string) (compressed bool, size int) {
	p.t.Helper()
	got, compressed, size := p.hear()
	if got != text {
		p.t.Fatalf("came %d bytes, want %d: %.60q", len(got), len(text), got)
	}
	return compressed, size
}

var everyCompression = []struct {
	name string
	Compression
}{
	{"no context", Compression{Enabled: true}},
	{"context", Compression{Enabled: true, ContextTakeover: true}},
	{"small windows", Compression{Enabled: true, ContextTakeover: true, WindowBits: 9}},
	{"level 9", Compression{Enabled: true, Level: 9}},
}

// TestCompressedEcho: messages of every length at which something changes come back as they went, on
// the loop and from the pool, however they are cut.
func TestCompressedEcho(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		for i, c := range everyCompression {
			s.Handle(fmt.Sprint("/", i), Options{MaxMessage: 4 << 20, Backlog: 16 << 20, Compression: c.Compression, OnMessage: echo})
		}
		addr := serve(t, s)
		for i, c := range everyCompression {
			p := openDeflating(t, addr, fmt.Sprint("/", i))
			if c.ContextTakeover != p.keep {
				t.Errorf("%s: window kept: %v", c.name, p.keep)
			}
			for _, n := range []int{0, 1, 125, 126, 4000, longInflate - 1, longInflate, longDeflate + 1, 200_000} {
				text := string(prose(n))
				p.send(p.compressed(Text, text))
				if compressed, _ := p.wantEcho(text); !compressed && n > 200 {
					t.Errorf("%s: %d bytes came back as they are", c.name, n)
				}
				p.send(frame(ws.OpText, text)) // between them one that is not compressed
				p.wantEcho(text)
				random := string(noise(n))
				p.send(p.compressed(Binary, random))
				p.wantEcho(random)
			}
		}
		st := s.Stats()
		if st.DeflatedIn == 0 || st.DeflatedOut == 0 || st.InflatedIn < 4*200_000 || st.InflatedOut < 4*200_000 || st.WindowsHeld == 0 {
			t.Errorf("counted: %+v", st)
		}
	})
}

// TestCompressedFromPool: an endpoint whose handlers are slow gets its messages whole and in order.
func TestCompressedFromPool(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		ep := s.Handle("/", Options{MaxMessage: 1 << 20, Compression: Compression{Enabled: true, ContextTakeover: true}, OnMessage: echo})
		addr := serve(t, s)
		p := openDeflating(t, addr, "/")
		var stream []byte
		var said []string
		for i := range 40 {
			text := fmt.Sprint(i, string(prose([]int{10, 1000, 9000, 70_000}[i%4])))
			said = append(said, text)
			stream = append(stream, p.compressed(Text, text)...)
		}
		ep.slow.mark(s.now(), slowFor)
		go p.conn.Write(stream)
		for i, text := range said {
			if got, _, _ := p.hear(); got != text {
				t.Fatalf("message %d: %.40q, want %.40q", i, got, text)
			}
		}
	})
}

// TestCompressedContext: with context takeover a message that was said before is a few bytes, without
// it is not.
func TestCompressedContext(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/keep", Options{Compression: Compression{Enabled: true, ContextTakeover: true}, OnMessage: echo})
		s.Handle("/forget", Options{Compression: Compression{Enabled: true}, OnMessage: echo})
		addr := serve(t, s)
		text := string(prose(1000))
		for path, least := range map[string]int{"/keep": 0, "/forget": 100} {
			p := openDeflating(t, addr, path)
			for i := range 3 {
				p.send(p.compressed(Text, text))
				if _, size := p.wantEcho(text); i > 0 && (size < 50) != (least == 0) {
					t.Errorf("%s: the echo is %d bytes", path, size)
				}
			}
		}
	})
}

// TestCompressedContextOfSmallMessages: the first of many alike gets no shorter by itself, but the
// others do by it.
func TestCompressedContextOfSmallMessages(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/", Options{Compression: Compression{Enabled: true, ContextTakeover: true}, OnMessage: echo})
		p := openDeflating(t, serve(t, s), "/")
		const text = `{"id":17,"state":"open","by":"anna"}`
		for i := range 5 {
			p.send(p.compressed(Text, text))
			if compressed, size := p.wantEcho(text); !compressed || i > 0 && size > len(text)/2 {
				t.Errorf("echo %d of %d bytes: compressed %v, %d", i, len(text), compressed, size)
			}
		}
	})
}

// TestCompressedMinSize: only what is long enough is compressed, prepared or not.
func TestCompressedMinSize(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const least = 500
		prepared := map[int]*Prepared{}
		for _, n := range []int{least - 1, least} {
			prepared[n] = PrepareText(string(prose(n)))
		}
		s.Handle("/", Options{Compression: Compression{Enabled: true, MinSize: least}, OnMessage: func(c *Conn, m Message) {
			c.Write(m.Kind, m.Data)
			c.Send(prepared[len(m.Data)])
			c.Forward(m)
		}})
		p := openDeflating(t, serve(t, s), "/")
		for n := range prepared {
			text := string(prose(n))
			p.send(p.compressed(Text, text))
			for _, how := range []string{"written", "prepared", "forwarded"} {
				if compressed, _ := p.wantEcho(text); compressed != (n >= least) {
					t.Errorf("%s, %d bytes: compressed %v", how, n, compressed)
				}
			}
		}
	})
}

// TestPreparedIsCompressedOnce for all whose window is of one size.
func TestPreparedIsCompressedOnce(t *testing.T) {
	t.Parallel()
	text := prose(3000)
	p := PrepareText(string(text))
	var frames [8][]byte
	var all sync.WaitGroup
	for i := range frames {
		all.Go(func() { frames[i] = p.deflatedFrame(10) })
	}
	all.Wait()
	for _, f := range frames {
		if &f[0] != &frames[0][0] {
			t.Fatal("it was compressed twice")
		}
	}
	if &p.deflatedFrame(15)[0] == &frames[0][0] {
		t.Error("windows of two sizes share a frame")
	}
	if got := PrepareText("").deflatedFrame(15); got != nil {
		t.Errorf("a frame that is no shorter is compressed: %x", got)
	}
}

// TestPreparedCompressed: the shared frame fits each window, whatever was said before.
func TestPreparedCompressed(t *testing.T) {
	text := prose(3000)
	p := PrepareText(string(text))
	onPollers(t, func(t *testing.T, s *Server) {
		ep := s.Handle("/", Options{Compression: Compression{Enabled: true, ContextTakeover: true}, OnMessage: echo})
		addr := serve(t, s)
		var peers []*deflating
		for i := range 3 {
			c := openDeflating(t, addr, "/")
			own := fmt.Sprint(i, string(prose(500+i)))
			c.send(c.compressed(Text, own))
			c.wantEcho(own)
			peers = append(peers, c)
		}
		for range 2 {
			if b := ep.Broadcast(p); b.Sent != len(peers) {
				t.Errorf("broadcast: %+v", b)
			}
		}
		for i, c := range peers {
			for range 2 {
				if compressed, _ := c.wantEcho(string(text)); !compressed {
					t.Error("a prepared message came as it is")
				}
			}
			own := fmt.Sprint("again ", i, string(prose(500+i)))
			c.send(c.compressed(Text, own))
			c.wantEcho(own) // the windows still agree
		}
	})
}

// TestBomb: what inflates past the limit is told 1009 having cost the limit at the most, whether it is
// short or long itself, and whether handlers run on the loop or on the pool.
func TestBomb(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const limit = 100 << 10
		var most int64
		j := newJournal()
		small := s.Handle("/small", j.keep(Options{MaxMessage: 1000, Compression: Compression{Enabled: true}}))
		large := s.Handle("/large", j.keep(Options{MaxMessage: limit, Compression: Compression{Enabled: true}}))
		addr := serve(t, s)
		for _, slow := range []bool{false, true} {
			for _, ep := range []*Endpoint{small, large} {
				for _, size := range []int{ep.opts.MaxMessage + 1, limit + 1, 1 << 20} {
					if slow {
						ep.slow.mark(s.now(), slowFor)
					}
					p := openDeflating(t, addr, ep.path)
					j.want(t, "open")
					p.send(p.compressed(Binary, strings.Repeat("\x00", size)))
					p.wantClose(CodeTooBig, errTooBig.Reason)
					p.wantEnd()
					must(t, p.conn.Close())
					j.wantClose(t, Closing{Cause: BadInput, Code: CodeTooBig, Reason: errTooBig.Reason, Err: errTooBig})
					most = max(most, s.Stats().InboundHeld)
				}
				p := openDeflating(t, addr, ep.path)
				j.want(t, "open")
				text := strings.Repeat("\x00", ep.opts.MaxMessage)
				p.send(p.compressed(Binary, text))
				if e := j.want(t, "message"); e.data != text {
					t.Errorf("what just fits: %d bytes, want %d", len(e.data), len(text))
				}
				must(t, p.conn.Close())
				j.want(t, "close")
			}
		}
		if most > 2*limit {
			t.Errorf("%d bytes were held", most)
		}
	})
}

// TestCompressedIsChecked like what is not.
func TestCompressedIsChecked(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/", Options{MaxMessage: 200 << 10, Compression: Compression{Enabled: true}})
		addr := serve(t, s)
		long := string(prose(150 << 10))
		for _, c := range []struct {
			name string
			text string
			err  *ProtocolError
		}{
			{"short", "\xff", errInvalidUTF8},
			{"at its end", string(prose(1000)) + "\xc3", errInvalidUTF8},
			{"long", long + "\xff", errInvalidUTF8},
		} {
			p := openDeflating(t, addr, "/")
			p.send(p.compressed(Text, c.text))
			p.wantClose(c.err.Code, c.err.Reason)
			p.wantEnd()
		}
		for _, payload := range [][]byte{{0x06}, {0xf2, 0x48}, noise(100 << 10)} {
			p := openDeflating(t, addr, "/")
			p.send(compressedFrame(ws.OpBinary, payload))
			p.wantClose(CodeInvalidPayload, errDeflate.Reason)
			p.wantEnd()
		}
	})
}

// TestLargeMessagesGoBack: a connection that has handled a large message, compressed or not, holds
// nothing of it any more.
func TestLargeMessagesGoBack(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		conns := make(chan *Conn, 10)
		s.Handle("/", Options{MaxMessage: 4 << 20, Backlog: 16 << 20, Compression: Compression{Enabled: true},
			OnOpen:    func(c *Conn, _ *Request) { conns <- c },
			OnMessage: func(c *Conn, m Message) { c.Forward(m) }})
		addr := serve(t, s)
		text := string(prose(1 << 20))
		for _, compressed := range []bool{false, true} {
			p := openDeflating(t, addr, "/")
			c := receive(t, "the open event", conns)
			if compressed {
				p.send(p.compressed(Text, text))
			} else {
				var stream []byte
				for i := 0; i < len(text); i += 64 << 10 {
					op, last := ws.OpContinuation, i+64<<10 >= len(text)
					if i == 0 {
						op = ws.OpText
					}
					stream = append(stream, fragment(op, last, text[i:min(i+64<<10, len(text))])...)
				}
				p.send(stream)
			}
			p.wantEcho(text)
			await(t, "nothing is held", func() bool {
				st := s.Stats()
				return st.InboundHeld == 0 && st.OutboundHeld == 0
			})
			quietly(t, c, func() {
				if c.in != nil || c.out != nil {
					t.Errorf("compressed %v: in %v, out %v", compressed, c.in, c.out)
				}
			})
		}
	})
}

// TestForward: what a peer said goes on to others, and stays as it is for those who read slowly,
// when the handler that forwarded it has long returned.
func TestForward(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const n = 2 << 20
		ep := s.Handle("/", Options{MaxMessage: n, Backlog: 16 << 20, PauseReadingAt: 16 << 20, SendBuffer: 4096, WriteTimeout: -1})
		ep.opts.OnMessage = func(c *Conn, m Message) {
			for other := range ep.Conns() {
				if outcome, err := other.Forward(m); outcome == Refused {
					t.Errorf("refused: %v", err)
				}
			}
		}
		addr := serve(t, s)
		var peers []*peer
		for range 4 {
			peers = append(peers, openWith(t, addr, "/", 4096))
		}
		await(t, "all are there", func() bool { return ep.Len() == len(peers) })
		var said []string
		for i := range 3 {
			said = append(said, string(bytes.Repeat([]byte{byte('a' + i)}, n)))
			peers[0].send(frame(ws.OpBinary, said[i]))
		}
		await(t, "all is forwarded", func() bool { return s.Stats().MessagesOut == uint64(3*len(peers)) })
		if s.Stats().InboundHeld != 0 {
			t.Errorf("%d bytes inbound are held", s.Stats().InboundHeld)
		}
		for _, p := range peers {
			for _, text := range said {
				if _, data := p.frame(); string(data) != text {
					t.Fatalf("came %d bytes, beginning with %.10q; want %.10q", len(data), data, text)
				}
			}
		}
	})
}

// TestCompressedWindowHeld: while one message is being compressed, the others of its connection go as
// they are and wait for nobody, and neither does the end of the connection.
func TestCompressedWindowHeld(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		conns := make(chan *Conn, 1)
		ep := s.Handle("/", Options{Compression: Compression{Enabled: true, ContextTakeover: true},
			OnMessage: echo, OnOpen: func(c *Conn, _ *Request) { conns <- c }})
		p := openDeflating(t, serve(t, s), "/")
		c := receive(t, "the open event", conns)
		w := c.ext.windows
		w.mu.Lock()
		defer w.mu.Unlock()
		text := string(prose(1000))
		if outcome, err := c.WriteText(text); outcome != Sent {
			t.Errorf("written: %v, error %v", outcome, err)
		}
		if b := ep.Broadcast(PrepareText(text)); b.Sent != 1 {
			t.Errorf("broadcast: %+v", b)
		}
		p.send(p.compressed(Text, text))
		for range 3 {
			if compressed, _ := p.wantEcho(text); compressed {
				t.Error("compressed with a window that somebody else has")
			}
		}
		must(t, p.conn.Close())
		await(t, "the connection is gone", func() bool { return ep.Len() == 0 })
	})
}

// TestForwardMisused: a message that is none, and one that came long ago.
func TestForwardMisused(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		old := make(chan Message, 1)
		conns := make(chan *Conn, 2)
		s.Handle("/", Options{SendBuffer: 4096, WriteTimeout: -1,
			OnOpen:    func(c *Conn, _ *Request) { conns <- c },
			OnMessage: func(_ *Conn, m Message) { old <- m }})
		addr := serve(t, s)
		p := openWith(t, addr, "/", 4096)
		c := receive(t, "the open event", conns)
		for _, m := range []Message{{Data: []byte("hi")}, {Kind: 8, Data: []byte("hi")}} {
			if outcome, err := c.Forward(m); outcome != Refused || err != ErrBadKind {
				t.Errorf("%+v: %v, error %v", m, outcome, err)
			}
		}
		if outcome, err := c.Forward(Message{Kind: Text, Data: []byte("\xff")}); outcome != Refused || err != ErrInvalidUTF8 {
			t.Errorf("no UTF-8: %v, error %v", outcome, err)
		}
		p.send(frame(ws.OpBinary, strings.Repeat("x", 1<<20)))
		m := receive(t, "the message", old)
		await(t, "its handler has returned", func() bool { return s.Stats().InboundHeld == 0 })
		func() {
			defer func() {
				if recover() == nil {
					t.Error("an old message was forwarded")
				}
			}()
			c.Forward(m)
		}()
		if n := s.Stats().OutboundHeld; n != 0 || c.Buffered() != 0 {
			t.Errorf("%d bytes wait, %d of this connection", n, c.Buffered())
		}
		other := append([]byte(nil), "mine"...)
		m.Data = other
		if outcome, err := c.Forward(m); outcome != Sent || err != nil {
			t.Errorf("bytes of one's own: %v, error %v", outcome, err)
		}
		p.want(ws.OpBinary, "mine")
	})
}

// TestLaneTakesTurns: what takes longest waits in a queue of its own, so that it holds up each of the
// others by one at the most.
func TestLaneTakesTurns(t *testing.T) {
	t.Parallel()
	l := &lane{}
	conn := func(id uint64) job { return job{conn: &Conn{id: id}} }
	l.large.list = []job{conn(101), conn(102), conn(103)}
	l.queue.list = []job{conn(1), conn(2), conn(3), conn(4), conn(5)}
	var order []uint64
	for {
		j, ok := l.take(true)
		if !ok {
			break
		}
		order = append(order, j.conn.id)
	}
	if want := []uint64{101, 1, 102, 2, 103, 3, 4, 5}; !slices.Equal(order, want) {
		t.Errorf("taken in the order %d, want %d", order, want)
	}
}
