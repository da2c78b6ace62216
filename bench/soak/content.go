package soak

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"
)

// This file is pure: what messages say. Each can be made again from its label and the seed of the run, so
// who receives one knows every byte that it must have.

// label is the head of a message: who made it, and which one of its maker's it is.
type label struct {
	maker byte   // one of the makers below
	wish  byte   // what the server is to do about it; see wishes.go
	arg   uint16 // of the wish
	of    uint32 // the number of the connection that it was made for, or of the place
	seq   uint32 // counts the messages of that maker for that connection or place
	size  uint32 // of the whole message, label included
}

// The makers of messages.
const (
	byClient = 'c'
	byServer = 's'
	forAll   = 'b' // a broadcast
)

// labelSize is the length of a label: hexadecimal, so that text messages have it too, with a checksum.
const labelSize = 2 + 4 + 3*8 + 8

// What can be wrong with a message.
var (
	errLabel   = errors.New("a label that is none")
	errTorn    = errors.New("a message that is not of its length")
	errChanged = errors.New("a message with other bytes than were sent")
)

// book is what messages are made of. It never changes.
type book struct{ text, binary []byte }

const (
	bookSize   = 1 << 20
	largest    = 200 << 10 // bytes of a message
	unit       = 4         // bytes of text that must not be cut
	runOfBytes = 256       // of the binary half, of the same kind
)

func newBook(seed uint64) *book {
	r := rand.New(rand.NewPCG(seed, 0))
	b := &book{make([]byte, 0, bookSize), make([]byte, 0, bookSize)}
	words := []string{"stil", "pool", "tick", "wave", "ÖÄ", "𝛑", "…e", "éß", "0000", "\t\n"} // none is longer than a unit
	for len(b.text) < bookSize {
		w := words[r.IntN(len(words))]
		b.text = append(b.text, (w + "    ")[:unit]...)
	}
	for len(b.binary) < bookSize { // half of it can't be compressed
		noise := r.IntN(2) == 0
		last := byte(r.Uint32())
		for range runOfBytes {
			if noise {
				last = byte(r.Uint32())
			}
			b.binary = append(b.binary, last)
		}
	}
	return b
}

// body appends what a message has behind its label.
func (b *book) body(to []byte, l label, text bool, size int) []byte {
	from := b.binary
	if text {
		from = b.text
	}
	at := int(mix(uint64(l.maker)<<32|uint64(l.of), uint64(l.seq))%uint64((bookSize-largest)/unit)) * unit
	if !text {
		return append(to, from[at:at+size]...)
	}
	whole := size / unit * unit
	to = append(to, from[at:at+whole]...)
	return append(to, "...."[:size-whole]...)
}

// message is the one that belongs to a label. One that is too short for a label has the bytes of its number
// only.
func (b *book) message(l label, text bool) []byte {
	size := int(l.size)
	if size < labelSize {
		return b.body(make([]byte, 0, size), l, text, size)
	}
	return b.body(l.append(make([]byte, 0, size)), l, text, size-labelSize)
}

// read takes the label off a message and holds the rest against it. tiny is who the message must be from if
// it is too short for a label of its own.
func (b *book) read(data []byte, text bool, tiny label) (label, error) {
	if len(data) < labelSize {
		tiny.size, tiny.wish = uint32(len(data)), wishNone
		if !bytes.Equal(data, b.message(tiny, text)) {
			return tiny, errChanged
		}
		return tiny, nil
	}
	l, err := parseLabel(data[:labelSize])
	switch {
	case err != nil:
		return l, err
	case int(l.size) != len(data):
		return l, fmt.Errorf("%w: %d bytes of %d", errTorn, len(data), l.size)
	case !bytes.Equal(data, b.message(l, text)):
		return l, errChanged
	case text && !utf8.Valid(data):
		return l, errChanged
	}
	return l, nil
}

func (l label) append(to []byte) []byte {
	start := len(to)
	to = append(to, l.maker, l.wish)
	to = fmt.Appendf(to, "%04x%08x%08x%08x", l.arg, l.of, l.seq, l.size)
	return fmt.Appendf(to, "%08x", crc32.ChecksumIEEE(to[start:]))
}

func parseLabel(p []byte) (l label, err error) {
	fields := [...]struct{ from, to int }{{2, 6}, {6, 14}, {14, 22}, {22, 30}, {30, 38}}
	var v [len(fields)]uint64
	for i, f := range fields {
		var bad error
		if v[i], bad = strconv.ParseUint(string(p[f.from:f.to]), 16, 32); bad != nil {
			return l, errLabel
		}
	}
	l = label{maker: p[0], wish: p[1], arg: uint16(v[0]), of: uint32(v[1]), seq: uint32(v[2]), size: uint32(v[3])}
	if uint32(v[4]) != crc32.ChecksumIEEE(p[:30]) || l.size > largest {
		return l, errLabel
	}
	return l, nil
}

// chain sums up the messages of a connection in their order: two that are equal have heard the same.
type chain uint64

func (c chain) with(l label) chain {
	who := uint64(l.maker)<<32 | uint64(l.of)
	return chain(mix(mix(uint64(c), who), uint64(l.seq)<<32|uint64(l.size)))
}

// mix is the finalizer of SplitMix64 over both.
func mix(a, b uint64) uint64 {
	z := a*0x9e3779b97f4a7c15 + b + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
