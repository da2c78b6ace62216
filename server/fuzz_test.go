//go:build linux

package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// FuzzHead: no head makes the parser panic, and where it is cut makes no difference. Strictness is
// held against net/http: whatever is accepted here, net/http reads too, and reads the same, so that
// nobody behind or before this server understands something else, and an Authorize is asked about the
// request that is meant.
func FuzzHead(f *testing.F) {
	for _, head := range [][]byte{
		upgradeTo("/"),
		upgradeTo("/chat?x=%zz", "Origin: http://example.com", "Sec-WebSocket-Protocol: a, b"),
		headOf("GET /a%2Fb%20c HTTP/1.1", "Host: [::1]:80"),
		headOf("GET http://example.com?x=/chat HTTP/1.1", "Host: b"),
		headOf("GET http://a:8/b?c HTTP/1.1", "Host: b"),
		headOf("GET HTTPS://%5b/ HTTP/1.1", "Host: b"),
		headOf("CONNECT http://a/ HTTP/1.1", "Host: b"),
		headOf("CONNECT /a HTTP/1.1", "Host: b"),
		headOf("OPTIONS * HTTP/1.1", "Host: b"),
		headOf("GET //a//b HTTP/1.7", "Host:", "X: \t a\tb \t"),
		headOf("POST / HTTP/1.1", "Host: a", "Content-Length: 0"),
		headOf("POST / HTTP/1.1", "Host: a", "Content-Length: 5"),
		headOf("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X"),
		headOf("GET / HTTP/1.1", "Host: a", " folded"),
		headOf("GET / HTTP/1.1", "Host : a"),
		[]byte("GET / HTTP/1.1\nHost: a\n\n"),
		append([]byte("\r\n"), upgradeTo("/")...),
		[]byte("\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
		[]byte("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		upgradeTo("/", "Origin: http://a", "Origin: http://b", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x", "Cookie: a=b"),
		upgradeTo("/", "Content-Length: 0"),
		upgradeTo("/", "Content-Length: 5", "Transfer-Encoding: chunked"),
		upgradeTo("/", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
		headOf("GET / HTTP/1.1", "Host: a", "Host: a"),
		headOf("GET / HTTP/1.1", "Host: a", "X: b\rY: c"),
		headOf("GET / HTTP/1.1", "Host: a", "X: \x00"),
		headOf("HEAD http://a@b/ HTTP/1.1", "Host: b"),
		[]byte("\x16\x03\x01\x02\x00"),
	} {
		f.Add(head, []byte{})
		f.Add(append(head, "\x81\x80\x00\x00\x00\x00"...), []byte{0})
		f.Add(head, []byte{20, 3})
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		r, rest, err := read([][]byte{stream})
		cut, cutRest, cutErr := read(cutBy(stream, cuts))
		if (err == nil) != (cutErr == nil) || !bytes.Equal(r.raw, cut.raw) {
			t.Fatalf("whole: %q, error %v\ncut:   %q, error %v", r.raw, err, cut.raw, cutErr)
		}
		if err != nil || r.raw == nil {
			return
		}
		if !bytes.HasPrefix(rest, cutRest) {
			t.Fatalf("behind the head, whole: %q; cut: %q", rest, cutRest)
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.raw)))
		if err != nil {
			if r.head.hasBody { // it is never upgraded, and net/http will judge it itself
				return
			}
			t.Fatalf("net/http refuses %q: %v", r.raw, err)
		}
		path := std.URL.Path
		if path == "" {
			path = "/"
		}
		if string(r.head.method) != std.Method || r.Path() != path || r.RawQuery() != std.URL.RawQuery || r.Host() != std.Host {
			t.Fatalf("%q\nhere:     %s %s ? %s @ %s\nnet/http: %s %s ? %s @ %s", r.raw,
				r.head.method, r.Path(), r.RawQuery(), r.Host(), std.Method, path, std.URL.RawQuery, std.Host)
		}
		for name, values := range std.Header {
			if got := r.Headers(name); !slices.Equal(got, values) {
				t.Fatalf("%q\nheader %s here:     %q\nheader %s net/http: %q", r.raw, name, got, name, values)
			}
		}
		if !r.head.hasBody && std.ContentLength != 0 {
			t.Fatalf("%q\nhas a body of length %d by net/http, and none here", r.raw, std.ContentLength)
		}
	})
}

// fuzzLimit is small, so that the fuzzer finds it.
const fuzzLimit = 200

// FuzzDecode chooses a stream and how it is cut. Cut or whole it says the same, and it says what the
// blocking reader of gobwas/ws reads, as far as that goes by RFC 6455:
//
//   - a length that is not minimal is an error here (section 5.2) and not there;
//   - text fails here at the first impossible byte and there at the end of the message, if it comes;
//   - a header fails here at the byte that makes it wrong, and there when all of it is there;
//   - close codes 1012 to 1014 are lawful here and not there, 5000 and above there and not here.
func FuzzDecode(f *testing.F) {
	for _, stream := range [][]byte{
		frame(ws.OpText, "Hello"),
		cat(frame(ws.OpBinary, ""), frame(ws.OpPing, "ping"), frame(ws.OpPong, "")),
		cat(fragment(ws.OpText, false, "\xe2\x82"), frame(ws.OpPing, ""), cont(true, "\xac"), closeFrame(1000, "bye")),
		cat(fragment(ws.OpText, false, ""), cont(false, ""), cont(true, "")),
		frame(ws.OpText, strings.Repeat("é", 100)),
		frame(ws.OpBinary, strings.Repeat("x", fuzzLimit+1)),
		cat(fragment(ws.OpBinary, false, strings.Repeat("x", 150)), cont(true, strings.Repeat("x", 51))),
		headerOf(ws.OpText, true, 1<<20),
		bits("1 000 0010 | 1 1111110 | 00000000 00000001" + key + "11111111"),
		bits("1 000 0010 | 1 1111111 | 10000000"),
		bits("1 000 1001 | 1 1111110 | 00000000 11111111"),
		cat(fragment(ws.OpText, false, "\xed"), cont(true, "\xa0\x80")),
		closeFrame(1012, ""), closeFrame(5000, ""), closeFrame(1005, "x"), frame(ws.OpClose, "\x03"),
		cat(fragment(ws.OpText, false, "a"), frame(ws.OpText, "b")),
		cont(true, "a"),
		bits("1 100 0001"), bits("1 000 0011"), bits("0 000 1000"), bits("1 000 0001 | 0 0000000"),
	} {
		f.Add(stream, []byte{})
		f.Add(stream, []byte{0})
		f.Add(stream, []byte{1, 4, 0, 2})
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		whole := &decoder{limit: fuzzLimit, budget: &budget{limit: 1 << 20}}
		got, _, err := feed(whole, [][]byte{stream})
		cut := &decoder{limit: fuzzLimit, budget: &budget{limit: 1 << 20}}
		cutGot, given, cutErr := feed(cut, cutBy(stream, cuts))
		if !slices.Equal(got, cutGot) || err != cutErr || err == nil && whole.idle() != cut.idle() {
			t.Fatalf("whole: %v, error %v, idle %v\ncut:   %v, error %v, idle %v", got, err, whole.idle(), cutGot, cutErr, cut.idle())
		}
		if held := cap(cut.msg); held > 2*given || int64(held) != cut.taken {
			t.Fatalf("%d bytes are held and %d taken for %d that came", held, cut.taken, given)
		}
		agree(t, stream, got, err)
		cut.release()
		if used := cut.budget.used.Load(); used != 0 {
			t.Fatalf("%d of the budget is not given back", used)
		}
	})
}

// agree holds what the decoder made of a stream against the blocking reader.
func agree(t *testing.T, stream []byte, got []said, err error) {
	t.Helper()
	theirs, theirErr := blockingRead(stream)
	if len(theirs) < len(got) || !slices.Equal(got, theirs[:len(got)]) {
		t.Fatalf("here: %v, error %v\ngobwas: %v, error %v", got, err, theirs, theirErr)
	}
	incomplete := errors.Is(theirErr, io.EOF) || errors.Is(theirErr, io.ErrUnexpectedEOF)
	switch {
	case err == nil && (!incomplete || len(theirs) > len(got)):
		t.Fatalf("no error here, but gobwas: %v, error %v\nhere: %v", theirs, theirErr, got)
	case err == errLengthNotMinimal || err == nil:
	case err == errControlTooLong: // an extended length is too long for one here, and may hold less for them
	case len(theirs) > len(got):
		t.Fatalf("here: %v, error %v\ngobwas goes on: %v", got, err, theirs)
	}
	for _, s := range got {
		if s.op == ws.OpClose {
			agreeOnClose(t, s.data)
		}
	}
}

func agreeOnClose(t *testing.T, payload string) {
	t.Helper()
	code, reason, err := parseClose([]byte(payload))
	if len(payload) < 2 {
		if (err == nil) != (payload == "") {
			t.Fatalf("close frame %q: %v %q, error %v", payload, code, reason, err)
		}
		return
	}
	theirs := ws.StatusCode(binary.BigEndian.Uint16([]byte(payload)))
	if theirs >= 1012 && theirs <= 1014 || theirs >= 5000 {
		return
	}
	theirErr := ws.CheckCloseFrameData(theirs, payload[2:])
	if (err == nil) != (theirErr == nil) || err == nil && (uint16(code) != uint16(theirs) || reason != payload[2:]) {
		t.Fatalf("close frame %q here: %v %q, error %v\ngobwas: %v, error %v", payload, code, reason, err, theirs, theirErr)
	}
}

// blockingRead is what gobwas/ws makes of a stream.
func blockingRead(stream []byte) (all []said, err error) {
	r := &wsutil.Reader{Source: bytes.NewReader(stream), State: ws.StateServerSide, CheckUTF8: true, MaxMessageSize: fuzzLimit}
	r.OnIntermediate = func(h ws.Header, body io.Reader) error {
		data, err := io.ReadAll(body)
		if err == nil && int64(len(data)) < h.Length {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			all = append(all, said{h.OpCode, string(data)})
		}
		return err
	}
	for {
		h, err := r.NextFrame()
		if err != nil {
			return all, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return all, err
		}
		all = append(all, said{h.OpCode, string(data)})
	}
}

// FuzzBacklog runs operations against the naive backlog.
func FuzzBacklog(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 2, 10, 0, 0, 0, 3, 0, 5, 5, 101, 0, 0, 1, 1, 3, 255, 255})
	f.Add([]byte{1, 63, 255, 0, 14, 255, 2, 0, 9, 0, 0, 0, 4, 1, 0, 3, 0, 1, 4, 0, 0})
	for seed := range uint64(4) {
		tape := make([]byte, 120)
		source := rand.New(rand.NewPCG(seed, 1))
		for i := range tape {
			tape[i] = byte(source.Uint32())
		}
		f.Add(tape)
	}
	f.Fuzz(func(t *testing.T, tape []byte) {
		if err := backlogTape(tape[:min(len(tape), 3000)]); err != nil {
			t.Fatal(err)
		}
	})
}
