//go:build linux

package server

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// fragmentClauses: what messages may be made of, and may not.
func fragmentClauses() []clause {
	hel := fragment(ws.OpText, false, "Hel")
	ping := frame(ws.OpPing, "p")
	all := []clause{
		{name: "5.4 MUST support unfragmented messages", in: frame(ws.OpText, "Hello"), out: sentText("Hello")},
		{name: "5.4 MUST support fragmented messages", in: cat(hel, cont(true, "lo")), out: sentText("Hello")},
		{name: "5.4 …: of three", in: cat(hel, cont(false, "l"), cont(true, "o")), out: sentText("Hello")},
		{name: "5.4 …: one behind another", in: cat(hel, cont(true, "lo"), fragment(ws.OpBinary, false, "\xff"), cont(true, "\x00"), hel, cont(true, "p")),
			out: cat(sentText("Hello"), sent(ws.OpBinary, "\xff\x00"), sentText("Help"))},
		{name: "5.4 …: the first is empty", in: cat(fragment(ws.OpText, false, ""), cont(true, "Hello")), out: sentText("Hello")},
		{name: "5.4 …: the last is empty", in: cat(fragment(ws.OpText, false, "Hello"), cont(true, "")), out: sentText("Hello")},
		{name: "5.4 …: those between are empty", in: cat(hel, cont(false, ""), cont(false, ""), cont(true, "lo")), out: sentText("Hello")},
		{name: "5.4 …: all are empty", in: cat(fragment(ws.OpText, false, ""), cont(false, ""), cont(true, "")), out: sentText("")},
		{name: "5.4 …: all are empty, binary", in: cat(fragment(ws.OpBinary, false, ""), cont(true, "")), out: sent(ws.OpBinary, "")},
		{name: "5.4 …: thousands of empty ones", in: cat(hel, bytes.Repeat(cont(false, ""), 5000), cont(true, "lo")), out: sentText("Hello")},
		{name: "5.4 …: thousands of one byte each", in: cat(fragment(ws.OpText, false, ""), bytes.Repeat(cont(false, "é"), 5000), cont(true, "")),
			out: sentText(strings.Repeat("é", 5000))},
		{name: "5.4 …: fragments of any size", in: cat(fragment(ws.OpBinary, false, strings.Repeat("a", 126)), cont(false, strings.Repeat("b", 65536)), cont(true, "c")),
			out: sent(ws.OpBinary, strings.Repeat("a", 126)+strings.Repeat("b", 65536)+"c")},
		{name: "5.4 fragments MUST be delivered in the order in which they were sent",
			in:  cat(fragment(ws.OpBinary, false, "0"), cont(false, "1"), cont(false, "23"), cont(false, "456"), cont(true, "789")),
			out: sent(ws.OpBinary, "0123456789")},
		{name: "5.4 all fragments are of the first one's type", in: cat(fragment(ws.OpBinary, false, "\xff"), cont(true, "\xfe")), out: sent(ws.OpBinary, "\xff\xfe")},
		{name: "5.4 an endpoint MUST handle control frames inside of a message: a ping", in: cat(hel, ping, cont(true, "lo")),
			out: cat(sent(ws.OpPong, "p"), sentText("Hello"))},
		{name: "5.4 …: a pong", in: cat(hel, frame(ws.OpPong, "p"), cont(true, "lo")), out: sentText("Hello")},
		{name: "5.4 …: many, between all fragments", in: cat(hel, ping, ping, cont(false, "l"), frame(ws.OpPong, ""), frame(ws.OpPing, ""), cont(true, "o"), ping),
			out: cat(sent(ws.OpPong, "p"), sent(ws.OpPong, "p"), sent(ws.OpPong, ""), sentText("Hello"), sent(ws.OpPong, "p"))},
		{name: "5.4 …: a ping between empty fragments", in: cat(fragment(ws.OpText, false, ""), ping, cont(true, "")), out: cat(sent(ws.OpPong, "p"), sentText(""))},
		{name: "5.4 …: a close frame", in: cat(hel, closeFrame(1001, "")), code: 1001},
		{name: "5.4 a continuation needs a message: at the beginning", in: cont(true, "x"), code: 1002},
		{name: "5.4 …: at the beginning, not the last", in: cont(false, "x"), code: 1002},
		{name: "5.4 …: empty", in: cont(true, ""), code: 1002},
		{name: "5.4 …: behind a whole message", in: cat(frame(ws.OpText, "ok"), cont(true, "x")), out: sentText("ok"), code: 1002},
		{name: "5.4 …: behind the last fragment", in: cat(hel, cont(true, "lo"), cont(true, "x")), out: sentText("Hello"), code: 1002},
		{name: "5.4 …: behind the last fragment, not the last", in: cat(hel, cont(true, "lo"), cont(false, "")), out: sentText("Hello"), code: 1002},
		{name: "5.4 …: behind a ping", in: cat(ping, cont(true, "x")), out: sent(ws.OpPong, "p"), code: 1002},
	}
	for _, first := range []ws.OpCode{ws.OpText, ws.OpBinary} {
		for _, second := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			for _, fin := range []bool{true, false} {
				all = append(all, clause{name: fmt.Sprintf("5.4 fragments of messages MUST NOT be interleaved: opcode %d, FIN %t, inside of %d", second, fin, first),
					in: cat(fragment(first, false, "H"), ping, cont(false, "e"), fragment(second, fin, "x")), out: sent(ws.OpPong, "p"), code: 1002})
			}
		}
	}
	return all
}

// controlClauses: control frames, pings and pongs.
func controlClauses() []clause {
	var pings, pongs, answers []byte
	for n := range 126 {
		payload := strings.Repeat(string(rune('!'+n%64)), n)
		pings, answers = append(pings, frame(ws.OpPing, payload)...), append(answers, sent(ws.OpPong, payload)...)
		pongs = append(pongs, frame(ws.OpPong, payload)...)
	}
	all := []clause{
		{name: "5.5.2 a ping MUST be answered by a pong", in: frame(ws.OpPing, "Hello"), out: sent(ws.OpPong, "Hello")},
		{name: "5.5.2 …: as soon as is practical, before the message around it", in: cat(fragment(ws.OpText, false, "a"), frame(ws.OpPing, "now"), cont(true, "b")),
			out: cat(sent(ws.OpPong, "now"), sentText("ab"))},
		{name: "5.5.2 …: behind what was answered before", in: cat(frame(ws.OpText, "a"), frame(ws.OpPing, "b"), frame(ws.OpText, "c")),
			out: cat(sentText("a"), sent(ws.OpPong, "b"), sentText("c"))},
		{name: "5.5.2 …: unless a close frame came before", in: closeFrame(1000, ""), late: frame(ws.OpPing, "late"), code: 1000},
		{name: "5.5.3 a pong MUST have the ping's data: 0 to 125 bytes of it", in: pings, out: answers},
		{name: "5.5.3 …: binary", in: frame(ws.OpPing, "\x00\xff\xfe\x80\r\n"), out: sent(ws.OpPong, "\x00\xff\xfe\x80\r\n")},
		{name: "5.5.3 …: none", in: frame(ws.OpPing, ""), out: bits("1 000 1010 | 0 0000000")},
		{name: "5.5.3 …: 125 bytes, not fragmented", in: frame(ws.OpPing, strings.Repeat("x", 125)), out: cat(bits("1 000 1010 | 0 1111101"), strings.Repeat("x", 125))},
		{name: "5.5.3 …: many pings of a peer that reads", in: bytes.Repeat(frame(ws.OpPing, "again"), 2000), out: bytes.Repeat(sent(ws.OpPong, "again"), 2000)},
		{name: "5.5.3 an unsolicited pong is not answered", in: frame(ws.OpPong, "unasked")},
		{name: "5.5.3 …: 0 to 125 bytes", in: pongs},
		{name: "5.5.3 …: binary, and an echo behind it", in: cat(frame(ws.OpPong, "\xff"), frame(ws.OpText, "on")), out: sentText("on")},
	}
	for _, op := range []ws.OpCode{ws.OpClose, ws.OpPing, ws.OpPong} {
		name := map[ws.OpCode]string{ws.OpClose: "close", ws.OpPing: "ping", ws.OpPong: "pong"}[op]
		octet := fmt.Sprintf("%04b", byte(op))
		all = append(all,
			clause{name: "5.5 control frames MUST have 125 bytes or less: a " + name + " of 126", in: cat(headerOf(op, true, 126), sealed(strings.Repeat("x", 126))), code: 1002},
			clause{name: "5.5 …: a " + name + " of 65536", in: headerOf(op, true, 65536), code: 1002},
			clause{name: "5.5 …: a " + name + " of 126 inside of a message", in: cat(fragment(ws.OpText, false, "H"), headerOf(op, true, 126)), code: 1002},
			clause{name: "5.5 control frames MUST NOT be fragmented: a " + name, in: cat(bits("0 000 "+octet+" | 1 0000010"+key), "xx"), code: 1002},
			clause{name: "5.5 …: a " + name + " and its continuation", in: cat(bits("0 000 "+octet+" | 1 0000000"+key), cont(true, "")), code: 1002},
			clause{name: "5.5 …: a " + name + " inside of a message", in: cat(fragment(ws.OpText, false, "H"), bits("0 000 "+octet+" | 1 0000000"+key)), code: 1002})
	}
	return all
}

// messageClauses: what is sent and received.
func messageClauses() []clause {
	var octets []byte
	for b := range 256 {
		octets = append(octets, byte(b))
	}
	every, long := string(octets), strings.Repeat("é", 40_000)
	var many, manyBack []byte
	for i := range 1500 {
		many = append(many, frame(ws.OpText, fmt.Sprint("message ", i))...)
		manyBack = append(manyBack, sentText(fmt.Sprint("message ", i))...)
	}
	return []clause{
		{name: "5.6 binary data is anything", in: frame(ws.OpBinary, every), out: sent(ws.OpBinary, every)},
		{name: "5.6 a text is UTF-8", in: frame(ws.OpText, "κόσμε"), out: sentText("κόσμε")},
		{name: "5.6 a text frame might hold part of a character: the whole message MUST be UTF-8",
			in: cat(fragment(ws.OpText, false, "\xe2\x82"), cont(true, "\xac")), out: sentText("€")},
		{name: "5.6 a text may be empty", in: frame(ws.OpText, ""), out: sentText("")},
		{name: "5.6 a text has NUL and other controls as they are", in: frame(ws.OpText, "\x00\x01\r\n\x7f"), out: sentText("\x00\x01\r\n\x7f")},
		{name: "6.1 what is sent is sent as a frame of its type, the last of its message", out: cat("\x81\x02hi\x82\x02\xff\xfe"),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.WriteText("hi"); c.Write(Binary, []byte("\xff\xfe")) }}},
		{name: "6.1 …: a prepared one", out: cat("\x81\x02hi"), serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.Send(PrepareText("hi")) }}},
		{name: "6.1 …: a long one, in one frame", out: cat("\x81\x7f\x00\x00\x00\x00\x00\x01\x38\x80", long),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.WriteText(long) }}},
		{name: "6.1 nothing is sent that is not UTF-8 and says it is", out: sentText("ok"),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) {
				c.Write(Text, []byte("\xff"))
				c.WriteText("\xed\xa0\x80")
				c.WriteText("ok")
			}}},
		{name: "6.1 the connection MUST be open for data to be sent: nothing behind a close frame", in: closeFrame(1000, ""), code: 4000,
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.CloseWith(4000, ""); c.WriteText("late"); c.Send(PrepareText("late")) }}},
		{name: "6.2 a receiver MUST parse what comes as frames: many in a segment", in: many, out: manyBack},
		{name: "6.2 …: of all sorts in a segment",
			in:  cat(frame(ws.OpText, "1"), frame(ws.OpPing, "2"), fragment(ws.OpBinary, false, "3"), frame(ws.OpPong, "x"), cont(true, "4"), frame(ws.OpPing, "5")),
			out: cat(sentText("1"), sent(ws.OpPong, "2"), sent(ws.OpBinary, "34"), sent(ws.OpPong, "5"))},
		{name: "6.2 a server MUST remove the masking", in: cat(bits("1 000 0010 | 1 0000100"+key), "\x37\xfa\x21\x3d"), out: sent(ws.OpBinary, "\x00\x00\x00\x00")},
	}
}
