//go:build linux

package server

import (
	"bytes"
	"compress/flate"
	"errors"
	"slices"
	"testing"
)

// lz77 is an inflater by the letter of RFC 1951, slow and strict. It has the window that it is given
// and refuses a reference by one byte more, which libraries with 32 KiB do not see.
type lz77 struct {
	window  int
	forgets bool   // between messages
	text    []byte // of all messages

	in   []byte
	bit  uint
	fail error
}

var errLZ77 = errors.New("not to be inflated within the window")

// inflate is RFC 7692 section 7.2.2.
func (z *lz77) inflate(payload []byte) ([]byte, error) {
	if z.forgets {
		z.text = nil
	}
	z.in, z.bit = cat(payload, flushTail), 0
	start := len(z.text)
	for z.fail == nil && int(z.bit) < 8*len(z.in) {
		z.block()
	}
	return z.text[start:], z.fail
}

// bits takes n bits, the least significant first.
func (z *lz77) bits(n int) (v int) {
	for i := range n {
		if int(z.bit) >= 8*len(z.in) {
			z.fail = errLZ77
			return 0
		}
		v |= int(z.in[z.bit/8]>>(z.bit%8)&1) << i
		z.bit++
	}
	return v
}

func (z *lz77) block() {
	z.bits(1) // BFINAL may be set, and others follow all the same
	switch z.bits(2) {
	case 0:
		z.bit = (z.bit + 7) / 8 * 8
		n, complement := z.bits(16), z.bits(16)
		if n != ^complement&0xffff {
			z.fail = errLZ77
		}
		for range n {
			z.text = append(z.text, byte(z.bits(8)))
		}
	case 1:
		z.codes(newHuffman(slices.Concat(repeat(8, 144), repeat(9, 112), repeat(7, 24), repeat(8, 8))), newHuffman(repeat(5, 30)))
	case 2:
		z.codes(z.dynamic())
	default:
		z.fail = errLZ77
	}
}

func repeat(length, n int) []int { return slices.Repeat([]int{length}, n) }

// dynamic reads the codes of a block (section 3.2.7).
func (z *lz77) dynamic() (literals, distances huffman) {
	nl, nd, nc := 257+z.bits(5), 1+z.bits(5), 4+z.bits(4)
	lengths := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:nc] {
		lengths[i] = z.bits(3)
	}
	codes := newHuffman(lengths)
	lengths = nil
	for len(lengths) < nl+nd && z.fail == nil {
		switch s := z.symbol(codes); s {
		case 16:
			lengths = append(lengths, repeat(slices.Concat([]int{0}, lengths)[len(lengths)], 3+z.bits(2))...)
		case 17:
			lengths = append(lengths, repeat(0, 3+z.bits(3))...)
		case 18:
			lengths = append(lengths, repeat(0, 11+z.bits(7))...)
		default:
			lengths = append(lengths, s)
		}
	}
	if len(lengths) != nl+nd {
		z.fail = errLZ77
		return literals, distances
	}
	return newHuffman(lengths[:nl]), newHuffman(lengths[nl:])
}

// huffman are the symbols of a code, by its length and then in order (section 3.2.2).
type huffman [16][]int

func newHuffman(lengths []int) (h huffman) {
	for symbol, n := range lengths {
		if n > 0 {
			h[n] = append(h[n], symbol)
		}
	}
	return h
}

func (z *lz77) symbol(h huffman) int {
	code, first := 0, 0
	for n := 1; n < len(h) && z.fail == nil; n++ {
		code, first = code<<1|z.bits(1), first<<1
		if i := code - first; i < len(h[n]) {
			return h[n][i]
		}
		first += len(h[n])
	}
	z.fail = errLZ77
	return 256
}

// codes reads literals and references up to the end of the block (section 3.2.5).
func (z *lz77) codes(literals, distances huffman) {
	for z.fail == nil {
		s := z.symbol(literals)
		switch {
		case s < 256:
			z.text = append(z.text, byte(s))
		case s == 256:
			return
		default:
			z.copy(z.length(s-257), z.distance(z.symbol(distances)))
		}
	}
}

func (z *lz77) length(s int) int {
	switch {
	case s < 8:
		return 3 + s
	case s == 28:
		return 258
	}
	extra := s/4 - 1
	return 3 + (4+s%4)<<extra + z.bits(extra)
}

func (z *lz77) distance(s int) int {
	if s < 4 {
		return 1 + s
	}
	extra := s/2 - 1
	return 1 + (2+s%2)<<extra + z.bits(extra)
}

func (z *lz77) copy(length, distance int) {
	if distance > z.window || distance > len(z.text) {
		z.fail = errLZ77
		return
	}
	for range length {
		z.text = append(z.text, z.text[len(z.text)-distance])
	}
}

// deflatedAlone is a message that refers to nothing before it.
func deflatedAlone(text string) string { return referring("", text) }

// referring is one that may refer to what is before it.
func referring(before, text string) string {
	var out bytes.Buffer
	w, err := flate.NewWriterDict(&out, 9, []byte(before))
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err)
	}
	return string(bytes.TrimSuffix(out.Bytes(), []byte(flushTail)))
}

// TestClausesInflater: the strict inflater reads what another implementation makes, and refuses it
// where a window of half the size would not do.
func TestClausesInflater(t *testing.T) {
	t.Parallel()
	z := &lz77{window: 1 << 15}
	before := ""
	for _, text := range []string{"", "Hello", string(prose(5000)), string(noise(20_000)), string(prose(5000)), string(prose(100))} {
		got, err := z.inflate([]byte(referring(before, text)))
		if string(got) != text || err != nil {
			t.Errorf("%d bytes: got %d, error %v", len(text), len(got), err)
		}
		before += text
	}
	far := string(noise(512))
	for _, c := range []struct {
		window int
		want   error
	}{{512, nil}, {511, errLZ77}} {
		z := &lz77{window: c.window}
		if _, err := z.inflate([]byte(deflatedAlone(far + far[:50]))); err != c.want {
			t.Errorf("a reference by 512 bytes in a window of %d: %v, want %v", c.window, err, c.want)
		}
	}
	forgetful := &lz77{window: 1 << 15, forgets: true}
	forgetful.inflate([]byte(deflatedHello))
	if _, err := forgetful.inflate([]byte(deflatedAgain)); err != errLZ77 {
		t.Errorf("a reference to what is forgotten: %v", err)
	}
}
