//go:build linux

package server

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// zeroKey is the masking key that changes nothing.
const zeroKey = " 00000000 00000000 00000000 00000000"

// maskingClauses: who masks, and how.
func maskingClauses() []clause {
	all := []clause{
		{name: "5.1 a server MUST close the connection upon a frame that is not masked: text",
			in: cat(bits("1 000 0001 | 0 0000101"), "Hello"), code: 1002},
		{name: "5.1 …: an empty one", in: bits("1 000 0010 | 0 0000000"), code: 1002},
		{name: "5.1 …: behind one that is", in: cat(frame(ws.OpText, "ok"), bits("1 000 0001 | 0 0000000")),
			out: sentText("ok"), code: 1002},
		{name: "5.1 …: a continuation", in: cat(fragment(ws.OpText, false, "H"), bits("1 000 0000 | 0 0000001"), "i"), code: 1002},
		{name: "5.1 …: a ping", in: bits("1 000 1001 | 0 0000000"), code: 1002},
		{name: "5.1 …: a pong", in: bits("1 000 1010 | 0 0000000"), code: 1002},
		{name: "5.1 …: a close frame", in: bits("1 000 1000 | 0 0000010 | 00000011 11101000"), code: 1002},
		{name: "5.1 …: with 16 bits of length", in: bits("1 000 0010 | 0 1111110"), code: 1002},
		{name: "5.1 …: with 64 bits of length", in: bits("1 000 0010 | 0 1111111"), code: 1002},
		{name: "5.1 a server MUST NOT mask any frames that it sends",
			in:  cat(frame(ws.OpText, "a"), frame(ws.OpBinary, "b"), frame(ws.OpPing, "c")),
			out: cat(bits("1 000 0001 | 0 0000001"), "a", bits("1 000 0010 | 0 0000001"), "b", bits("1 000 1010 | 0 0000001"), "c")},
		{name: "5.1 data MAY be sent at any time after the handshake: by the peer, at once", in: frame(ws.OpText, "first"), out: sentText("first")},
		{name: "5.1 …: by the server, unasked", out: sentText("welcome"),
			serve: &Options{OnOpen: func(c *Conn, _ *Request) { c.WriteText("welcome") }}},
		{name: "5.3 a key of zeros is a key", in: cat(bits("1 000 0001 | 1 0000010"+zeroKey), "ok"), out: sentText("ok")},
		{name: "5.3 an all-ones key", in: bits("1 000 0010 | 1 0000010 | 11111111 11111111 11111111 11111111 | 11111111 00000000"),
			out: sent(ws.OpBinary, "\x00\xff")},
		{name: "5.3 each frame has a key of its own",
			in: cat(bits("0 000 0001 | 1 0000010"+zeroKey), "He", bits("1 000 0000 | 1 0000011"+key), sealed("llo"),
				bits("1 000 0001 | 1 0000001 | 00000001 00000000 00000000 00000000"), "\x20"),
			out: cat(sentText("Hello"), sentText("!"))},
		{name: "5.3 octet i is masked with key octet i modulo 4, also past a control frame",
			in:  cat(fragment(ws.OpBinary, false, "abc"), frame(ws.OpPing, "de"), cont(false, "fghij"), cont(true, "k")),
			out: cat(sent(ws.OpPong, "de"), sent(ws.OpBinary, "abcfghijk"))},
		{name: "5.3 the length does not include that of the key", in: cat(bits("1 000 0010 | 1 0000000"+key), frame(ws.OpPing, "")),
			out: cat(sent(ws.OpBinary, ""), sent(ws.OpPong, ""))},
		{name: "10.3 what is masked by the peer is echoed unmasked", in: cat(bits("1 000 0001 | 1 0000001"+key), sealed("x")),
			out: cat(bits("1 000 0001 | 0 0000001"), "x")},
	}
	for n := range 9 {
		payload := "\x00\x01\x02\x03\x04\x05\x06\x07\x08"[:n]
		all = append(all, clause{name: fmt.Sprintf("5.3 a payload of %d octets", n), in: frame(ws.OpBinary, payload), out: sent(ws.OpBinary, payload)})
	}
	return all
}

// framingClauses: the first byte, and the examples.
func framingClauses() []clause {
	long, longer := strings.Repeat("x", 256), strings.Repeat("y", 65536)
	all := []clause{
		{name: "5.7 a single-frame masked text message", in: []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), out: []byte("\x81\x05Hello")},
		{name: "5.7 a masked ping, and its pong", in: []byte("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), out: []byte("\x8a\x05Hello")},
		{name: "5.7 a fragmented text message",
			in: cat(bits("0 000 0001 | 1 0000011"+key), sealed("Hel"), bits("1 000 0000 | 1 0000010"+key), sealed("lo")), out: []byte("\x81\x05Hello")},
		{name: "5.7 256 bytes in a single frame", in: frame(ws.OpBinary, long), out: cat("\x82\x7e\x01\x00", long)},
		{name: "5.7 64 KiB in a single frame", in: frame(ws.OpBinary, longer), out: cat("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", longer)},
		{name: "5.8 what no extension gave a meaning fails: a handshake in place of a frame", in: []byte("GET / HTTP/1.1\r\n\r\n"), code: 1002},
	}
	ops := []struct {
		name, octet string
		first       []byte
	}{
		{"text", "0001", nil},
		{"binary", "0010", nil},
		{"continuation", "0000", fragment(ws.OpText, false, "H")},
		{"misplaced continuation", "0000", nil},
		{"close", "1000", nil},
		{"ping", "1001", nil},
		{"pong", "1010", nil},
		{"ping inside a message", "1001", fragment(ws.OpText, false, "H")},
	}
	for rsv := 1; rsv < 8; rsv++ {
		for _, op := range ops {
			drawing := fmt.Sprintf("1 %03b %s | 1 0000000", rsv, op.octet) + key
			all = append(all, clause{name: fmt.Sprintf("5.2 RSV1 to RSV3 MUST be 0 unless negotiated: %03b on a %s", rsv, op.name), in: cat(op.first, bits(drawing)), code: 1002})
		}
		drawing := fmt.Sprintf("0 %03b 0001 | 1 0000000", rsv) + key
		all = append(all, clause{name: fmt.Sprintf("5.2 …: %03b on a first fragment", rsv), in: bits(drawing), code: 1002})
	}
	for _, op := range []int{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		for _, fin := range []int{1, 0} {
			in := bits(fmt.Sprintf("%d 000 %04b | 1 0000000", fin, op) + key)
			name := fmt.Sprintf("%X with FIN %d", op, fin)
			all = append(all,
				clause{name: "5.2 an unknown opcode MUST fail the connection: " + name, in: in, code: 1002},
				clause{name: "5.2 …: " + name + " inside a message", in: cat(fragment(ws.OpText, false, "H"), frame(ws.OpPing, ""), in),
					out: sent(ws.OpPong, ""), code: 1002})
		}
	}
	return all
}

// lengthClauses: each form of the length at its ends, and what must not be.
func lengthClauses() (all []clause) {
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536, 65537, clauseLimit - 1, clauseLimit} {
		x, y := strings.Repeat("x", n), strings.Repeat("\xff", n)
		all = append(all,
			clause{name: fmt.Sprintf("5.2 payload length: a text of %d", n), in: frame(ws.OpText, x), out: sentText(x)},
			clause{name: fmt.Sprintf("5.2 payload length: %d bytes in two fragments", n),
				in: cat(fragment(ws.OpBinary, false, y), cont(true, "")), out: sent(ws.OpBinary, y)},
			clause{name: fmt.Sprintf("5.2 payload length: %d bytes, and a message behind them", n),
				in: cat(frame(ws.OpBinary, y), frame(ws.OpText, "next")), out: cat(sent(ws.OpBinary, y), sentText("next"))})
	}
	for _, c := range []struct{ name, drawing string }{
		{"0 in 16 bits", "1 000 0001 | 1 1111110 | 00000000 00000000"},
		{"1 in 16 bits", "1 000 0010 | 1 1111110 | 00000000 00000001"},
		{"125 in 16 bits", "1 000 0010 | 1 1111110 | 00000000 01111101"},
		{"0 in 64 bits", "1 000 0001 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"},
		{"125 in 64 bits", "1 000 0001 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000 00000000 01111101"},
		{"126 in 64 bits", "1 000 0010 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000 00000000 01111110"},
		{"65535 in 64 bits", "1 000 0010 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000 11111111 11111111"},
		{"5 in 16 bits, in a ping", "1 000 1001 | 1 1111110 | 00000000 00000101"},
		{"5 in 64 bits, in a fragment", "0 000 0001 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000101"},
	} {
		all = append(all, clause{name: "5.2 the minimal number of bytes MUST encode the length: " + c.name, in: bits(c.drawing + key), code: 1002})
	}
	return append(all,
		clause{name: "5.2 the most significant bit of 64 MUST be 0", code: 1002,
			in: bits("1 000 0010 | 1 1111111 | 10000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001" + key)},
		clause{name: "5.2 …: all ones", code: 1002,
			in: bits("1 000 0010 | 1 1111111 | 11111111 11111111 11111111 11111111 11111111 11111111 11111111 11111111" + key)},
		clause{name: "10.4 limits MUST be protected: one past", in: headerOf(ws.OpBinary, true, clauseLimit+1), code: 1009},
		clause{name: "10.4 …: one past, and all of it comes", in: frame(ws.OpText, strings.Repeat("x", clauseLimit+1)), code: 1009},
		clause{name: "10.4 …: the longest length of all", in: headerOf(ws.OpBinary, true, 1<<63-1), code: 1009},
		clause{name: "10.4 …: 2^32 and the limit, for those who cut lengths short", in: headerOf(ws.OpBinary, true, 1<<32+5), code: 1009},
		clause{name: "10.4 …: one past over fragments", code: 1009,
			in: cat(fragment(ws.OpBinary, false, strings.Repeat("x", clauseLimit)), headerOf(ws.OpContinuation, true, 1))},
		clause{name: "10.4 …: the last of many fragments", code: 1009,
			in: cat(fragment(ws.OpBinary, false, ""), strings.Repeat(string(cont(false, strings.Repeat("x", 700))), clauseLimit/700), cont(false, "x"))},
		clause{name: "10.4 …: just at it, over fragments, with control frames that don't count",
			in:  cat(fragment(ws.OpBinary, false, strings.Repeat("x", clauseLimit-1)), frame(ws.OpPing, strings.Repeat("p", 125)), cont(false, "x"), cont(true, "")),
			out: cat(sent(ws.OpPong, strings.Repeat("p", 125)), sent(ws.OpBinary, strings.Repeat("x", clauseLimit)))},
		clause{name: "10.4 …: each message anew",
			in:  bytes.Repeat(frame(ws.OpBinary, strings.Repeat("x", clauseLimit)), 2), // as much as the kernels hold
			out: bytes.Repeat(sent(ws.OpBinary, strings.Repeat("x", clauseLimit)), 2)},
		clause{name: "10.4 …: a continuation whose sum overflows", code: 1009,
			in: cat(fragment(ws.OpBinary, false, "x"), headerOf(ws.OpContinuation, true, 1<<63-1))},
	)
}
