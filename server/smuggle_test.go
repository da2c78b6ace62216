//go:build linux

package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestSmuggling: a head that two readers could understand differently (RFC 9112 section 11.2) is
// refused, however it is cut, and what comes behind it is never taken for another request: there is
// one answer, and then the end.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const most = 400
	s := &Server{Logger: quiet, MaxHeaderBytes: most}
	s.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s is answered", r.Method, r.URL) })
	s.Handle("/ws", Options{OnOpen: func(*Conn, *Request) { t.Error("a smuggled handshake is opened") }})
	addr := serve(t, s)
	with := func(headers ...string) []byte { return upgradeTo("/ws", headers...) }
	plain := func(headers ...string) []byte {
		return headOf("POST / HTTP/1.1", append([]string{"Host: a"}, headers...)...)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want *refusal
	}{
		{"9112 6.3 two lengths", plain("Content-Length: 5", "Content-Length: 6"), errManyLengths},
		{"9112 6.3 one length twice", plain("Content-Length: 5", "Content-Length: 5"), errManyLengths},
		{"9112 6.1 length and encoding", plain("Content-Length: 5", "Transfer-Encoding: chunked"), errBothLengths},
		{"9112 6.1 encoding and length", plain("Transfer-Encoding: chunked", "Content-Length: 5"), errBothLengths},
		{"9112 6.1 length and encoding of an upgrade", with("Content-Length: 5", "Transfer-Encoding: chunked"), errBothLengths},
		{"6455 4.1 an upgrade with a length", cat(with("Content-Length: 5"), "hello"), errUpgradeBody},
		{"6455 4.1 an upgrade with a list of lengths", with("Content-Length: 0, 0"), errUpgradeBody},
		{"6455 4.1 an upgrade with a signed length", with("Content-Length: +0"), errUpgradeBody},
		{"6455 4.1 an upgrade with chunks", cat(with("Transfer-Encoding: chunked"), "0\r\n\r\n"), errUpgradeBody},
		{"6455 4.1 an upgrade with an encoding of nobody", with("Transfer-Encoding: identity"), errUpgradeBody},
		{"9112 5.2 a folded line", plain("X: a", " Transfer-Encoding: chunked"), errFold},
		{"9112 5.2 folded by a tab", plain("X: a", "\tTransfer-Encoding: chunked"), errFold},
		{"9112 2.2 a blank before the first header", headOf("POST / HTTP/1.1", " Host: a", "Host: a"), errFold},
		{"9112 5.1 space before the colon", plain("Transfer-Encoding : chunked"), errFieldName},
		{"9112 5.1 a tab before the colon", plain("Content-Length\t: 5"), errFieldName},
		{"9112 5 a line without a colon", plain("GET /ws HTTP/1.1"), errFieldName},
		{"9112 2.2 bare LF between headers", []byte("POST / HTTP/1.1\r\nHost: a\r\nX: b\nTransfer-Encoding: chunked\r\n\r\n"), errBareLF},
		{"9112 2.2 bare LF as the end", []byte("POST / HTTP/1.1\r\nHost: a\r\n\n"), errBareLF},
		{"9112 2.2 bare LF everywhere", []byte("POST / HTTP/1.1\nHost: a\n\n"), errBareLF},
		{"9112 2.2 a bare CR for the end of a line", plain("X: b\rTransfer-Encoding: chunked"), errControlByte},
		{"9112 2.2 two CRs", plain("X: b\r"), errControlByte},
		{"9112 2.2 a bare CR in the target", headOf("GET /ws\r HTTP/1.1", "Host: a"), errTarget},
		{"9110 5.5 NUL in a value", plain("X: b\x00c"), errControlByte},
		{"9110 5.5 NUL in a name", plain("Transfer-Encoding\x00: chunked"), errControlByte},
		{"9110 5.5 a vertical tab", plain("Transfer-Encoding:\x0bchunked"), errControlByte},
		{"9110 5.5 a form feed", plain("Content-Length: 5\x0c"), errControlByte},
		{"9110 5.5 DEL", plain("X: \x7f"), errControlByte},
		{"9112 3.2 two Hosts", plain("Host: b"), errManyHosts},
		{"9112 3.2 one Host twice", with("Host: example.com"), errManyHosts},
		{"9112 3.2 no Host", headOf("POST / HTTP/1.1"), errNoHost},
		{"9112 3.2.2 absolute form whose host is not the origin's", headOf("GET http://example.com/ws HTTP/1.1", append(handshakeLines("evil.com"), "Origin: http://evil.com")...), errOrigin},
		{"9112 3.2.2 absolute form with a user", headOf("GET http://a@b/ws HTTP/1.1", "Host: b"), errTarget},
		{"9112 3 blanks in the target", headOf("GET /ws HTTP/1.1\tX HTTP/1.1", "Host: a"), errRequestLine},
		{"9112 2.2 a line of a blank first", cat(" \r\n", plain()), errRequestLine},
		{"9112 2.2 two empty lines first", cat("\r\n\r\n", plain()), errRequestLine},
		{"9112 2.3 another protocol", headOf("POST / ICY/1.1", "Host: a"), errRequestLine},
		{"9110 15.6.6 HTTP/2's preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), errHTTPVersion},
		{"6585 5 a long header", plain("X: " + strings.Repeat("x", most)), errHeadTooLarge},
		{"6585 5 many headers", plain(strings.Fields(strings.Repeat("X: ", most/4))...), errHeadTooLarge},
		{"6585 5 a long target", headOf("GET /"+strings.Repeat("x", most)+" HTTP/1.1", "Host: a"), errHeadTooLarge},
		{"6585 5 a head without an end", []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", most)), errHeadTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// Behind it comes what another reader may take for the next request.
			stream := cat(c.raw, headOf("GET /smuggled HTTP/1.1", "Host: a"), upgradeTo("/ws"))
			everySplit(stream[:len(c.raw)], func(how string, chunks [][]byte) {
				p := dial(t, addr)
				for _, chunk := range chunks[:len(chunks)-1] {
					p.send(chunk)
				}
				p.send(chunks[len(chunks)-1], stream[len(c.raw):])
				p.wantRefusal(c.want, c.want.headers())
				if t.Failed() {
					t.Fatal(how)
				}
				must(t, p.conn.Close())
			})
		})
	}
}

// headers are those of a refusal that a test looks at.
func (r *refusal) headers() map[string]string {
	all := map[string]string{}
	for name, values := range r.header {
		if name != "Connection" {
			all[name] = values[0]
		}
	}
	return all
}
