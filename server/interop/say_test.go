package interop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// This file makes what is said.

// words is text of so many bytes that compresses well.
func words(size int) message {
	const phrase = "Still water runs deep: größer, 深い, 🌊. "
	data := []byte(strings.Repeat(phrase, size/len(phrase)+1))[:size]
	for i := size - 1; !utf8.Valid(data); i-- {
		data[i] = '.' // in place of the character that was cut
	}
	return message{Text: true, Data: data}
}

// digits is text of so many bytes that compresses to a third, by its alphabet and because the second
// half is the first again. It is the same for the same size and seed.
func digits(size int, seed byte) message {
	data := random(size, seed)
	for i, b := range data {
		data[i] = "0123456789abcdef"[b&15]
	}
	copy(data[size/2:], data)
	return message{Text: true, Data: data}
}

// noise is so many bytes that can't be compressed.
func noise(size int) message { return message{Data: random(size, 0)} }

func random(size int, seed byte) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// each is a text that compresses and bytes that don't, of each size.
func each(sizes ...int) (all []message) {
	for _, size := range sizes {
		all = append(all, words(size), noise(size))
	}
	return all
}

// thousand is a thousand messages, each of which tells its number.
func thousand() (all []message) {
	for i := range 1000 {
		m := words(i)
		m.Data = fmt.Appendf(nil, "%d %s", i, m.Data)
		m.Text = i%3 > 0
		all = append(all, m)
	}
	return all
}

func split(all []message) []message {
	for i := range all {
		all[i].Frames = 2 + i%3
	}
	return all
}

// pinged adds pings, the longest there may be (RFC 6455 section 5.5) among them.
func pinged(all []message) []message {
	for i := range all {
		all[i].Ping = strings.Repeat("p", []int{1, 125}[i%2])
	}
	return all
}

// around is messages that repeat what lies within a window of so many bits, up to its very edge, and
// what lies beyond it.
func around(bits int) []message {
	window := 1 << bits
	one, other, more := digits(window*2/5, 1), digits(window*2/5, 2), digits(window*2, 3)
	return []message{one, other, one, other, more, more}
}
