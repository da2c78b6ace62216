//go:build linux

package server

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// scan looks for the end of a head as the handshake does, chunk by chunk.
func scan(chunks [][]byte) (head, rest []byte, err error) {
	var p []byte
	for _, chunk := range chunks {
		looked := len(p)
		p = append(p, chunk...)
		if head, rest, err = cutHead(p, looked); err != nil {
			return nil, nil, err
		}
		if head != nil {
			return head, rest, nil
		}
	}
	return nil, p, nil
}

// read is scan, and then all that is made of the head.
func read(chunks [][]byte) (r Request, rest []byte, err error) {
	raw, rest, err := scan(chunks)
	if err != nil || raw == nil {
		return r, rest, err
	}
	err = r.parse(raw)
	return r, rest, err
}

func TestHeadEnd(t *testing.T) {
	t.Parallel()
	whole := upgradeTo("/")
	for _, c := range []struct {
		name, stream string
		head         int // its length; 0 is that it is not whole
	}{
		{"whole", string(whole), len(whole)},
		{"with frames behind it", string(whole) + "\x81\x80\n\n\x00\r\n\r\n", len(whole)},
		{"without the empty line", string(whole[:len(whole)-2]), 0},
		{"without the last byte", string(whole[:len(whole)-1]), 0},
		{"a request line only", "GET / HTTP/1.1\r\n\r\n", 18},
		{"9112 2.2 an empty line first", "\r\n" + string(whole) + "\r\n\r\n", len(whole)},
		{"9112 2.2 an empty line first, and half a head", "\r\nGET / HTTP/1.1\r\n", 0},
		{"9112 2.2 nothing but an empty line", "\r\n", 0},
		{"9112 2.2 half an empty line", "\r", 0},
	} {
		everySplit([]byte(c.stream), func(how string, chunks [][]byte) {
			head, rest, err := scan(chunks)
			if err != nil || len(head) != c.head {
				t.Errorf("%s, %s: %d bytes of head, error %v; want %d", c.name, how, len(head), err, c.head)
			}
			if got := string(head) + string(rest); !strings.HasPrefix(strings.TrimPrefix(c.stream, "\r\n"), strings.TrimPrefix(got, "\r\n")) {
				t.Errorf("%s, %s: head and rest together are %q", c.name, how, got)
			}
		})
	}
}

// TestHeadEndRefuses: what no whole head could mend is refused with the byte that makes it so, at
// the latest with the end of its line.
func TestHeadEndRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		right string // can still become a head
		wrong string
		want  error
	}{
		{"9112 2.2 bare LF ends the request line", "GET / HTTP/1.1", "\n", errBareLF},
		{"9112 2.2 bare LF ends a header line", "GET / HTTP/1.1\r\nHost: a", "\n", errBareLF},
		{"9112 2.2 bare LF is the empty line", "GET / HTTP/1.1\r\nHost: a\r\n", "\n", errBareLF},
		{"9112 2.2 bare LF at the very start", "", "\n", errBareLF},
		{"9112 2.2 bare LF behind an empty line", "\r\n", "\n", errBareLF},
		{"9112 2.2 a second empty line", "\r\n\r", "\n", errRequestLine},
		{"9110 5.5 NUL in a value", "GET / HTTP/1.1\r\nHost: a", "\x00", errControlByte},
		{"9110 5.5 NUL at the very start", "", "\x00", errControlByte},
		{"9110 5.5 escape", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\x1b", errControlByte},
		{"9110 5.5 DEL", "GET /", "\x7f", errControlByte},
		{"9110 5.5 vertical tab", "GET / HTTP/1.1\r\nHost:", "\x0b", errControlByte},
		{"a TLS client", "", "\x16", errControlByte},
	} {
		everySplit([]byte(c.right+c.wrong), func(how string, chunks [][]byte) {
			if head, _, err := scan(chunks); head != nil || err != c.want {
				t.Errorf("%s, %s: head %q, error %v; want %v", c.name, how, head, err, c.want)
			}
		})
		everySplit([]byte(c.right), func(how string, chunks [][]byte) {
			if head, _, err := scan(chunks); head != nil || err != nil {
				t.Errorf("%s, %s, before it is wrong: head %q, error %v", c.name, how, head, err)
			}
		})
	}
}

// TestHead has heads that are right, and what is read of them.
func TestHead(t *testing.T) {
	t.Parallel()
	with := func(headers ...string) []byte {
		return headOf("GET /chat?a=1&b=%zz HTTP/1.1", append([]string{"Host: example.com:8080"}, headers...)...)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		ok   func(r *Request) bool
	}{
		{"9112 2.2 an empty line first", append([]byte("\r\n"), with()...), func(r *Request) bool { return r.Path() == "/chat" }},
		{"6454 7.3 several origins, for judge to say what of it", with("Origin: http://a", "Origin: http://b"), func(r *Request) bool { return r.head.origins == 2 }},
		{"6454 7.3 so many that a byte can't count them", with(slices.Repeat([]string{"Origin: http://a"}, 256)...), func(r *Request) bool { return r.head.origins == 2 }},
		{"path, query and host", with(), func(r *Request) bool {
			return r.Path() == "/chat" && r.RawQuery() == "a=1&b=%zz" && r.Query().Get("a") == "1" && r.Host() == "example.com:8080"
		}},
		{"9110 5.1 names in any case", with("uPGRADE: websocket", "connection: Upgrade", "ORIGIN: http://a"), func(r *Request) bool {
			return r.head.wantsUpgrade && r.head.connection && string(r.head.origin) == "http://a"
		}},
		{"9110 7.8 tokens in any case", with("Upgrade: WebSocket", "Connection: uPGRADE"), func(r *Request) bool {
			return r.head.wantsUpgrade && r.head.connection
		}},
		{"9110 5.6.1 lists", with("Upgrade: h2c, websocket", "Connection: keep-alive,\tUpgrade ,foo"), func(r *Request) bool {
			return r.head.wantsUpgrade && r.head.connection
		}},
		{"9110 5.3 lists on several lines", with("Upgrade: h2c", "Upgrade: websocket", "Connection: keep-alive", "Connection: Upgrade"), func(r *Request) bool {
			return r.head.wantsUpgrade && r.head.connection
		}},
		{"9110 5.3 in any order", with("Upgrade: websocket", "Upgrade: h2c", "Connection: Upgrade", "Connection: keep-alive"), func(r *Request) bool {
			return r.head.wantsUpgrade && r.head.connection
		}},
		{"a token is more than a part of one", with("Upgrade: websockets, web socket", "Connection: upgrade-insecure, xupgrade"), func(r *Request) bool {
			return !r.head.wantsUpgrade && !r.head.connection
		}},
		{"9112 5 space around a value", with("X-Much: \t a b \t "), func(r *Request) bool { return r.Header("x-much") == "a b" }},
		{"9112 5 no space, and no value", with("X-Much:a", "X-None:", "X-Blank: \t"), func(r *Request) bool {
			return r.Header("X-MUCH") == "a" && len(r.Headers("x-none")) == 1 && r.Header("x-none") == "" && r.Header("X-Blank") == ""
		}},
		{"headers asked for", with("X: 1", "Y: 2", "x: 3"), func(r *Request) bool {
			return r.Header("X") == "1" && slices.Equal(r.Headers("X"), []string{"1", "3"}) && r.Header("Z") == "" && r.Headers("Z") == nil
		}},
		{"9110 5.5 bytes beyond ASCII in a value", with("X: \xff\xc3\xa9"), func(r *Request) bool { return r.Header("X") == "\xff\xc3\xa9" }},
		{"no body of length 0", with("Content-Length: 0"), func(r *Request) bool { return !r.head.hasBody }},
		{"a body of length 1", with("Content-Length: 1"), func(r *Request) bool { return r.head.hasBody }},
		{"a length that can't be read", with("Content-Length: +0"), func(r *Request) bool { return r.head.hasBody }},
		{"a chunked body", with("Transfer-Encoding: chunked"), func(r *Request) bool { return r.head.hasBody }},
		{"an empty Host", headOf("GET / HTTP/1.1", "Host:"), func(r *Request) bool { return r.head.hosts == 1 && r.Host() == "" }},
		{"escapes in the path", headOf("GET /a%2Fb%20c?d%20e HTTP/1.1", "Host: a"), func(r *Request) bool {
			return r.Path() == "/a/b c" && r.RawQuery() == "d%20e"
		}},
		{"two slashes are a path", headOf("GET //a/b HTTP/1.1", "Host: a"), func(r *Request) bool { return r.Path() == "//a/b" }},
		{"a later minor version", headOf("GET / HTTP/1.9", "Host: a"), func(r *Request) bool { return r.Path() == "/" }},
		{"9112 3.2.2 absolute form", headOf("GET http://example.com/chat?x=1 HTTP/1.1", "Host: example.com"), func(r *Request) bool {
			return r.Path() == "/chat" && r.RawQuery() == "x=1" && r.Host() == "example.com"
		}},
		{"9112 3.2.2 absolute form, whose host counts", headOf("GET http://true.example:81/chat HTTP/1.1", "Host: false.example"), func(r *Request) bool {
			return r.Host() == "true.example:81"
		}},
		{"9112 3.2.2 absolute form with an IPv6 address", headOf("GET http://[::1]:80/a?b HTTP/1.1", "Host:"), func(r *Request) bool {
			return r.Path() == "/a" && r.Host() == "[::1]:80"
		}},
		{"9112 3.2.2 absolute form without a path", headOf("GET HTTP://example.com HTTP/1.1", "Host: example.com"), func(r *Request) bool {
			return r.Path() == "/" && r.RawQuery() == ""
		}},
		{"9112 3.2.2 absolute form with a query only", headOf("GET https://example.com?x=/chat HTTP/1.1", "Host: example.com"), func(r *Request) bool {
			return r.Path() == "/" && r.RawQuery() == "x=/chat"
		}},
		{"absolute form of ws", headOf("GET ws://example.com/chat?x=1 HTTP/1.1", "Host: false.example"), func(r *Request) bool {
			return r.Path() == "/chat" && r.RawQuery() == "x=1" && r.Host() == "example.com"
		}},
		{"absolute form of wss without a path", headOf("GET WSS://[::1]:443 HTTP/1.1", "Host:"), func(r *Request) bool {
			return r.Path() == "/" && r.Host() == "[::1]:443"
		}},
	} {
		everySplit(c.raw, func(how string, chunks [][]byte) {
			r, rest, err := read(chunks)
			if err != nil || r.raw == nil || len(rest) != 0 || !c.ok(&r) {
				t.Errorf("%s, %s: %+v, error %v", c.name, how, r.head, err)
			}
			if err == nil && r.raw != nil {
				if kept := r.keep(); !c.ok(kept) || !bytes.Equal(kept.raw, r.raw) {
					t.Errorf("%s, %s: a kept copy is another: %+v", c.name, how, kept.head)
				}
			}
		})
	}
}

// TestHeadRefuses has heads that two readers could understand differently (RFC 9112 section 11), and
// those that nobody understands.
func TestHeadRefuses(t *testing.T) {
	t.Parallel()
	line := func(line string) []byte { return headOf(line, "Host: a") }
	with := func(headers ...string) []byte {
		return headOf("GET / HTTP/1.1", append([]string{"Host: a"}, headers...)...)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"9112 3 nothing", []byte("\r\n\r\n"), errRequestLine},
		{"9112 2.2 two empty lines first", append([]byte("\r\n\r\n"), line("GET / HTTP/1.1")...), errRequestLine},
		{"9112 3 one word", line("GET"), errRequestLine},
		{"9112 3 two words", line("GET /"), errRequestLine},
		{"9112 3 four words", line("GET / HTTP/1.1 "), errRequestLine},
		{"9112 3 two spaces", line("GET  / HTTP/1.1"), errRequestLine},
		{"9112 3 two spaces later", line("GET /  HTTP/1.1"), errRequestLine},
		{"9112 3 a tab for a space", line("GET\t/\tHTTP/1.1"), errRequestLine},
		{"9112 3 a space first", line(" GET / HTTP/1.1"), errRequestLine},
		{"9112 3.1 no token for a method", line("G(T / HTTP/1.1"), errRequestLine},
		{"9112 2.3 lower case", line("GET / http/1.1"), errRequestLine},
		{"9112 2.3 no number", line("GET / HTTP/1.x"), errRequestLine},
		{"9112 2.3 two digits", line("GET / HTTP/1.10"), errRequestLine},
		{"9110 15.6.6 HTTP/0.9", line("GET / HTTP/0.9"), errHTTPVersion},
		{"9110 15.6.6 HTTP/2", line("PRI * HTTP/2.0"), errHTTPVersion},
		{"9110 15.6.6 HTTP/0.9", line("GET / HTTP/0.9"), errHTTPVersion},
		{"9112 3.2 a fragment", line("GET /#x HTTP/1.1"), errTarget},
		{"9112 3.2 a bare CR", line("GET /\ra HTTP/1.1"), errTarget},
		{"9112 3.2 a tab", line("GET /\ta HTTP/1.1"), errTarget},
		{"9112 3.2 beyond ASCII", line("GET /é HTTP/1.1"), errTarget},
		{"9112 3.2.1 no slash", line("GET ws HTTP/1.1"), errTarget},
		{"9112 3.2.1 a URL in the query of no path", line("GET ws?x=http://b/ HTTP/1.1"), errTarget},
		{"9112 3.2.2 no scheme", line("GET ://b/ HTTP/1.1"), errTarget},
		{"9112 3.2.2 a scheme of a digit", line("GET 1http://b/ HTTP/1.1"), errTarget},
		{"9112 3.2.3 CONNECT in absolute form", line("CONNECT http://b/ HTTP/1.1"), errTarget},
		{"3986 3.2.2 a host with an escape", line("GET http://b%41/ HTTP/1.1"), errTarget},
		{"3986 3.2.3 a port that is none", line("GET http://b:x/ HTTP/1.1"), errTarget},
		{"9112 3.2.2 a scheme that is not HTTP's", line("GET file://b/ HTTP/1.1"), errTarget},
		{"a scheme that begins as ws", line("GET wsx://b/ HTTP/1.1"), errTarget},
		{"ws without a host", line("GET ws:///ws HTTP/1.1"), errTarget},
		{"ws with a user", line("GET ws://user@b/ws HTTP/1.1"), errTarget},
		{"CONNECT to ws", line("CONNECT ws://b/ HTTP/1.1"), errTarget},
		{"9110 4.2.1 no host", line("GET http:///ws HTTP/1.1"), errTarget},
		{"9110 4.2.4 a user", line("GET http://user@b/ws HTTP/1.1"), errTarget},
		{"9112 3.2.3 authority form", line("CONNECT a:80 HTTP/1.1"), errTarget},
		{"9112 3.2.4 asterisk form", line("GET * HTTP/1.1"), errTarget},
		{"3986 2.1 half an escape", line("GET /%2 HTTP/1.1"), errBadPathEscape},
		{"3986 2.1 no escape", line("GET /%zz HTTP/1.1"), errBadPathEscape},
		{"9112 5.2 a folded line", with("X: a", " b"), errFold},
		{"9112 5.2 folded by a tab", with("X: a", "\tb"), errFold},
		{"9112 2.2 space before the first header", headOf("GET / HTTP/1.1", " Host: a"), errFold},
		{"9112 5.1 space before the colon", with("X : a"), errFieldName},
		{"9112 5.1 a tab before the colon", with("Transfer-Encoding\t: chunked"), errFieldName},
		{"9112 5 no colon", with("X"), errFieldName},
		{"9112 5 no name", with(": a"), errFieldName},
		{"9110 5.1 no token for a name", with("X@: a"), errFieldName},
		{"9110 5.1 beyond ASCII in a name", with("Ü: a"), errFieldName},
		{"9112 2.2 a bare CR in a value", with("X: a\rTransfer-Encoding: chunked"), errControlByte},
		{"9112 2.2 a bare CR at the end of a value", with("X: a\r"), errControlByte},
		{"9112 2.2 a bare CR in a name", with("\rX: a"), errFieldName},
		{"9112 3.2 no Host", headOf("GET / HTTP/1.1"), errNoHost},
		{"9112 3.2 two Hosts", with("host: a"), errManyHosts},
		{"9112 3.2 a Host of two words", headOf("GET / HTTP/1.1", "Host: a b"), errHost},
		{"9112 3.2 a Host with a path", headOf("GET / HTTP/1.1", "Host: a/b"), errHost},
		{"9112 3.2 a Host with a user", headOf("GET / HTTP/1.1", "Host: a@b"), errHost},
		{"9112 3.2 a Host beyond ASCII", headOf("GET / HTTP/1.1", "Host: é"), errHost},
		{"9112 6.1 length and encoding", with("Content-Length: 0", "Transfer-Encoding: chunked"), errBothLengths},
		{"9112 6.1 encoding and length", with("Transfer-Encoding: chunked", "Content-Length: 5"), errBothLengths},
		{"9112 6.3 two lengths", with("Content-Length: 5", "Content-Length: 6"), errManyLengths},
		{"9112 6.3 one length twice", with("Content-Length: 5", "Content-Length: 5"), errManyLengths},
		{"6455 11.3.1 two keys", with("Sec-WebSocket-Key: a", "Sec-WebSocket-Key: a"), errSingleHeader},
		{"6455 11.3.5 two versions", with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), errSingleHeader},
	} {
		everySplit(c.raw, func(how string, chunks [][]byte) {
			if r, _, err := read(chunks); err != c.want {
				t.Errorf("%s, %s: %+v, error %v; want %v", c.name, how, r.head, err, c.want)
			}
		})
	}
}
