package server

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/flate"
)

// This file is pure: it deflates messages (RFC 7692 section 7.2.1) and keeps windows. Any goroutine may
// run it.

// flushTail is what a flush ends with and the receiver adds: it is left out.
const flushTail = "\x00\x00\xff\xff"

// deflaters are writers, by the size of the window; by level too where the window is the largest,
// because the library knows levels only there. One is about a megabyte, held while a message is
// compressed.
var (
	deflaters [maxWindowBits + 1]sync.Pool
	byLevel   [10]sync.Pool
)

// squeeze deflates text into dst, with the window of the server's messages before it. It tells
// whether what came of it fits, with flushTail behind it; otherwise what dst holds is of no use. Between
// two steps of a long text it calls pause, if that is not nil.
func squeeze(dst, text, window []byte, bits uint8, level int, pause func()) (deflated []byte, fits bool) {
	out := bounded{dst[:0]}
	var err error
	if len(text) < tinyDeflate {
		err = squeezeTiny(&out, text, window, bits)
	} else {
		err = squeezeBy(&out, text, window, bits, level, pause)
	}
	if err != nil {
		return nil, false
	}
	return out.buf[:len(out.buf)-len(flushTail)], true
}

// tinyDeflate is the length below which the library's writers look for nothing to refer to.
const tinyDeflate = 128

// squeezeTiny deflates by the library's stateless way, which knows no bound of the window. So it is
// shown no more than fits into one with the text.
func squeezeTiny(out *bounded, text, window []byte, bits uint8) error {
	most := 1<<bits - len(text)
	return flate.StatelessDeflate(out, text, false, window[max(0, len(window)-most):])
}

func squeezeBy(out *bounded, text, window []byte, bits uint8, level int, pause func()) error {
	pool := &deflaters[bits]
	if bits == maxWindowBits {
		pool = &byLevel[level]
	}
	w, _ := pool.Get().(*flate.Writer)
	if w == nil {
		w = newDeflater(bits, level)
	}
	defer pool.Put(w)
	w.ResetDict(out, window)
	defer w.ResetDict(nil, nil)
	for len(text) > deflateStep {
		if _, err := w.Write(text[:deflateStep]); err != nil {
			return err
		}
		if text = text[deflateStep:]; pause != nil {
			pause()
		}
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Flush()
}

// deflateStep is how much is deflated at once.
const deflateStep = 64 << 10

func newDeflater(bits uint8, level int) (w *flate.Writer) {
	var err error
	if bits == maxWindowBits {
		w, err = flate.NewWriter(nil, level)
	} else {
		w, err = flate.NewWriterWindow(nil, 1<<bits)
	}
	if err != nil {
		panic(err) // bits and level were checked
	}
	return w
}

// bounded is a writer into a buffer that does not grow.
type bounded struct{ buf []byte }

var errFull = errors.New("longer than it may be")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.buf)+len(p) > cap(b.buf) {
		return 0, errFull
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// slide moves a window of size bytes on by what was said. The window grows up to its size, and is
// overwritten in place.
func slide(window, said []byte, size int) []byte {
	if n := len(window) + len(said) - size; n > 0 && len(said) < size {
		window = window[:copy(window, window[n:])]
	}
	if len(said) >= size {
		window, said = window[:0], said[len(said)-size:]
	}
	if need := len(window) + len(said); need > cap(window) {
		grown := make([]byte, len(window), min(size, max(need, 2*cap(window))))
		copy(grown, window)
		window = grown
	}
	return append(window, said...)
}

// lastOf is the end of two pieces together: size bytes, or all there are.
func lastOf(before, then []byte, size int) []byte {
	if len(then) >= size || len(before) == 0 {
		return then[max(0, len(then)-size):]
	}
	return slide(append([]byte(nil), before...), then, size)
}
