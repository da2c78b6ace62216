//go:build linux

package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// upgradeClause is a row of the handshake's part of the table: a request, and its answer.
type upgradeClause struct {
	name string
	head []byte
	// status is that of the answer; anyError is any that says an error.
	status int
	// has are headers that the answer must have, once and so, and lacks those it must not have.
	has   map[string]string
	lacks []string
}

const anyError = 0

// asking is the head of a handshake with headers in the place of those of their names; one without a
// value is left out.
func asking(line string, headers ...string) []byte {
	lines := strings.Split(string(bytes.TrimRight(upgradeTo("/"), "\r\n")), "\r\n")[1:]
	for _, h := range headers {
		name, _, _ := strings.Cut(h, ":")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	}
	for _, h := range headers {
		if strings.Contains(h, ":") {
			lines = append(lines, h)
		}
	}
	return headOf(line, lines...)
}

// upgradeClauses: sections 1.3, 4, 9.1, 10.2 and 11.3. /ws has subprotocols, /plain has none.
func upgradeClauses() []upgradeClause {
	const get, plain = "GET /ws HTTP/1.1", "GET /plain HTTP/1.1"
	const ok = http.StatusSwitchingProtocols
	version := map[string]string{"Sec-Websocket-Version": "13"}
	agreed := func(sub string) map[string]string { return map[string]string{"Sec-Websocket-Protocol": sub} }
	none := []string{"Sec-Websocket-Protocol"}
	return []upgradeClause{
		{name: "1.3 the accept is a hash of the key", head: asking(get), status: ok, has: map[string]string{"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}},
		{name: "1.3 …: of another key", head: asking(get, "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw=="), status: ok,
			has: map[string]string{"Sec-Websocket-Accept": "HSmrc0sMlYUkAGmm5OPpG2HaGWk="}},
		{name: "4.1 the method MUST be GET: POST", head: asking("POST /ws HTTP/1.1", "Content-Length: 0"), status: anyError},
		{name: "4.1 …: HEAD", head: asking("HEAD /ws HTTP/1.1"), status: anyError},
		{name: "4.1 …: get, methods are case-sensitive", head: asking("get /ws HTTP/1.1"), status: anyError},
		{name: "4.1 HTTP MUST be at least 1.1: 1.0", head: asking("GET /ws HTTP/1.0"), status: 426,
			has: map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}},
		{name: "4.1 …: 0.9", head: asking("GET /ws HTTP/0.9"), status: anyError},
		{name: "4.1 …: none", head: asking("GET /ws"), status: anyError},
		{name: "4.1 the request MUST be valid HTTP: it is not", head: []byte("hello\r\n\r\n"), status: anyError},
		{name: "4.1 …: an absolute URI is, of ws too", head: asking("GET ws://example.com/ws HTTP/1.1"), status: ok},
		{name: "4.1 …: an absolute URI is", head: asking("GET http://example.com/ws HTTP/1.1"), status: ok},
		{name: "4.1 …: a header name with a space", head: asking(get, "X Y: z"), status: anyError},
		{name: "4.1 …: a folded header", head: asking(get, " folded: z"), status: anyError},
		{name: "4.2.1 a Host MUST be there", head: asking(get, "Host"), status: anyError},
		{name: "4.2.1 …: one of them", head: asking(get, "Host: example.com", "Host: example.org"), status: anyError},
		{name: "4.2.1 Upgrade MUST have websocket: missing", head: asking(get, "Upgrade"), status: anyError},
		{name: "4.2.1 …: another protocol", head: asking(get, "Upgrade: h2c"), status: anyError},
		{name: "4.2.1 …: another that begins so", head: asking(get, "Upgrade: websockets"), status: anyError},
		{name: "4.2.1 …: compared without regard to case", head: asking(get, "Upgrade: WebSocket"), status: ok},
		{name: "4.2.1 …: in a list", head: asking(get, "Upgrade: h2c, websocket"), status: ok},
		{name: "4.2.1 Connection MUST have the token Upgrade: missing", head: asking(get, "Connection"), status: anyError},
		{name: "4.2.1 …: another", head: asking(get, "Connection: keep-alive"), status: anyError},
		{name: "4.2.1 …: another that has it inside", head: asking(get, "Connection: x-upgrade"), status: anyError},
		{name: "4.2.1 …: compared without regard to case", head: asking(get, "Connection: uPGRADE"), status: ok},
		{name: "4.2.1 …: in a list, as Firefox sends it", head: asking(get, "Connection: keep-alive, Upgrade"), status: ok},
		{name: "4.2.1 …: in a second line", head: asking(get, "Connection: keep-alive", "Connection: Upgrade"), status: ok},
		{name: "4.2.1 …: in the first of two lines", head: asking(get, "Connection: Upgrade", "Connection: keep-alive"), status: ok},
		{name: "4.2.1 Sec-WebSocket-Key MUST be 16 bytes in base64: missing", head: asking(get, "Sec-WebSocket-Key"), status: anyError},
		{name: "4.2.1 …: empty", head: asking(get, "Sec-WebSocket-Key: "), status: anyError},
		{name: "4.2.1 …: 15 bytes", head: asking(get, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), status: anyError},
		{name: "4.2.1 …: 17 bytes", head: asking(get, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), status: anyError},
		{name: "4.2.1 …: 18 bytes", head: asking(get, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"), status: anyError},
		{name: "4.2.1 …: 48 bytes", head: asking(get, "Sec-WebSocket-Key: "+strings.Repeat("AAAA", 16)), status: anyError},
		{name: "4.2.1 …: bits behind the sixteenth byte, as in the example of 4.1, don't count", head: asking(get, "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="), status: ok,
			has: map[string]string{"Sec-Websocket-Accept": "OfS0wDaT5NoxF2gqm7Zj2YtetzM="}},
		{name: "4.2.1 …: no padding", head: asking(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), status: anyError},
		{name: "4.2.1 …: not base64", head: asking(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="), status: anyError},
		{name: "4.2.1 …: base64 for URLs", head: asking(get, "Sec-WebSocket-Key: ________________-____w=="), status: anyError},
		{name: "4.2.1 …: spaces around it are no part of it", head: asking(get, "Sec-WebSocket-Key:\t dGhlIHNhbXBsZSBub25jZQ== \t"), status: ok,
			has: map[string]string{"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}},
		{name: "4.2.1 Sec-WebSocket-Version MUST be 13: missing", head: asking(get, "Sec-WebSocket-Version"), status: anyError},
		{name: "4.2.1 …: empty", head: asking(get, "Sec-WebSocket-Version: "), status: anyError},
		{name: "4.2.1 …: 013", head: asking(get, "Sec-WebSocket-Version: 013"), status: anyError},
		{name: "4.2.1 header names are compared without regard to case", status: ok,
			head: headOf(get, "hOST: a", "uPGRADE: websocket", "connection: upgrade", "SEC-WEBSOCKET-VERSION: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")},
		{name: "4.2.1 header fields may come in any order", status: ok,
			head: headOf(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: Upgrade", "Host: a")},
		{name: "4.2.1 unknown header fields are ignored", head: asking(get, "Cookie: a=b", "X-Unknown: \xff\xfe", "Sec-WebSocket-Nonsense: 1", "Empty: "), status: ok},
		{name: "4.2.1 without an Origin the client is no browser", head: asking(get), status: ok},
		{name: "4.2.2 the answer is 101 with Upgrade, Connection and Sec-WebSocket-Accept", head: asking(get), status: ok,
			has: map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}},
		{name: "4.2.2 another version MUST be told which is spoken: 8", head: asking(get, "Sec-WebSocket-Version: 8"), status: 426, has: version},
		{name: "4.2.2 …: 0", head: asking(get, "Sec-WebSocket-Version: 0"), status: 426, has: version},
		{name: "4.2.2 …: 255", head: asking(get, "Sec-WebSocket-Version: 255"), status: 426, has: version},
		{name: "4.2.2 a service that is not there MUST be told so", head: asking("GET /nothing HTTP/1.1"), status: 404},
		{name: "4.2.2 …: paths are case-sensitive", head: asking("GET /WS HTTP/1.1"), status: 404},
		{name: "4.2.2 …: a query is no part of the path", head: asking("GET /ws?a=b HTTP/1.1"), status: ok},
		{name: "4.2.2 no subprotocol is answered that was not asked for", head: asking(get), status: ok, lacks: none},
		{name: "4.2.2 the subprotocol MUST be one of the client's", head: asking(get, "Sec-WebSocket-Protocol: good"), status: ok, has: agreed("good")},
		{name: "4.2.2 …: of several", head: asking(get, "Sec-WebSocket-Protocol: other, good, another"), status: ok, has: agreed("good")},
		{name: "4.2.2 …: none in common", head: asking(get, "Sec-WebSocket-Protocol: other"), status: ok, lacks: none},
		{name: "4.2.2 …: they are case-sensitive", head: asking(get, "Sec-WebSocket-Protocol: Good"), status: ok, lacks: none},
		{name: "4.2.2 …: an endpoint that has none", head: asking(plain, "Sec-WebSocket-Protocol: good"), status: ok, lacks: none},
		{name: "4.1 a subprotocol's name MUST be a token: it is not", head: asking(get, "Sec-WebSocket-Protocol: go od"), status: anyError},
		{name: "4.1 …: a separator", head: asking(get, "Sec-WebSocket-Protocol: good;best"), status: anyError},
		{name: "4.4 a server MUST answer with the versions that it speaks", head: asking(get, "Sec-WebSocket-Version: 25"), status: 426, has: version},
		{name: "4.4 …: a client says one version, not a list", head: asking(get, "Sec-WebSocket-Version: 13, 8"), status: 426, has: version},
		{name: "9.1 a server MUST NOT use an extension that was not offered", head: asking(get), status: ok, lacks: []string{"Sec-Websocket-Extensions"}},
		{name: "9.1 …: nor one that it does not know", head: asking(get, "Sec-WebSocket-Extensions: x-nobody; knows=it, x-other"), status: ok,
			lacks: []string{"Sec-Websocket-Extensions"}},
		{name: "9.1 …: nor one that is switched off", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), status: ok,
			lacks: []string{"Sec-Websocket-Extensions"}},
		// By the letter this list breaks the grammar: it is 1#extension. Proxies and clients send it all the same for none,
		// and gorilla, coder, gobwas and gws take it so.
		{name: "9.1 an empty list is none offered, against the letter", head: asking(get, "Sec-WebSocket-Extensions: "), status: ok,
			lacks: []string{"Sec-Websocket-Extensions"}},
		{name: "9.1 …: of empty elements", head: asking(get, "Sec-WebSocket-Extensions: , ,"), status: ok, lacks: []string{"Sec-Websocket-Extensions"}},
		{name: "9.1 a list that breaks the grammar MUST fail the connection: a parameter without a name", head: asking(get, "Sec-WebSocket-Extensions: x; ; y"), status: anyError},
		{name: "9.1 …: a value without its quote", head: asking(get, "Sec-WebSocket-Extensions: x; y=\"z"), status: anyError},
		{name: "9.1 …: a quoted value that is no token", head: asking(get, "Sec-WebSocket-Extensions: x; y=\"a b\""), status: anyError},
		{name: "9.1 …: two names", head: asking(get, "Sec-WebSocket-Extensions: x y"), status: anyError},
		{name: "10.2 an origin that is not wanted SHOULD be refused", head: asking(get, "Origin: http://evil.example"), status: 403},
		{name: "10.2 …: null", head: asking(get, "Origin: null"), status: 403},
		{name: "10.2 …: the host's name in another's", head: asking(get, "Origin: http://example.com.evil.example"), status: 403},
		{name: "10.2 …: another port", head: asking(get, "Origin: http://example.com:8081"), status: 403},
		{name: "10.2 …: the server's own is wanted", head: asking(get, "Origin: http://example.com"), status: ok},
		{name: "11.3.1 Sec-WebSocket-Key MUST NOT come twice", status: anyError,
			head: asking(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==")},
		{name: "11.3.2 Sec-WebSocket-Extensions may come in several lines", head: asking(get, "Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b; c=\"d\""), status: ok},
		{name: "11.3.3 Sec-WebSocket-Accept MUST NOT come twice in an answer", head: asking(get, "Sec-WebSocket-Accept: nonsense"), status: ok,
			has: map[string]string{"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}},
		{name: "11.3.4 Sec-WebSocket-Protocol may come in several lines, and MUST NOT in the answer", status: ok, has: agreed("best"),
			head: asking(get, "Sec-WebSocket-Protocol: good", "Sec-WebSocket-Protocol: best")},
		{name: "11.3.5 Sec-WebSocket-Version MUST NOT come twice", head: asking(get, "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 13"), status: anyError},
	}
}

// TestClausesUpgrade sends each request whole, byte by byte and cut in the middle. A connection that
// is upgraded then speaks frames, and one that is not is closed in order.
func TestClausesUpgrade(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/ws", Options{OnMessage: echo, Subprotocols: []string{"best", "good"}})
		s.Handle("/plain", Options{OnMessage: echo})
		addr := serve(t, s)
		for _, r := range upgradeClauses() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				n := len(r.head)
				r.talk(t, addr, r.head)
				r.talk(t, addr, r.head[:n/2], r.head[n/2:])
				r.talk(t, addr, r.head[:n-1], r.head[n-1:])
				r.talk(t, addr, slices.Collect(slices.Chunk(r.head, 1))...)
			})
		}
	})
}

func (r *upgradeClause) talk(t *testing.T, addr string, chunks ...[]byte) {
	t.Helper()
	p := dial(t, addr)
	defer p.conn.Close()
	for _, chunk := range chunks {
		p.conn.Write(chunk) // which fails once the request is refused
	}
	answer := p.answer()
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	must(t, err)
	switch {
	case r.status == anyError && (response.StatusCode < 400 || response.StatusCode > 599), r.status != anyError && response.StatusCode != r.status:
		t.Fatalf("status %s, want %d", response.Status, r.status)
	case !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", response.StatusCode)):
		t.Errorf("the status line of %q is not of HTTP/1.1", answer)
	}
	for name, want := range r.has {
		if got := response.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range r.lacks {
		if got, ok := response.Header[name]; ok {
			t.Errorf("%s: %q is in the answer", name, got)
		}
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		if _, err := io.Copy(io.Discard, p.in); err != nil {
			t.Errorf("instead of the end: %v", err)
		}
		return
	}
	p.send(frame(0x9, "open"), closeFrame(1000, ""))
	p.want(0xa, "open")
	p.wantClose(1000, "")
	p.wantEnd()
}

// toldClause is a row about what the endpoint's application learns of the end.
type toldClause struct {
	name string
	in   []byte
	end  func(*peer) // what the peer does then
	want Closing
	own  bool // the server closes with 4000 "enough" first
}

func toldClauses() []toldClause {
	read := func(p *peer) { io.Copy(io.Discard, p.in) }
	endStream := func(p *peer) { p.conn.CloseWrite(); read(p) }
	reset := func(p *peer) { p.conn.SetLinger(0); p.conn.Close() }
	own := Closing{Cause: ClosedLocally, Code: 4000, Reason: "enough"}
	return []toldClause{
		{"7.1.4 closed cleanly, by the peer", closeFrame(1001, "bye"), read, Closing{Cause: PeerClosed, Code: 1001, Reason: "bye"}, false},
		{"7.1.4 closed cleanly, by the server", closeFrame(4000, ""), read, own, true},
		{"7.1.5 the code is that of the first close frame", cat(closeFrame(3000, "a"), closeFrame(3001, "b")), read, Closing{Cause: PeerClosed, Code: 3000, Reason: "a"}, false},
		{"7.1.5 …: 1005 if it has none", frame(8, ""), read, Closing{Cause: PeerClosed, Code: CodeNone}, false},
		{"7.1.5 …: 1006 if none came, and the stream ended", frame(1, "last"), endStream, Closing{Cause: PeerGone, Code: CodeAbnormal}, false},
		{"7.1.5 …: 1006 if the stream ended in a frame", bits("1 000 0001 | 1 0000101"), endStream, Closing{Cause: PeerGone, Code: CodeAbnormal}, false},
		{"7.1.5 …: 1006 if the stream ended in a close frame", bits("1 000 1000 | 1 0000010" + key + "00110100"), endStream, Closing{Cause: PeerGone, Code: CodeAbnormal}, false},
		{"7.1.5 …: 1006 if the connection was reset", nil, reset, Closing{Cause: PeerGone, Code: CodeAbnormal}, false},
		{"7.1.6 the reason is that of the first close frame", closeFrame(1000, "Grüße €𝄞"), read, Closing{Cause: PeerClosed, Code: 1000, Reason: "Grüße €𝄞"}, false},
		{"7.1.6 …: empty if it has none", closeFrame(1000, ""), read, Closing{Cause: PeerClosed, Code: 1000}, false},
		{"7.1.6 …: 123 bytes", closeFrame(1000, strings.Repeat("r", 123)), read, Closing{Cause: PeerClosed, Code: 1000, Reason: strings.Repeat("r", 123)}, false},
	}
}

// TestClausesTold: what an application is told of the end of its connection.
func TestClausesTold(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		rows := toldClauses()
		ends := make([]chan Closing, len(rows))
		for i, r := range rows {
			ends[i] = make(chan Closing, 1)
			s.Handle(fmt.Sprint("/", i), Options{
				OnOpen: func(c *Conn, _ *Request) {
					if r.own {
						c.CloseWith(4000, "enough")
					}
				},
				OnClose: func(_ *Conn, why Closing) { ends[i] <- why },
			})
		}
		addr := serve(t, s)
		for i, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				p := open(t, addr, fmt.Sprint("/", i))
				p.send(r.in)
				r.end(p)
				p.conn.Close()
				got := receive(t, "the close event", ends[i])
				if got.Err = nil; got != r.want {
					t.Errorf("told %+v, want %+v", got, r.want)
				}
			})
		}
	})
}
