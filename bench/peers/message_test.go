package main

import (
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"
)

type message struct {
	op   ws.OpCode
	data []byte
}

// sizes are those around which the length of a frame is written in another way, that of a read of
// some servers, a large one and none.
var sizes = []int{0, 1, 125, 126, 4096, 65535, 65536, 1 << 20}

// sizesOf leaves out the empty message for nbio, which does not tell its users of any.
func sizesOf(peer string) []int {
	if peer == "nbio" {
		return sizes[1:]
	}
	return sizes
}

// messages are both kinds in each size, in any order.
func messages(r *rand.Rand, sizes []int) (all []message) {
	for _, size := range sizes {
		all = append(all, message{ws.OpText, text(r, size)}, message{ws.OpBinary, noise(r, size)})
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func noise(r *rand.Rand, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// text has characters of one to four bytes.
func text(r *rand.Rand, size int) []byte {
	p := make([]byte, 0, size)
	for len(p) < size {
		c := []string{"a", "ß", "€", "𝄞"}[r.IntN(4)]
		if len(c) <= size-len(p) {
			p = append(p, c...)
		}
	}
	return p
}

// stream is messages as bytes, each in up to four fragments, with pings before and between them, and
// where the frames begin.
type stream struct {
	bytes  []byte
	frames []int
	pings  [][]byte
}

func newStream(r *rand.Rand, all []message) *stream {
	s := &stream{}
	for _, m := range all {
		op, rest := m.op, m.data
		for left := r.IntN(4); ; left-- {
			if r.IntN(3) == 0 {
				s.ping(r)
			}
			if left == 0 {
				break
			}
			n := r.IntN(len(rest) + 1)
			s.add(op, false, rest[:n])
			op, rest = ws.OpContinuation, rest[n:]
		}
		s.add(op, true, rest)
	}
	return s
}

func (s *stream) ping(r *rand.Rand) {
	p := noise(r, r.IntN(126))
	s.pings = append(s.pings, p)
	s.add(ws.OpPing, true, p)
}

func (s *stream) add(op ws.OpCode, fin bool, payload []byte) {
	s.frames = append(s.frames, len(s.bytes))
	s.bytes = append(s.bytes, clientFrame(op, fin, payload)...)
}

// cuts are where the stream is to be split: within most headers, and anywhere else.
func (s *stream) cuts(r *rand.Rand) (cuts []int) {
	for i, at := range s.frames {
		end := len(s.bytes)
		if i+1 < len(s.frames) {
			end = s.frames[i+1]
		}
		at += r.IntN(15) // a header has up to 14 bytes
		for at < end {
			cuts = append(cuts, at)
			at += 1 + r.IntN([]int{16, 200_000}[r.IntN(2)])*(1+r.IntN(2))
		}
	}
	return append(cuts, len(s.bytes))
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %#x", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
