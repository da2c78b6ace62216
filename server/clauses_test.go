//go:build linux

package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// The clauses_ files are a table of what RFC 6455 asks of a server, a row for each MUST and MUST NOT
// that a stream of bytes can show. "go test -run Clauses -v" lists it.

// clause is a row. Its name begins with the section.
type clause struct {
	name string
	// in is what the peer sends behind its handshake, and late what comes in the same segment as the
	// last byte of it.
	in, late []byte
	// out is all that the server sends behind its answer, up to its close frame.
	out []byte
	// code is that of the close frame, which is the last thing that comes before the end of the
	// stream; CodeNone is an empty one. 0 is that the connection stays open: the peer then closes it
	// with 1000, which must be answered.
	code Code
	// reason is that of the close frame, or empty where the clause does not say.
	reason string
	// serve are the handlers, if they are to do something else than echo.
	serve *Options
	// offer is the extension that the client offers. What comes compressed is inflated before it is
	// compared, within the window that was agreed on.
	offer string
	// packed is that something must come compressed.
	packed bool
}

// clauseLimit is the limit of a message where the clauses are held: a frame with 64 bits of length
// is below it.
const clauseLimit = 70_000

// clauses is the whole table, but for the handshake's part of it.
func clauses() []clause {
	return slices.Concat(maskingClauses(), framingClauses(), lengthClauses(), fragmentClauses(),
		controlClauses(), messageClauses(), utf8Clauses(), closeClauses(), closeCodeClauses(), closingClauses(),
		deflateFrameClauses(), deflateDataClauses(), deflateSentClauses())
}

// clauseServer is a server with an endpoint for each row.
type clauseServer struct {
	*Server
	addr string
	rows []*Endpoint
}

func newClauseServer(t *testing.T, b netpoll.Backend, rows []clause) *clauseServer {
	s := &clauseServer{Server: &Server{Poller: b, Logger: quiet}}
	for i, r := range rows {
		o := Options{OnMessage: echo}
		if r.serve != nil {
			o = *r.serve
		}
		o.MaxMessage = clauseLimit
		s.rows = append(s.rows, s.Handle(fmt.Sprint("/", i), o))
	}
	s.addr = serve(t, s.Server)
	return s
}

// TestClauses holds a server to every clause, on each poller and however the bytes come.
func TestClauses(t *testing.T) {
	t.Parallel()
	rows := clauses()
	servers := []*clauseServer{newClauseServer(t, netpoll.Epoll, rows), newClauseServer(t, netpoll.EasyGo, rows)}
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.decoded(t)
			for _, s := range servers {
				if !t.Failed() {
					r.live(t, s, s.rows[i])
				}
			}
		})
	}
}

// stream is everything that the peer sends before late.
func (r *clause) stream() []byte {
	if r.code == 0 {
		return cat(r.in, closeFrame(CodeNormal, ""))
	}
	return r.in
}

// decoded holds the decoder alone to the clause, split at every place.
func (r *clause) decoded(t *testing.T) {
	if r.serve != nil || r.offer != "" {
		return
	}
	somePlaces(r.stream(), func(how string, chunks [][]byte) {
		if err := r.check("", spoken(chunks)); err != nil {
			t.Errorf("the decoder, %s: %v", how, err)
		}
	})
}

// somePlaces is everySplit, but of a long stream it takes the places at both ends and some between.
func somePlaces(stream []byte, feed func(how string, chunks [][]byte)) {
	const near, between = 20, 20
	if len(stream) < 1000 {
		everySplit(stream, feed)
		return
	}
	for i := 1; i < len(stream); i++ {
		if i < near || i > len(stream)-near || i%(len(stream)/between) == 0 {
			feed(fmt.Sprintf("split at %d", i), [][]byte{stream[:i], stream[i:]})
		}
	}
	feed("in pieces", slices.Collect(slices.Chunk(stream, 31)))
}

// spoken is what an echo is to say to a stream that comes in these pieces.
func spoken(chunks [][]byte) (out []byte) {
	all, _, err := feed(&decoder{limit: clauseLimit, budget: &budget{limit: 1 << 30}}, chunks)
	for _, s := range all {
		switch s.op {
		case ws.OpPong:
		case ws.OpPing:
			out = appendFrame(out, ws.OpPong, []byte(s.data))
		case ws.OpClose:
			var code Code
			if code, _, err = parseClose([]byte(s.data)); err == nil {
				return appendClose(out, code, "")
			}
		default:
			out = appendFrame(out, s.op, []byte(s.data))
		}
	}
	var wrong *ProtocolError
	if errors.As(err, &wrong) {
		out = appendClose(out, wrong.Code, wrong.Reason)
	}
	return out
}

// live holds a server to the clause, with the frames in the same segment as the handshake, right
// behind it, byte by byte, in some two pieces, and when its handlers run on the pool.
func (r *clause) live(t *testing.T, s *clauseServer, ep *Endpoint) {
	head, stream := upgradeTo(ep.path), r.stream()
	if r.offer != "" {
		head = upgradeTo(ep.path, "Sec-WebSocket-Extensions: "+r.offer)
	}
	run := func(how string, chunks ...[]byte) {
		if err := r.talk(t, s.addr, chunks); err != nil {
			t.Fatalf("%s, %s: %v", s.Poller, how, err)
		}
	}
	run("with the handshake", cat(head, stream))
	run("in one piece", head, stream)
	run("in small pieces", append([][]byte{head}, slices.Collect(slices.Chunk(stream, 1+len(stream)/2000))...)...)
	if len(stream) > 0 {
		i := rand.IntN(len(stream))
		run(fmt.Sprintf("split at %d", i), head, stream[:i], stream[i:])
	}
	ep.slow.mark(s.now(), slowFor)
	run("from the pool", head, stream)
}

// talk sends the chunks, the last of them together with what is late, and reads to the end of the
// stream, which must be an orderly one.
func (r *clause) talk(t *testing.T, addr string, chunks [][]byte) error {
	p := dial(t, addr)
	defer p.conn.Close()
	answer, last := "", len(chunks)-1
	for i, chunk := range chunks {
		if i == last {
			chunk = cat(chunk, r.late)
		}
		// Whoever is closed on can't send any more, and finds all that there is to read all the same.
		p.conn.Write(chunk)
		if i == 0 {
			answer = p.upgraded()
		}
	}
	out, err := io.ReadAll(p.in)
	if wrong := r.check(answer, out); wrong != nil {
		return wrong
	}
	return err
}

// check compares what the server said behind its answer.
func (r *clause) check(answer string, out []byte) (err error) {
	if r.offer != "" {
		var packed bool
		if out, packed, err = unpacked(r.offer, answer, out); err != nil {
			return err
		}
		if r.packed && !packed {
			return errors.New("nothing came compressed")
		}
	}
	rest, ok := bytes.CutPrefix(out, r.out)
	if !ok {
		return fmt.Errorf("came %s\nwant %s, and a close frame", glimpse(out), glimpse(r.out))
	}
	code, reason, err := readClose(rest)
	switch want := max(r.code, CodeNormal); {
	case err != nil:
		return fmt.Errorf("at the end came %s: %w", glimpse(rest), err)
	case code != want || r.reason != "" && reason != r.reason:
		return fmt.Errorf("closed with %v %q, want %v %q", code, reason, want, r.reason)
	}
	return nil
}

// readClose reads the last bytes of a connection, which must be one lawful close frame.
func readClose(p []byte) (code Code, reason string, err error) {
	if len(p) < 2 || p[0] != 0x88 || int(p[1]) != len(p)-2 || p[1] > 125 || p[1] == 1 {
		return 0, "", errors.New("not a close frame and the end")
	}
	if p[1] == 0 {
		return CodeNone, "", nil
	}
	if !utf8.Valid(p[4:]) {
		return 0, "", errors.New("the reason is not UTF-8")
	}
	return Code(binary.BigEndian.Uint16(p[2:])), string(p[4:]), nil
}

// glimpse is the beginning of some bytes.
func glimpse(p []byte) string {
	if len(p) > 60 {
		return fmt.Sprintf("%x… (%d B)", p[:60], len(p))
	}
	return fmt.Sprintf("%x", p)
}

// sent is a whole frame from the server.
func sent(op ws.OpCode, payload string) []byte {
	return ws.MustCompileFrame(ws.NewFrame(op, true, []byte(payload)))
}

// sentText is a text message from the server.
func sentText(s string) []byte { return sent(ws.OpText, s) }

// sealed is a payload as it is on the wire, by the key of the examples.
func sealed(payload string) []byte {
	p := []byte(payload)
	ws.Cipher(p, maskKey, 0)
	return p
}

// TestClausesCoverage: each section that binds a server has a row. Of section 10, what is not here is
// for the client, for the application, or no matter of bytes.
func TestClausesCoverage(t *testing.T) {
	t.Parallel()
	has := map[string]int{}
	for _, r := range clauses() {
		section, _, _ := strings.Cut(r.name, " ")
		has[section]++
	}
	for _, r := range upgradeClauses() {
		section, _, _ := strings.Cut(r.name, " ")
		has[section]++
	}
	for _, r := range toldClauses() {
		section, _, _ := strings.Cut(r.name, " ")
		has[section]++
	}
	for _, section := range strings.Fields(`7692-6 7692-6.1 7692-7.1.1.1 7692-7.1.1.2 7692-7.1.2.1 7692-7.1.2.2
		7692-7.2.1 7692-7.2.2 7692-7.2.3
		1.3 4.1 4.2.1 4.2.2 4.4 5.1 5.2 5.3 5.4 5.5 5.5.1 5.5.2 5.5.3 5.6
		5.7 5.8 6.1 6.2 7.1.1 7.1.2 7.1.3 7.1.4 7.1.5 7.1.6 7.1.7 7.2.2 7.3 7.4.1 7.4.2 8.1 9.1 10.2 10.3 10.4
		10.7 11.3.1 11.3.2 11.3.3 11.3.4 11.3.5`) {
		if has[section] == 0 {
			t.Errorf("section %s has no row", section)
		}
		delete(has, section)
	}
	for section, n := range has {
		t.Errorf("%d rows are of section %s, which is not on the list", n, section)
	}
}
