//go:build linux

package server

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestHandshakeSplit: the head comes in one segment, byte by byte, or with frames behind it.
func TestHandshakeSplit(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/chat", Options{OnMessage: echo})
		addr := serve(t, s)
		head := upgradeTo("/chat")
		frames := cat(frame(ws.OpText, "one"), fragment(ws.OpText, false, "t"), frame(ws.OpPing, "p"), cont(true, "wo"))
		all := cat(head, frames)
		answers := func(t *testing.T, p *peer) {
			p.upgraded()
			p.want(ws.OpText, "one")
			p.want(ws.OpPong, "p")
			p.want(ws.OpText, "two")
		}
		t.Run("one segment", func(t *testing.T) {
			p := dial(t, addr)
			p.send(all)
			answers(t, p)
		})
		t.Run("byte by byte", func(t *testing.T) {
			p := dial(t, addr)
			for i := range all {
				p.send(all[i : i+1])
			}
			answers(t, p)
		})
		t.Run("frames after the answer", func(t *testing.T) {
			p := dial(t, addr)
			p.send(head)
			p.upgraded()
			p.send(frames)
			p.want(ws.OpText, "one")
			p.want(ws.OpPong, "p")
			p.want(ws.OpText, "two")
		})
		t.Run("any pieces", func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			for range 20 {
				p := dial(t, addr)
				i, j := random.IntN(len(all)), random.IntN(len(all))
				i, j = min(i, j), max(i, j)
				for _, piece := range [][]byte{all[:i], all[i:j], all[j:]} {
					p.send(piece)
				}
				answers(t, p)
			}
		})
	})
}

// TestHandshakeAnswer is the example of RFC 6455 section 1.3.
func TestHandshakeAnswer(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/chat", Options{Subprotocols: []string{"superchat", "chat"}})
		addr := serve(t, s)
		p := dial(t, addr)
		p.send(upgradeTo("/chat", "Origin: http://example.com", "Sec-WebSocket-Protocol: chat, superchat"))
		want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: superchat\r\n\r\n"
		if got := p.answer(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// TestHandshakeRefusals: a refusal has the status and the headers that it must have, and its words
// arrive although the client goes on sending what nobody reads: no reset swallows them.
func TestHandshakeRefusals(t *testing.T) {
	upgradeLess := func(line string, drop string, headers ...string) []byte {
		var kept []string
		for _, h := range []string{"Host: example.com", "Upgrade: websocket", "Connection: Upgrade",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="} {
			if name, _, _ := strings.Cut(h, ":"); name != drop {
				kept = append(kept, h)
			}
		}
		return headOf(line, append(kept, headers...)...)
	}
	const get = "GET /ws HTTP/1.1"
	upgrade := map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}
	cases := []struct {
		name    string
		raw     []byte
		want    *refusal
		headers map[string]string
	}{
		{"400 no request", []byte("hello\r\n\r\n"), errRequestLine, nil},
		{"400 bare LF", []byte("GET / HTTP/1.1\n"), errBareLF, nil},
		{"400 a TLS client", []byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"), errControlByte, nil},
		{"400 no Host", upgradeLess(get, "Host"), errNoHost, nil},
		{"400 no Connection", upgradeLess(get, "Connection"), errNoConnection, nil},
		{"400 Connection for something else", upgradeLess(get, "Connection", "Connection: close"), errNoConnection, nil},
		{"400 no key", upgradeLess(get, "Sec-WebSocket-Key"), errNoKey, nil},
		{"400 two keys", upgradeLess(get, "", "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFh"), errSingleHeader, nil},
		{"400 a body", upgradeLess(get, "", "Content-Length: 3"), errUpgradeBody, nil},
		{"400 no subprotocol's name", upgradeLess(get, "", "Sec-WebSocket-Protocol: a b"), errBadSubproto, nil},
		{"403 another origin", upgradeLess(get, "", "Origin: http://evil.com"), errOrigin, nil},
		{"403 no origin", upgradeLess(get, "", "Origin: null"), errOrigin, nil},
		{"403 an empty origin", upgradeLess(get, "", "Origin:"), errOrigin, nil},
		{"403 an origin that is none", upgradeLess(get, "", "Origin: example.com"), errOrigin, nil},
		{"403 two origins, though both are allowed", upgradeLess(get, "", "Origin: http://example.com", "Origin: http://example.com"), errOrigin, nil},
		{"403 256 origins", upgradeLess(get, "", slices.Repeat([]string{"Origin: http://evil.com"}, 256)...), errOrigin, nil},
		{"400 no extension", upgradeLess(get, "", "Sec-WebSocket-Extensions: a b"), errBadExtension, nil},
		{"404 no endpoint", upgradeTo("/nothing"), errNotFound, nil},
		{"404 no endpoint, and no upgrade", headOf("GET / HTTP/1.1", "Host: a"), errNotFound, nil},
		{"405 POST", upgradeLess("POST /ws HTTP/1.1", ""), errMethod, map[string]string{"Allow": "GET"}},
		{"405 HEAD", upgradeLess("HEAD /ws HTTP/1.1", ""), errMethod, map[string]string{"Allow": "GET"}},
		{"404 HEAD", headOf("HEAD / HTTP/1.1", "Host: a"), errNotFound, nil},
		{"404 HEAD behind an empty line", cat("\r\n", headOf("HEAD / HTTP/1.1", "Host: a")), errNotFound, nil},
		{"400 HEAD without a Host", headOf("HEAD / HTTP/1.1"), errNoHost, nil},
		{"431 HEAD", headOf("HEAD / HTTP/1.1", "X: "+strings.Repeat("x", defaultMaxHeader)), errHeadTooLarge, nil},
		{"426 no upgrade", upgradeLess(get, "Upgrade"), errNoUpgrade, upgrade},
		{"426 another upgrade", upgradeLess(get, "Upgrade", "Upgrade: h2c"), errNoUpgrade, upgrade},
		{"426 version 8", upgradeLess(get, "Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), errVersion, upgrade},
		{"426 no version", upgradeLess(get, "Sec-WebSocket-Version"), errVersion, upgrade},
		{"431 a head without an end", bytes.Repeat([]byte("GET /"), defaultMaxHeader/5+1), errHeadTooLarge, nil},
		{"431 a head with an end", upgradeTo("/ws", "X: "+strings.Repeat("x", defaultMaxHeader)), errHeadTooLarge, nil},
		{"426 HTTP/1.0", upgradeLess("GET /ws HTTP/1.0", ""), errOldHTTP, upgrade},
		{"426 HTTP/1.0, no upgrade", headOf("GET /ws HTTP/1.0"), errOldHTTP, upgrade},
		{"405 HTTP/1.0", headOf("OPTIONS /ws HTTP/1.0"), errMethod, map[string]string{"Allow": "GET"}},
		{"505 HTTP/2", headOf("GET /ws HTTP/2.0"), errHTTPVersion, nil},
	}
	for _, key := range []string{"", "x", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZSE=", "!GhlIHNhbXBsZSBub25jZQ=="} {
		cases = append(cases, cases[0])
		c := &cases[len(cases)-1]
		c.want = errNoKey
		c.name, c.raw = "400 key "+key, upgradeLess(get, "Sec-WebSocket-Key", "Sec-WebSocket-Key: "+key)
	}
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/ws", Options{OnOpen: func(*Conn, *Request) { t.Error("a refused handshake was opened") }})
		addr := serve(t, s)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				p := dial(t, addr)
				p.send(c.raw, bytes.Repeat([]byte("unread "), 10_000))
				p.send(bytes.Repeat([]byte("unread "), 5_000))
				method, _, _ := strings.Cut(strings.TrimPrefix(string(c.raw), "\r\n"), " ")
				p.wantRefusalOf(method, c.want, c.headers)
			})
		}
		if got := s.Stats().Handshakes; got != uint64(len(cases)) {
			t.Errorf("%d refused handshakes are counted, want %d", got, len(cases))
		}
	})
}

// wantRefusal reads a whole answer and the end of the stream. While it does, it sends on.
func (p *peer) wantRefusal(want *refusal, headers map[string]string) {
	p.t.Helper()
	p.wantRefusalOf(http.MethodGet, want, headers)
}

// wantRefusalOf is wantRefusal for a request of that method: one of HEAD has no body.
func (p *peer) wantRefusalOf(method string, want *refusal, headers map[string]string) {
	p.t.Helper()
	if _, err := p.in.Peek(1); err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	p.send(bytes.Repeat([]byte("unread "), 5_000))
	p.refusal(method, want, headers)
	p.wantEnd()
}

// refusal reads a whole answer. What then becomes of a connection that net/http has is its business.
func (p *peer) refusal(method string, want *refusal, headers map[string]string) {
	p.t.Helper()
	answer, err := http.ReadResponse(p.in, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	words := want.body()
	if answer.ContentLength != int64(len(words)) {
		p.t.Errorf("Content-Length is %d, want %d", answer.ContentLength, len(words))
	}
	if method == http.MethodHead {
		words = ""
	}
	if answer.StatusCode != want.status || string(body) != words || err != nil || !answer.Close {
		p.t.Fatalf("%s with %q, error %v, to be closed %v; want %d with %q", answer.Status, body, err, answer.Close, want.status, want.reason)
	}
	for name, value := range headers {
		if got := answer.Header.Get(name); got != value {
			p.t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Hour { // RFC 9110 section 6.6.1
		p.t.Errorf("the date is %q", answer.Header["Date"])
	}
	for _, name := range []string{"Upgrade", "Allow"} {
		if _, asked := headers[name]; !asked && answer.Header.Get(name) != "" {
			p.t.Errorf("header %s is %q", name, answer.Header.Get(name))
		}
	}
}

// TestHandshakeSlow: whoever does not send a whole head in time is told 408, be it that nothing
// comes or that bytes trickle in.
func TestHandshakeSlow(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.HandshakeTimeout = 250 * time.Millisecond
		s.Handle("/ws", Options{})
		addr := serve(t, s)
		nothing, half := dial(t, addr), dial(t, addr)
		half.send(upgradeTo("/ws")[:40])
		nothing.wantRefusal(errHeadTooSlow, nil)
		half.wantRefusal(errHeadTooSlow, nil)
		trickle := dial(t, addr)
		for answered := false; !answered; { // as long as it is not answered, nothing ends it
			trickle.send([]byte("x"))
			trickle.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := trickle.in.Peek(1)
			answered = err == nil
		}
		trickle.conn.SetReadDeadline(time.Now().Add(bound))
		trickle.wantRefusal(errHeadTooSlow, nil)
		// And one who is in time has all the time then.
		p := open(t, addr, "/ws")
		start := s.now()
		await(t, "the timeout is long over", func() bool { return s.now()-start > 500 })
		p.send(frame(ws.OpPing, "still there"))
		p.want(ws.OpPong, "still there")
	})
}

// TestHandshakeTooMany: past MaxConns the answer is 503, and a place that is free again is given.
func TestHandshakeTooMany(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConns = 2
		s.Handle("/ws", Options{})
		addr := serve(t, s)
		one := open(t, addr, "/ws")
		open(t, addr, "/ws")
		three := dial(t, addr)
		three.send(upgradeTo("/ws"))
		three.wantRefusal(errTooManyConns, map[string]string{"Retry-After": "1"})
		three.conn.Close()
		one.send(closeFrame(1000, ""))
		one.wantClose(1000, "")
		one.wantEnd()
		await(t, "the two are gone", func() bool { return s.Stats().Conns == 1 })
		open(t, addr, "/ws")
	})
}

// TestInvariant3Heads: halves of heads are bounded as halves of messages are. One too many is told
// 503, a whole one needs nothing, and what a head held is given back when it is whole or gone.
func TestInvariant3Heads(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const each, fit = 4000, 5
		s.InboundBudget = fit*each*2 + each/2 // a buffer may be twice what is in it
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		whole := upgradeTo("/ws", "X: "+strings.Repeat("x", each))
		used := func() int64 { return s.Stats().InboundHeld }
		var halves []*peer
		var refused *peer
		for refused == nil {
			p := dial(t, addr)
			p.send(whole[:100])
			before := used()
			p.send(whole[100:each])
			await(t, "it is kept aside, or refused", func() bool { return used() >= before+each/2 || s.Stats().Handshakes > 0 })
			if s.Stats().Handshakes > 0 {
				refused = p
			} else if halves = append(halves, p); used() > s.InboundBudget || used() < int64(len(halves)*(each-100)) {
				t.Fatalf("%d bytes held for %d halves, of a budget of %d", used(), len(halves), s.InboundBudget)
			}
		}
		if len(halves) < fit {
			t.Errorf("there is room for %d halves", len(halves))
		}
		refused.wantRefusal(errNoRoom, nil)
		must(t, refused.conn.Close())
		one := dial(t, addr)
		one.send(whole)
		one.upgraded()
		for i, p := range halves {
			if i%2 == 0 {
				p.send(whole[each:], frame(ws.OpText, "upgraded"))
				p.upgraded()
				p.want(ws.OpText, "upgraded")
			} else {
				must(t, p.conn.Close())
			}
		}
		await(t, "all is given back", func() bool { return used() == 0 })
	})
}

// TestHandshakeGarbage: behind the head come frames, and what is none is a violation of the
// protocol, told in a close frame.
func TestHandshakeGarbage(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/ws", j.keep(Options{}))
		addr := serve(t, s)
		p := dial(t, addr)
		p.send(upgradeTo("/ws"), upgradeTo("/ws")) // 'G' has a reserved bit set
		p.upgraded()
		p.wantClose(CodeProtocolError, errReservedBits.Reason)
		p.wantEnd()
		j.want(t, "open")
		must(t, p.conn.Close())
		j.wantClose(t, Closing{Cause: BadInput, Code: CodeProtocolError, Reason: errReservedBits.Reason, Err: errReservedBits})
	})
}

// TestHandshakeSubprotocol: the endpoint's best that the client offers is agreed on.
func TestHandshakeSubprotocol(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		agreed := make(chan string, 1)
		s.Handle("/ws", Options{Subprotocols: []string{"best", "good", "fair"}, OnOpen: func(c *Conn, r *Request) {
			if c.Subprotocol() != r.Subprotocol() {
				t.Errorf("the connection has %q, the request %q", c.Subprotocol(), r.Subprotocol())
			}
			agreed <- c.Subprotocol()
		}})
		addr := serve(t, s)
		for _, c := range []struct {
			offer []string
			want  string
		}{
			{nil, ""},
			{[]string{"fair"}, "fair"},
			{[]string{"fair, good,best"}, "best"},
			{[]string{"fair", "good"}, "good"},
			{[]string{"good", "fair"}, "good"},
			{[]string{"best,good, fair"}, "best"},
			{[]string{"fair, fair", "fair"}, "fair"},
			{[]string{"other", "fair\t, another"}, "fair"},
			{[]string{"other"}, ""},
			{[]string{"Best"}, ""}, // they are compared as they are
			{[]string{""}, ""},
		} {
			var headers []string
			for _, o := range c.offer {
				headers = append(headers, "Sec-WebSocket-Protocol: "+o)
			}
			p := dial(t, addr)
			p.send(upgradeTo("/ws", headers...))
			answer := p.upgraded()
			if said := strings.Contains(answer, "Sec-WebSocket-Protocol: "+c.want+"\r\n"); said != (c.want != "") || !said && strings.Contains(answer, "Protocol:") {
				t.Errorf("%q: answered %q, want %q", c.offer, answer, c.want)
			}
			if got := receive(t, "the open event", agreed); got != c.want {
				t.Errorf("%q: agreed on %q, want %q", c.offer, got, c.want)
			}
		}
	})
}

// TestHandshakeRequest: the open handler learns what was asked for.
func TestHandshakeRequest(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		seen := make(chan struct{})
		s.Handle("/a b", Options{OnOpen: func(c *Conn, r *Request) {
			defer close(seen)
			if r.Path() != "/a b" || r.RawQuery() != "x=1&x=2" || len(r.Query()["x"]) != 2 || r.Host() != "example.com" ||
				r.Header("user-agent") != "test" || r.RemoteAddr() != c.RemoteAddr() || !r.RemoteAddr().Addr().IsLoopback() ||
				!r.LocalAddr().Addr().IsLoopback() || r.LocalAddr().Port() == 0 || r.LocalAddr() == r.RemoteAddr() {
				t.Errorf("%q ? %q @ %q, agent %q, from %v to %v", r.Path(), r.RawQuery(), r.Host(), r.Header("user-agent"), r.RemoteAddr(), r.LocalAddr())
			}
		}})
		open(t, serve(t, s), "/a%20b?x=1&x=2", "User-Agent: test")
		receive(t, "the open event", seen)
	})
}

// TestInvariant2StoppedPeers: peers that stopped in the middle of a handshake, of a header and of a
// payload cost no goroutine and no good client's time.
func TestInvariant2StoppedPeers(t *testing.T) {
	// Not parallel, because goroutines are counted.
	const stopped, rounds = 100, 20
	for _, backend := range []string{"epoll", "easygo"} {
		t.Run(backend, func(t *testing.T) {
			s := &Server{Logger: quiet}
			if backend == "easygo" {
				s.Poller = "easygo"
			}
			s.Handle("/", Options{OnMessage: echo})
			addr := serve(t, s)
			var good []*peer
			for range 5 {
				good = append(good, open(t, addr, "/"))
			}
			echoes := func(what string) {
				t.Helper()
				for _, p := range good {
					p.send(frame(ws.OpText, what))
				}
				for _, p := range good {
					p.want(ws.OpText, what)
				}
			}
			echoes("before")
			before := runtime.NumGoroutine()
			whole := cat(upgradeTo("/"), frame(ws.OpText, strings.Repeat("x", 1000)))
			head := len(upgradeTo("/"))
			for i := range stopped {
				for _, n := range []int{1 + i%(head-1), head + 1 + i%7, head + 8 + 1 + i*9} {
					dial(t, addr).send(whole[:n])
				}
				if i%(stopped/rounds) == 0 {
					echoes("between")
				}
			}
			// Everything that the stopped ones sent was read by now, and is kept aside.
			await(t, "all are there", func() bool { return s.Stats().Conns == 3*stopped+len(good) })
			await(t, "the halves are held", func() bool { return s.Stats().InboundHeld >= stopped })
			echoes("after")
			await(t, "there are no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before })
			if st := s.Stats(); st.Handlers.Waiting > 0 || st.MessagesIn != uint64((rounds+2)*len(good)) {
				t.Errorf("%+v", st)
			}
		})
	}
}
