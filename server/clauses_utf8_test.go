//go:build linux

package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// wellFormed is the grammar of RFC 3629 section 4, which section 8.1 of RFC 6455 asks for: for each
// byte of a character the least and the most that it can be.
var wellFormed = []string{
	"\x00\x7f",
	"\xc2\xdf\x80\xbf",
	"\xe0\xe0\xa0\xbf\x80\xbf",
	"\xe1\xec\x80\xbf\x80\xbf",
	"\xed\xed\x80\x9f\x80\xbf",
	"\xee\xef\x80\xbf\x80\xbf",
	"\xf0\xf0\x90\xbf\x80\xbf\x80\xbf",
	"\xf1\xf3\x80\xbf\x80\xbf\x80\xbf",
	"\xf4\xf4\x80\x8f\x80\xbf\x80\xbf",
}

// begins tells whether a valid text can begin with s, and whether s is one itself.
func begins(s string) (can, whole bool) {
	for s != "" {
		n := 0
		for _, form := range wellFormed {
			n = max(n, fits(s, form))
		}
		if n == 0 {
			return false, false
		}
		if n > len(s) {
			return true, false
		}
		s = s[n:]
	}
	return true, true
}

// fits is the length of the character that s begins with, or is the beginning of; 0 if it is none of
// this form.
func fits(s, form string) int {
	n := len(form) / 2
	for i := range min(n, len(s)) {
		if s[i] < form[2*i] || s[i] > form[2*i+1] {
			return 0
		}
	}
	return n
}

// firstImpossible is the place of the first byte with which a text can't be valid any more, or -1.
func firstImpossible(s string) int {
	for n := range len(s) {
		if can, _ := begins(s[:n+1]); !can {
			return n
		}
	}
	return -1
}

type namedText struct{ name, text string }

// validTexts have the ends of each range of code points, by Markus Kuhn's list and Unicode's table.
var validTexts = []namedText{
	{"Greek", "κόσμε"},
	{"U+0000", "\x00"}, {"U+007F", "\x7f"}, {"U+0080", "\xc2\x80"}, {"U+07FF", "\xdf\xbf"},
	{"U+0800", "\xe0\xa0\x80"}, {"U+0FFF", "\xe0\xbf\xbf"}, {"U+1000", "\xe1\x80\x80"}, {"U+CFFF", "\xec\xbf\xbf"},
	{"U+D000", "\xed\x80\x80"}, {"U+D7FF", "\xed\x9f\xbf"}, {"U+E000", "\xee\x80\x80"}, {"U+FFFD", "\xef\xbf\xbd"},
	{"U+FEFF, a byte order mark", "\xef\xbb\xbf"}, {"U+FFFE, no character", "\xef\xbf\xbe"}, {"U+FFFF, no character", "\xef\xbf\xbf"},
	{"U+FDD0 and U+FDEF, no characters", "\xef\xb7\x90\xef\xb7\xaf"},
	{"U+10000", "\xf0\x90\x80\x80"}, {"U+1FFFE and U+1FFFF, no characters", "\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf"},
	{"U+3FFFF", "\xf0\xbf\xbf\xbf"}, {"U+40000", "\xf1\x80\x80\x80"}, {"U+FFFFF", "\xf3\xbf\xbf\xbf"},
	{"U+100000", "\xf4\x80\x80\x80"}, {"U+10FFFF", "\xf4\x8f\xbf\xbf"},
	{"characters of each length", "aé€𝄞a𝄞€éa"},
}

// invalidTexts are Markus Kuhn's "UTF-8 decoder capability and stress test", by his numbers, and what
// the grammar has beside it.
var invalidTexts = func() []namedText {
	all := []namedText{
		{"2.1.5 five bytes", "\xf8\x88\x80\x80\x80"}, {"2.1.6 six bytes", "\xfc\x84\x80\x80\x80\x80"},
		{"2.2.4 U+1FFFFF", "\xf7\xbf\xbf\xbf"}, {"2.2.5 U+3FFFFFF", "\xfb\xbf\xbf\xbf\xbf"}, {"2.2.6 U+7FFFFFFF", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"2.3.5 U+110000", "\xf4\x90\x80\x80"}, {"U+13FFFF", "\xf4\xbf\xbf\xbf"}, {"U+140000", "\xf5\x80\x80\x80"},
		{"3.1.1 first continuation byte", "\x80"}, {"3.1.2 last continuation byte", "\xbf"},
		{"3.1.3 two continuation bytes", "\x80\xbf"}, {"3.1.8 seven continuation bytes", "\x80\xbf\x80\xbf\x80\xbf\x80"},
		{"one continuation byte too many, of two", "é\x80"}, {"…, of three", "€\x80"}, {"…, of four", "𝄞\x80"},
		{"3.3.1 U+0000 without its last byte", "\xc0"}, {"3.3.2 …, of three", "\xe0\x80"}, {"3.3.3 …, of four", "\xf0\x80\x80"},
		{"3.3.4 …, of five", "\xf8\x80\x80\x80"}, {"3.3.5 …, of six", "\xfc\x80\x80\x80\x80"},
		{"3.3.6 U+07FF without its last byte", "\xdf"}, {"3.3.7 U+FFFF without its last byte", "\xef\xbf"},
		{"3.3.8 U+1FFFFF without its last byte", "\xf7\xbf\xbf"}, {"3.3.9 U+3FFFFFF without its last byte", "\xfb\xbf\xbf\xbf"},
		{"3.3.10 U+7FFFFFFF without its last byte", "\xfd\xbf\xbf\xbf\xbf"},
		{"U+10FFFF without its last byte", "\xf4\x8f\xbf"}, {"… two bytes", "\xf4\x8f"}, {"… three bytes", "\xf4"}, {"U+0800 without two", "\xe0"},
		{"3.4 sequences without their last bytes", "\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"},
		{"lawful sequences without their last bytes", "\xc3\xe2\x82\xf0\x9d\x84"},
		{"3.5.1 FE", "\xfe"}, {"3.5.2 FF", "\xff"}, {"3.5.3 FE FE FF FF", "\xfe\xfe\xff\xff"},
		{"4.1.1 overlong slash of two", "\xc0\xaf"}, {"4.1.2 …, of three", "\xe0\x80\xaf"}, {"4.1.3 …, of four", "\xf0\x80\x80\xaf"},
		{"4.1.4 …, of five", "\xf8\x80\x80\x80\xaf"}, {"4.1.5 …, of six", "\xfc\x80\x80\x80\x80\xaf"},
		{"4.2.1 greatest overlong of two", "\xc1\xbf"}, {"4.2.2 …, of three", "\xe0\x9f\xbf"}, {"4.2.3 …, of four", "\xf0\x8f\xbf\xbf"},
		{"4.2.4 …, of five", "\xf8\x87\xbf\xbf\xbf"}, {"4.2.5 …, of six", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"4.3.1 overlong NUL of two", "\xc0\x80"}, {"4.3.2 …, of three", "\xe0\x80\x80"}, {"4.3.3 …, of four", "\xf0\x80\x80\x80"},
		{"4.3.4 …, of five", "\xf8\x80\x80\x80\x80"}, {"4.3.5 …, of six", "\xfc\x80\x80\x80\x80\x80"},
		{"5.1.1 U+D800", "\xed\xa0\x80"}, {"5.1.2 U+DB7F", "\xed\xad\xbf"}, {"5.1.3 U+DB80", "\xed\xae\x80"}, {"5.1.4 U+DBFF", "\xed\xaf\xbf"},
		{"5.1.5 U+DC00", "\xed\xb0\x80"}, {"5.1.6 U+DF80", "\xed\xbe\x80"}, {"5.1.7 U+DFFF", "\xed\xbf\xbf"},
		{"5.2.1 U+D800 U+DC00", "\xed\xa0\x80\xed\xb0\x80"}, {"5.2.8 U+DBFF U+DFFF", "\xed\xaf\xbf\xed\xbf\xbf"},
	}
	for b := 0x80; b < 0x100; b++ {
		all = append(all, namedText{fmt.Sprintf("3.2 byte %X and a space", b), string([]byte{byte(b), ' '})})
	}
	for _, c := range validTexts {
		for n := 1; n < len(c.text); n++ {
			if _, whole := begins(c.text[:n]); !whole {
				all = append(all, namedText{fmt.Sprintf("the first %d of %s, and a letter", n, c.name), c.text[:n] + "a"})
			}
		}
	}
	return all
}()

// utf8Clauses: a text MUST be UTF-8, and fails with its first byte that none can have there.
func utf8Clauses() (all []clause) {
	// bytewise is a message whose fragments have a byte each.
	bytewise := func(text string, fin bool) []byte {
		stream := fragment(ws.OpText, false, text[:1])
		for i := 1; i < len(text); i++ {
			stream = cat(stream, frame(ws.OpPing, ""), cont(fin && i == len(text)-1, text[i:i+1]))
		}
		return stream
	}
	pongs := func(n int) []byte { return []byte(strings.Repeat("\x8a\x00", n)) }
	for _, c := range validTexts {
		text := "<" + c.text + ">"
		all = append(all,
			clause{name: "8.1 valid: " + c.name, in: cat(frame(ws.OpText, c.text), frame(ws.OpText, text)), out: cat(sentText(c.text), sentText(text))},
			clause{name: "8.1 valid: " + c.name + ", a byte a fragment", in: bytewise(text, true), out: cat(pongs(len(text)-1), sentText(text))})
	}
	for _, c := range invalidTexts {
		text := "κόσμε" + c.text
		all = append(all, clause{name: "8.1 invalid: " + c.name, in: cat(frame(ws.OpText, "ok"), frame(ws.OpText, c.text)), out: sentText("ok"), code: 1007})
		at := firstImpossible(text)
		if at < 0 {
			all = append(all, clause{name: "8.1 invalid: " + c.name + ", a byte a fragment", in: bytewise(text, true), out: pongs(len(text) - 1), code: 1007})
			continue
		}
		text = text[:at+1]
		all = append(all,
			clause{name: "8.1 invalid: " + c.name + ", a byte a fragment, at once", in: bytewise(text, false), out: pongs(len(text) - 1), code: 1007},
			clause{name: "8.1 invalid: " + c.name + ", at once, though the frame goes on", code: 1007,
				in: cat(headerOf(ws.OpText, true, 60_000), sealed(text))})
	}
	return append(all,
		clause{name: "8.1 invalid: behind much that is valid", in: frame(ws.OpText, strings.Repeat("é", 30_000)+"\xff"), code: 1007},
		clause{name: "8.1 invalid: before much that would be valid", in: frame(ws.OpText, "\xff"+strings.Repeat("é", 30_000)), code: 1007},
		clause{name: "8.1 valid: a character over fragments and pings",
			in:  cat(fragment(ws.OpText, false, "\xf0"), frame(ws.OpPing, "\xff"), cont(false, "\x9d"), cont(false, ""), cont(false, "\x84"), frame(ws.OpPong, "\xff"), cont(true, "\x9e")),
			out: cat(sent(ws.OpPong, "\xff"), sentText("𝄞"))},
		clause{name: "8.1 valid: binary messages are not looked at", in: cat(fragment(ws.OpBinary, false, "\xed"), cont(true, "\xa0\x80")), out: sent(ws.OpBinary, "\xed\xa0\x80")},
		clause{name: "8.1 invalid: what one message lacks, the next can't bring", in: cat(frame(ws.OpBinary, "\xe2\x82"), frame(ws.OpText, "\xac")),
			out: sent(ws.OpBinary, "\xe2\x82"), code: 1007},
	)
}

// TestClausesFailFast holds the decoder against the grammar: at each prefix of a text, in a frame that
// goes on, there is an error if and only if no valid text begins so.
func TestClausesFailFast(t *testing.T) {
	t.Parallel()
	for _, c := range append(invalidTexts, validTexts...) {
		text := "é" + c.text + "κ"
		want := firstImpossible(text)
		everySplit([]byte(text), func(how string, pieces [][]byte) {
			if got := impossibleAt(pieces); got != endOf(pieces, want) {
				t.Errorf("%s, %s: the error comes with byte %d, want %d", c.name, how, got, endOf(pieces, want))
			}
		})
	}
}

// TestClausesFailFastEverywhere does so for all texts of four bytes that lie where the grammar
// changes, cut in every way.
func TestClausesFailFastEverywhere(t *testing.T) {
	t.Parallel()
	const edges = "\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xe1\xed\xf0\xf4\xf5"
	text := make([]byte, 4)
	for n := range len(edges) * len(edges) * len(edges) * len(edges) {
		for i := range text {
			text[i] = edges[n%len(edges)]
			n /= len(edges)
		}
		want := firstImpossible(string(text))
		for cuts := range 8 {
			pieces := cutAt(text, cuts)
			if got := impossibleAt(pieces); got != endOf(pieces, want) {
				t.Fatalf("%x: the error comes with byte %d, want %d", pieces, got, endOf(pieces, want))
			}
		}
	}
}

// cutAt cuts behind the i-th byte if cuts has the i-th bit.
func cutAt(text []byte, cuts int) (pieces [][]byte) {
	from := 0
	for i := range text {
		if cuts>>i&1 != 0 || i == len(text)-1 {
			pieces, from = append(pieces, text[from:i+1]), i+1
		}
	}
	return pieces
}

// endOf is the last byte of the piece that has byte i, with which an error over i comes.
func endOf(pieces [][]byte, i int) int {
	end := -1
	for _, p := range pieces {
		if end < i {
			end += len(p)
		}
	}
	return end
}

// impossibleAt gives a decoder the pieces of a text that goes on, and tells which byte was the last
// when it failed, or -1.
func impossibleAt(pieces [][]byte) int {
	d := roomy()
	if _, _, err := feed(d, [][]byte{headerOf(ws.OpText, true, 1000)}); err != nil {
		panic(err)
	}
	end := -1
	for _, p := range pieces {
		masked := bytes.Clone(p)
		ws.Cipher(masked, maskKey, end+1)
		end += len(p)
		if _, _, err := feed(d, [][]byte{masked}); err == errInvalidUTF8 {
			return end
		}
	}
	return -1
}
