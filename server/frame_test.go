//go:build linux

package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// key is the masking key of the headers drawn here.
const key = " 00110111 11111010 00100001 00111101"

// TestParseHeader has each form of the length at both its ends.
func TestParseHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, drawing string // FIN RSV opcode | MASK length | extended length | masking key
		want          frameHeader
	}{
		{"5.7, the masked Hello", "1 000 0001 | 1 0000101" + key, frameHeader{op: ws.OpText, fin: true, length: 5}},
		{"no payload", "1 000 0010 | 1 0000000" + key, frameHeader{op: ws.OpBinary, fin: true, length: 0}},
		{"first fragment", "0 000 0001 | 1 0000001" + key, frameHeader{op: ws.OpText, length: 1}},
		{"fragment between", "0 000 0000 | 1 0000001" + key, frameHeader{op: ws.OpContinuation, length: 1}},
		{"last fragment", "1 000 0000 | 1 0000001" + key, frameHeader{op: ws.OpContinuation, fin: true, length: 1}},
		{"longest of 7 bits", "1 000 0010 | 1 1111101" + key, frameHeader{op: ws.OpBinary, fin: true, length: 125}},
		{"shortest of 16 bits", "1 000 0010 | 1 1111110 | 00000000 01111110" + key,
			frameHeader{op: ws.OpBinary, fin: true, length: 126}},
		{"127 in 16 bits", "1 000 0010 | 1 1111110 | 00000000 01111111" + key,
			frameHeader{op: ws.OpBinary, fin: true, length: 127}},
		{"longest of 16 bits", "1 000 0010 | 1 1111110 | 11111111 11111111" + key,
			frameHeader{op: ws.OpBinary, fin: true, length: 0xffff}},
		{"shortest of 64 bits", "1 000 0010 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000" + key,
			frameHeader{op: ws.OpBinary, fin: true, length: 0x10000}},
		{"longest of 64 bits", "1 000 0010 | 1 1111111 | 01111111 11111111 11111111 11111111 11111111 11111111 11111111 11111111" + key,
			frameHeader{op: ws.OpBinary, fin: true, length: math.MaxInt64}},
		{"close", "1 000 1000 | 1 0000010" + key, frameHeader{op: ws.OpClose, fin: true, length: 2}},
		{"longest ping", "1 000 1001 | 1 1111101" + key, frameHeader{op: ws.OpPing, fin: true, length: 125}},
		{"empty pong", "1 000 1010 | 1 0000000" + key, frameHeader{op: ws.OpPong, fin: true, length: 0}},
	} {
		whole := bits(c.drawing)
		c.want.mask = maskKey
		for n := range len(whole) {
			if _, took, err := parseHeader(whole[:n], false); took != 0 || err != nil {
				t.Errorf("%s: of the first %d bytes it took %d, error %v", c.name, n, took, err)
			}
		}
		for _, behind := range []string{"", "Hello", strings.Repeat("\xff", 20)} {
			h, n, err := parseHeader(cat(whole, behind), false)
			if h != c.want || n != len(whole) || err != nil {
				t.Errorf("%s: %+v in %d bytes, error %v; want %+v in %d", c.name, h, n, err, c.want, len(whole))
			}
		}
	}
}

// TestParseHeaderRefuses draws headers up to the byte that makes them wrong: before it nothing is
// wrong yet, and nothing behind it mends it.
func TestParseHeaderRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, drawing string
		want          error
	}{
		{"5.2 RSV1", "1 100 0001", errReservedBits},
		{"5.2 RSV2", "1 010 0001", errReservedBits},
		{"5.2 RSV3", "0 001 0010", errReservedBits},
		{"5.2 RSV1 of a control frame", "1 100 1001", errReservedBits},
		{"5.2 opcode 3", "1 000 0011", errReservedOpcode},
		{"5.2 opcode 4", "1 000 0100", errReservedOpcode},
		{"5.2 opcode 5", "0 000 0101", errReservedOpcode},
		{"5.2 opcode 6", "1 000 0110", errReservedOpcode},
		{"5.2 opcode 7", "1 000 0111", errReservedOpcode},
		{"5.2 opcode B", "1 000 1011", errReservedOpcode},
		{"5.2 opcode C", "1 000 1100", errReservedOpcode},
		{"5.2 opcode D", "0 000 1101", errReservedOpcode},
		{"5.2 opcode E", "1 000 1110", errReservedOpcode},
		{"5.2 opcode F", "1 000 1111", errReservedOpcode},
		{"5.5 fragmented close", "0 000 1000", errFragmentedControl},
		{"5.5 fragmented ping", "0 000 1001", errFragmentedControl},
		{"5.5 fragmented pong", "0 000 1010", errFragmentedControl},
		{"5.1 no mask", "1 000 0001 | 0 0000101", errUnmasked},
		{"5.1 no mask, long", "1 000 0010 | 0 1111111", errUnmasked},
		{"5.5 close of 126 bytes", "1 000 1000 | 1 1111110", errControlTooLong},
		{"5.5 ping of 126 bytes", "1 000 1001 | 1 1111110", errControlTooLong},
		{"5.5 pong of 64 bits", "1 000 1010 | 1 1111111", errControlTooLong},
		{"5.2 125 in 16 bits", "1 000 0010 | 1 1111110 | 00000000 01111101", errLengthNotMinimal},
		{"5.2 0 in 16 bits", "0 000 0001 | 1 1111110 | 00000000 00000000", errLengthNotMinimal},
		// Six bytes of zeros leave no room for more than 65,535.
		{"5.2 65,535 in 64 bits", "1 000 0010 | 1 1111111 | 00000000 00000000 00000000 00000000 00000000 00000000", errLengthNotMinimal},
		{"5.2 most significant bit", "1 000 0010 | 1 1111111 | 10000000", errLengthNegative},
		{"5.2 all bits", "1 000 0010 | 1 1111111 | 11111111", errLengthNegative},
	} {
		wrong := bits(c.drawing)
		for n := range len(wrong) {
			if _, took, err := parseHeader(wrong[:n], false); took != 0 || err != nil {
				t.Errorf("%s: of the first %d bytes it took %d, error %v", c.name, n, took, err)
			}
		}
		for n := range 16 {
			for _, filler := range []byte{0, 0x7f, 0xff} {
				p := cat(wrong, bytes.Repeat([]byte{filler}, n))
				if _, took, err := parseHeader(p, false); took != 0 || err != c.want {
					t.Errorf("%s, and %d times %x: took %d, error %v; want %v", c.name, n, filler, took, err, c.want)
				}
			}
		}
	}
}

func TestAppendHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		length  int
		drawing string
	}{
		{0, "1 000 0001 | 0 0000000"},
		{1, "1 000 0001 | 0 0000001"},
		{125, "1 000 0001 | 0 1111101"},
		{126, "1 000 0001 | 0 1111110 | 00000000 01111110"},
		{127, "1 000 0001 | 0 1111110 | 00000000 01111111"},
		{65535, "1 000 0001 | 0 1111110 | 11111111 11111111"},
		{65536, "1 000 0001 | 0 1111111 | 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000"},
		{math.MaxInt, fmt.Sprintf("1 000 0001 | 0 1111111 | %064b", math.MaxInt)},
	} {
		if got := appendHeader([]byte("before"), ws.OpText, c.length); !bytes.Equal(got, cat("before", bits(c.drawing))) {
			t.Errorf("%d: %x, want %x behind what was there", c.length, got, bits(c.drawing))
		}
	}
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpPong} {
		payload := []byte("Hello")
		if got, want := appendFrame(nil, op, payload), ws.MustCompileFrame(ws.NewFrame(op, true, payload)); !bytes.Equal(got, want) {
			t.Errorf("opcode %x: %x, want %x", byte(op), got, want)
		}
	}
}

// TestPreparedIsTheSameFrame: the two encoders agree.
func TestPreparedIsTheSameFrame(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		text := strings.Repeat("x", n)
		if p := PrepareText(text); !bytes.Equal(p.frame, appendFrame(nil, ws.OpText, []byte(text))) || p.Len() != len(p.frame) {
			t.Errorf("%d bytes: the prepared frame begins with %x", n, p.frame[:min(20, len(p.frame))])
		}
	}
}

// lawful is section 7.4 of RFC 6455 and IANA's registry of close codes, said once more: 1004 to 1006
// and 1015 are never sent, 1012 to 1014 were registered later, 3000 to 4999 are free.
var lawful = map[int]bool{
	1000: true, 1001: true, 1002: true, 1003: true, 1007: true, 1008: true, 1009: true, 1010: true,
	1011: true, 1012: true, 1013: true, 1014: true,
}

func TestParseClose(t *testing.T) {
	t.Parallel()
	for code := range 1 << 16 {
		payload := cat(binary.BigEndian.AppendUint16(nil, uint16(code)), "why")
		got, reason, err := parseClose(payload)
		switch want := lawful[code] || code >= 3000 && code <= 4999; {
		case want && (got != Code(code) || reason != "why" || err != nil):
			t.Errorf("%d: %v %q, error %v", code, got, reason, err)
		case !want && err != errCloseCode:
			t.Errorf("%d: error %v, want %v", code, err, errCloseCode)
		}
	}
	for _, c := range []struct {
		name, payload string
		code          Code
		reason        string
		err           error
	}{
		{"5.5.1 nothing", "", CodeNone, "", nil},
		{"5.5.1 half a code", "\x03", 0, "", errCloseTooShort},
		{"5.5.1 a code only", "\x03\xe8", 1000, "", nil},
		{"5.5.1 longest reason", "\x03\xe8" + strings.Repeat("€", 41), 1000, strings.Repeat("€", 41), nil},
		{"5.5.1 reason not UTF-8", "\x03\xe8\xff", 0, "", errInvalidUTF8},
		{"5.5.1 reason cut inside a character", "\x03\xe8\xe2\x82", 0, "", errInvalidUTF8},
		{"7.4 the code is judged first", "\x00\x00\xff", 0, "", errCloseCode},
	} {
		if code, reason, err := parseClose([]byte(c.payload)); code != c.code || reason != c.reason || err != c.err {
			t.Errorf("%s: %v %q, error %v; want %v %q, error %v", c.name, code, reason, err, c.code, c.reason, c.err)
		}
	}
}

// TestAppendClose: what is said is read back, and no code is an empty frame.
func TestAppendClose(t *testing.T) {
	t.Parallel()
	if got := appendClose(nil, CodeNone, "unsaid"); !bytes.Equal(got, bits("1 000 1000 | 0 0000000")) {
		t.Errorf("without a code: %x", got)
	}
	long := strings.Repeat("r", maxControl-2)
	got := appendClose(nil, 1000, long)
	if !bytes.Equal(got, cat(bits("1 000 1000 | 0 1111101 | 00000011 11101000"), long)) {
		t.Errorf("with the longest reason: %x", got)
	}
}

// TestValidSoFar holds every sequence of up to four bytes, each of which lies where the table of
// well-formed sequences (RFC 3629 section 4) changes, against trying to complete it.
func TestValidSoFar(t *testing.T) {
	t.Parallel()
	edges := []byte("\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xe1\xed\xf0\xf4\xf5")
	completions := []string{"\x80", "\x90", "\xa0"} // each range of second bytes has one of these
	completable := map[string]bool{}                // by tails that are not valid as they are
	var canBecome func(tail string, more int) bool
	canBecome = func(tail string, more int) bool {
		if utf8.ValidString(tail) {
			return true
		}
		if more == 0 {
			return false
		}
		for _, c := range completions {
			if canBecome(tail+c, more-1) {
				return true
			}
		}
		return false
	}
	check := func(s string) {
		// The whole characters at the front, naively; what is behind them is the tail.
		whole := 0
		for whole < len(s) {
			r, n := utf8.DecodeRuneInString(s[whole:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			whole += n
		}
		tail := s[whole:]
		want, known := completable[tail]
		if !known {
			want = canBecome(tail, 3)
			completable[tail] = want
		}
		got, ok := validSoFar([]byte(s))
		if ok != want || ok && got != whole {
			t.Errorf("%x: %d whole, ok %v; want %d, %v", s, got, ok, whole, want)
		}
	}
	var each func(s string)
	each = func(s string) {
		check(s)
		for _, b := range edges {
			if len(s) < 4 {
				each(s + string([]byte{b}))
			}
		}
	}
	each("")
	for _, s := range []string{"Hello", "Grüße", "κόσμε", "€uro 𝄞"} {
		for n := range len(s) + 1 {
			check(s[:n])
		}
	}
}
