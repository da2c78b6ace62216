//go:build linux

package server

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// closeClauses: the close frame.
func closeClauses() []clause {
	reason := strings.Repeat("r", 123)
	hello := frame(ws.OpText, "Hello")
	after := []struct {
		name string
		late []byte
	}{
		{"a text", frame(ws.OpText, "late")},
		{"a binary message", frame(ws.OpBinary, strings.Repeat("x", 5000))},
		{"a ping", frame(ws.OpPing, "late")},
		{"a pong", frame(ws.OpPong, "late")},
		{"a close frame", closeFrame(1001, "again")},
		{"a fragment", cont(true, "late")},
		{"what is no frame", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"half a frame", bits("1 000 0001")},
		{"all of these", cat(frame(ws.OpText, "late"), frame(ws.OpPing, "late"), closeFrame(1001, ""), "garbage", strings.Repeat("\x00", 100_000))},
	}
	all := []clause{
		{name: "5.5.1 a close frame MUST be answered by one", in: closeFrame(1000, ""), code: 1000},
		{name: "5.5.1 …: behind the answer to what came before", in: cat(hello, closeFrame(1000, "bye")), out: sentText("Hello"), code: 1000},
		{name: "5.5.1 …: an empty one", in: bits("1 000 1000 | 1 0000000" + key), code: CodeNone},
		{name: "5.5.1 …: with a reason", in: closeFrame(1000, "bye"), code: 1000},
		{name: "5.5.1 …: with the longest reason", in: closeFrame(3999, reason), code: 3999},
		{name: "5.5.1 …: inside of a message, which is dropped", in: cat(fragment(ws.OpText, false, "un"), closeFrame(1000, "")), code: 1000},
		{name: "5.5.1 …: inside of a character", in: cat(fragment(ws.OpText, false, "\xe2\x82"), closeFrame(1000, "")), code: 1000},
		{name: "5.5.1 …: masked by zeros", in: cat(bits("1 000 1000 | 1 0000010"+zeroKey), "\x03\xe8"), code: 1000},
		{name: "5.5.1 a body's first two bytes MUST be a code: one byte", in: frame(ws.OpClose, "\x03"), code: 1002},
		{name: "5.5.1 …: one byte, of a lawful code's end", in: frame(ws.OpClose, "\xe8"), code: 1002},
		{name: "5.5.1 a reason MUST be UTF-8: it is not", in: frame(ws.OpClose, "\x03\xe8\xff"), code: 1007},
		{name: "5.5.1 …: it ends inside of a character", in: frame(ws.OpClose, "\x03\xe8\xe2\x82"), code: 1007},
		{name: "5.5.1 …: a surrogate", in: frame(ws.OpClose, "\x03\xe8\xed\xa0\x80"), code: 1007},
		{name: "5.5.1 …: overlong", in: frame(ws.OpClose, "\x03\xe8\xc0\xaf"), code: 1007},
		{name: "5.5.1 …: of any script", in: closeFrame(1000, "прощай €𝄞"), code: 1000},
		{name: "5.5.1 …: 124 bytes are too long", in: cat(headerOf(ws.OpClose, true, 126), sealed("\x03\xe8"+reason+"r")), code: 1002},
		{name: "5.5.1 a server that sent a close frame MUST NOT send data, nor another one", code: 4000,
			in: cat(hello, frame(ws.OpPing, "unanswered"), fragment(ws.OpText, false, "x"), cont(true, "y"), closeFrame(1000, "")),
			serve: &Options{OnMessage: echo, OnOpen: func(c *Conn, _ *Request) {
				c.CloseWith(4000, "")
				c.CloseWith(4001, "")
			}}},
		{name: "5.5.1 if both send a close frame at the same time, both have: the codes differ", in: cat(hello, closeFrame(1001, "mine")), code: 4000, reason: "ours",
			serve: &Options{OnMessage: func(c *Conn, _ Message) { c.CloseWith(4000, "ours") }}},
		{name: "5.5.1 …: the answer has no code", in: cat(hello, frame(ws.OpClose, "")), code: 4000,
			serve: &Options{OnMessage: func(c *Conn, _ Message) { c.CloseWith(4000, "ours") }}},
	}
	for _, a := range after {
		all = append(all,
			clause{name: "5.5.1 what comes behind a close frame is not answered: " + a.name, in: closeFrame(1000, "bye"), late: a.late, code: 1000},
			clause{name: "5.5.1 …: " + a.name + ", behind an answer", in: cat(hello, frame(ws.OpClose, "")), late: a.late,
				out: sentText("Hello"), code: CodeNone})
	}
	return all
}

// closeCodeClauses: which codes may come.
func closeCodeClauses() (all []clause) {
	frameWith := func(code int, reason string) []byte {
		return frame(ws.OpClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
	}
	for code := 1000; code <= 1016; code++ {
		c := clause{name: fmt.Sprintf("7.4.1 %d is defined", code), in: frameWith(code, "why"), code: Code(code)}
		if !lawful[code] {
			c.name, c.code = fmt.Sprintf("7.4.1 %d MUST NOT be set in a close frame", code), 1002
		}
		all = append(all, c)
	}
	for _, code := range []int{3000, 3001, 3500, 3999, 4000, 4001, 4500, 4999} {
		all = append(all, clause{name: fmt.Sprintf("7.4.2 %d is for applications", code), in: frameWith(code, ""), code: Code(code)})
	}
	for _, code := range []int{0, 1, 255, 256, 999, 1100, 1999, 2000, 2001, 2999, 5000, 5001, 9999, 32767, 32768, 65535} {
		all = append(all, clause{name: fmt.Sprintf("7.4.2 %d is not used or reserved", code), in: frameWith(code, ""), code: 1002})
	}
	return all
}

// closingClauses: how a connection ends.
func closingClauses() []clause {
	closing := &Options{OnOpen: func(c *Conn, _ *Request) { c.CloseWith(4000, "enough") }}
	return []clause{
		{name: "7.1.1 the server closes the TCP connection first, in order: after a close frame of the peer's", in: closeFrame(1000, ""), code: 1000},
		{name: "7.1.1 …: after the answer to its own", in: closeFrame(4000, ""), code: 4000, reason: "enough", serve: closing},
		{name: "7.1.1 …: what trails is discarded", in: closeFrame(1000, ""), late: []byte(strings.Repeat("trailing", 10_000)), code: 1000},
		{name: "7.1.2 a close frame begins the closing handshake: the answer may have another code", in: closeFrame(1000, "fine"), code: 4000, reason: "enough", serve: closing},
		{name: "7.1.2 …: messages that were under way come before the answer", in: cat(frame(ws.OpText, "under way"), closeFrame(4000, "")), code: 4000, reason: "enough",
			serve: &Options{OnOpen: closing.OnOpen, OnMessage: echo}},
		{name: "7.1.3 once the closing handshake has begun, it is not begun again", in: cat(closeFrame(1000, ""), closeFrame(1001, "")), code: 1000},
		{name: "7.1.7 a failed connection is told why: the protocol", in: bits("1 000 0011"), code: 1002},
		{name: "7.1.7 …: the data", in: frame(ws.OpText, "\xff"), code: 1007},
		{name: "7.1.7 …: the size", in: headerOf(ws.OpText, true, clauseLimit+1), code: 1009},
		{name: "7.1.7 …: behind the answer to what was right", in: cat(frame(ws.OpText, "right"), frame(ws.OpPing, "p"), bits("1 000 0011")),
			out: cat(sentText("right"), sent(ws.OpPong, "p")), code: 1002},
		{name: "7.1.7 an endpoint MUST NOT process data after failing: messages", in: bits("1 000 0011"), late: frame(ws.OpText, "late"), code: 1002},
		{name: "7.1.7 …: pings", in: frame(ws.OpText, "\xff"), late: frame(ws.OpPing, "late"), code: 1007},
		{name: "7.1.7 …: another failure", in: bits("1 000 0011"), late: frame(ws.OpText, "\xff"), code: 1002},
		{name: "7.1.7 …: a close frame in answer", in: headerOf(ws.OpText, true, clauseLimit+1), late: closeFrame(1009, ""), code: 1009},
		{name: "7.1.7 …: much of it", in: cat(fragment(ws.OpText, false, ""), frame(ws.OpText, "")), late: []byte(strings.Repeat("late", 25_000)), code: 1002},
		{name: "7.1.7 …: a failure while closing is not told any more", in: bits("1 000 0011"), late: closeFrame(4000, ""), code: 4000, reason: "enough", serve: closing},
		{name: "7.2.2 a server that aborts SHOULD say so: a handler panicked", in: cat(frame(ws.OpText, "boom"), closeFrame(1000, "")), code: 1011,
			serve: &Options{OnMessage: func(*Conn, Message) { panic("boom") }}},
		{name: "7.3 servers MAY close whenever desired: at once", in: closeFrame(1000, ""), code: 1001,
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.CloseWith(1001, "") }}},
		{name: "7.3 …: in answer to a message, behind what was sent before", in: cat(frame(ws.OpText, "quit"), closeFrame(1001, "")),
			out: sentText("last"), code: 1001, reason: "bye",
			serve: &Options{OnMessage: func(c *Conn, _ Message) { c.WriteText("last"); c.CloseWith(1001, "bye") }}},
		{name: "7.3 …: with the longest reason", in: closeFrame(1000, ""), code: 1000, reason: strings.Repeat("€", 41),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.CloseWith(1000, strings.Repeat("€", 41)) }}},
		{name: "7.4.1 1005, 1006 and 1015 MUST NOT be set by an endpoint, 1004 is reserved", out: sentText("still open"),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) {
				for _, code := range []Code{1004, CodeNone, CodeAbnormal, 1015} {
					c.CloseWith(code, "")
				}
				c.WriteText("still open")
			}}},
		{name: "7.4.2 nor any that is not used or reserved", out: sentText("still open"),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) {
				for code := range 1 << 16 {
					if !lawful[code] && (code < 3000 || code > 4999) {
						c.CloseWith(Code(code), "")
					}
				}
				c.WriteText("still open")
			}}},
		{name: "10.7 what is not understood may be dropped: a TLS client behind the handshake", in: []byte("\x16\x03\x01\x02\x00\x01\x00"), code: 1002},
		{name: "10.7 …: a line of text", in: []byte("hello\r\n"), code: 1002},
	}
}
