//go:build linux

package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// reported is an input that users of other servers reported, and what must come of it here.
type reported struct {
	name, source string
	head         []byte // empty is a plain handshake
	frames       []byte // behind the handshake, in the same segment
	status       int    // 0 is 101
	echoed       string // the first message that comes back
	code         Code   // of the close frame; 0 is none
	compressed   bool
	subprotocol  string
}

// reports are sorted by what they are about.
func reports() []reported {
	const get = "GET /ws HTTP/1.1"
	text := frame(ws.OpText, "hello")
	return []reported{
		{name: "Connection: upgrade in lower case, as nginx writes it", source: "cinatra#578, stalwart#3178", head: asking(get, "Connection: upgrade"), frames: text, echoed: "hello"},
		{name: "Upgrade: WebSocket, as Apache writes it", source: "ejabberd#510", head: asking(get, "Upgrade: WebSocket"), frames: text, echoed: "hello"},
		{name: "two Connection lines, as Tcl writes them", source: "civetweb#1083", head: asking(get, "Connection: Keep-alive", "Connection: Upgrade"), frames: text, echoed: "hello"},
		{name: "Upgrade with more than one protocol", source: "deno#12551", head: asking(get, "Upgrade: foo, websocket"), frames: text, echoed: "hello"},
		{name: "Content-Length: 0", source: "KestrelHttpServer#2217, python-websockets#1617", head: asking(get, "Content-Length: 0"), frames: text, echoed: "hello"},
		{name: "Connection: close beside Upgrade", source: "ssh-web-console#24", head: asking(get, "Connection: close, Upgrade"), frames: text, echoed: "hello"},
		{name: "no Connection", source: "bun#35870", head: asking(get, "Connection"), status: http.StatusBadRequest},
		{name: "two keys", source: "bun#35870", head: asking(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA=="), status: http.StatusBadRequest},
		{name: "a target with two slashes", source: "ILEvator#48", head: asking("GET //ws HTTP/1.1"), status: http.StatusNotFound},
		{name: "subprotocols in two lines", source: "uNetworking/bindings#61", head: asking(get, "Sec-WebSocket-Protocol: binary", "Sec-WebSocket-Protocol: chat"), frames: text, echoed: "hello", subprotocol: "chat"},
		{name: "subprotocols in a list, one answered", source: "civetweb#295", head: asking(get, "Sec-WebSocket-Protocol: chat, superchat"), frames: text, echoed: "hello", subprotocol: "chat"},
		{name: "a subprotocol that the server does not speak", source: "jaspervdj/websockets#61", head: asking(get, "Sec-WebSocket-Protocol: guacamole"), frames: text, echoed: "hello"},
		{name: "Origin with an IPv6 host", source: "autobahn-testsuite#75, clay#106", head: asking(get, "Host: [fd00:10::1]:8081", "Origin: http://[fd00:10:0:0::1]:8081"), frames: text, echoed: "hello"},
		{name: "Origin without the default port, behind TLS", source: "clay#106", head: asking(get, "Host: example.com", "Origin: https://example.com:443"), frames: text, echoed: "hello"},
		{name: "Origin of another port of the same host", source: "ws28#7", head: asking(get, "Host: 127.0.0.1:3000", "Origin: http://127.0.0.1"), status: http.StatusForbidden},
		{name: "Safari's x-webkit-deflate-frame beside nothing else", source: "cowboy#1543", head: asking(get, "Sec-WebSocket-Extensions: x-webkit-deflate-frame"), frames: text, echoed: "hello"},
		{name: "an offer before the one that is known", source: "capnproto#1505", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7, permessage-deflate"), frames: text, echoed: "hello", compressed: true},
		{name: "a comma in a quoted parameter of another extension", source: "bisq2#4932", head: asking(get, `Sec-WebSocket-Extensions: foo; x="a, permessage-deflate"`), status: http.StatusBadRequest},
		{name: "server_no_context_takeover in the offer", source: "knostr#7, libwebsockets#765", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"), frames: text, echoed: "hello", compressed: true},
		{name: "a message in the segment of the handshake", source: "nbio#75, async-http-client#1095", frames: text, echoed: "hello"},
		{name: "an empty message", source: "pony-websocket#8", frames: frame(ws.OpText, ""), echoed: ""},
		{name: "an empty ping without a mask", source: "websocket-sharp#12, httpun-ws#64", frames: []byte{0x89, 0}, code: CodeProtocolError},
		{name: "a masking key of zeros", source: "ws#1988", frames: cat([]byte{0x81, 0x85, 0, 0, 0, 0}, "hello"), echoed: "hello"},
		{name: "UTF-8 split inside a character by fragments", source: "ballerina-lang#12695, nim-websock#85", frames: cat(fragment(ws.OpText, false, "12345\xf4\x8f"), frame(ws.OpContinuation, "\xbf\xbf12345")), echoed: "12345\U0010ffff12345"},
		{name: "a continuation of nothing", source: "tinymux#1886", frames: frame(ws.OpContinuation, "x"), code: CodeProtocolError},
		{name: "a text frame within a fragmented message", source: "tinymux#1886", frames: cat(fragment(ws.OpText, false, "a"), frame(ws.OpText, "b")), code: CodeProtocolError},
		{name: "a compressed ping", source: "bandit#651, bun#33001, swoole-src#6209", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate"), frames: []byte{0xc9, 0x80, 0, 0, 0, 0}, code: CodeProtocolError, compressed: true},
		{name: "a compressed ping without FIN", source: "bandit#651", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate"), frames: []byte{0x49, 0x80, 0, 0, 0, 0}, code: CodeProtocolError, compressed: true},
		{name: "an uncompressed message where compression is agreed on", source: "nginx-clojure#163, libwebsockets#2794", head: asking(get, "Sec-WebSocket-Extensions: permessage-deflate"), frames: text, echoed: "hello", compressed: true},
		{name: "RSV1 where nothing is agreed on", source: "dart-lang/sdk#63488", frames: []byte{0xc1, 0x80, 0, 0, 0, 0}, code: CodeProtocolError},
		{name: "close code 1014", source: "ws#1682, beast#3099", frames: frame(ws.OpClose, "\x03\xf6"), code: 1014},
		{name: "close code 1012", source: "netty#8664", frames: frame(ws.OpClose, "\x03\xf4"), code: 1012},
		{name: "a close reason that is not UTF-8", source: "freeunit#378", frames: frame(ws.OpClose, "\x03\xe8\xff"), code: CodeInvalidPayload},
		{name: "a ping of 126 bytes", source: "ws#1708, bun#35030", frames: frame(ws.OpPing, strings.Repeat("p", 126)), code: CodeProtocolError},
	}
}

// TestReported sends each input at once and byte by byte.
func TestReported(t *testing.T) {
	t.Parallel()
	srv := &Server{Logger: quiet}
	srv.Handle("/ws", Options{OnMessage: echo, Subprotocols: []string{"chat"}, Compression: Compression{Enabled: true, MinSize: 1 << 20}})
	addr := serve(t, srv)
	for _, r := range reports() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			t.Logf("reported as %s", r.source)
			if r.head == nil {
				r.head = asking("GET /ws HTTP/1.1")
			}
			all := cat(r.head, r.frames)
			r.try(t, addr, [][]byte{all})
			var bytewise [][]byte
			for i := range all {
				bytewise = append(bytewise, all[i:i+1])
			}
			r.try(t, addr, bytewise)
		})
	}
}

func (r *reported) try(t *testing.T, addr string, pieces [][]byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	for _, p := range pieces {
		if _, err := conn.Write(p); err != nil {
			break // the server may have answered and closed already
		}
	}
	must(t, conn.(*net.TCPConn).CloseWrite())
	r.check(t, conn)
}

func (r *reported) check(t *testing.T, conn net.Conn) {
	t.Helper()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	must(t, err)
	switch {
	case r.status != 0:
		if resp.StatusCode != r.status {
			t.Errorf("status %d, want %d", resp.StatusCode, r.status)
		}
		return
	case resp.StatusCode != http.StatusSwitchingProtocols:
		t.Fatalf("status %d", resp.StatusCode)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != r.subprotocol || len(resp.Header["Sec-Websocket-Protocol"]) > 1 {
		t.Errorf("subprotocol %q, want %q", resp.Header["Sec-Websocket-Protocol"], r.subprotocol)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != r.compressed {
		t.Errorf("extensions %q", got)
	}
	h, err := ws.ReadHeader(in)
	must(t, err)
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(in, payload)
	must(t, err)
	if r.code == 0 {
		if h.OpCode != ws.OpText || string(payload) != r.echoed {
			t.Errorf("opcode %d, %q, want %q", h.OpCode, payload, r.echoed)
		}
		return
	}
	if code, _ := ws.ParseCloseFrameData(payload); h.OpCode != ws.OpClose || Code(code) != r.code {
		t.Errorf("opcode %d, %x, want a close frame with %d", h.OpCode, payload, r.code)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("behind the close frame: %x, %v", rest, err)
	}
}
