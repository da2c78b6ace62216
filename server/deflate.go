package server

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/flate"
)

// This file deflates messages (RFC 7692 section 7.2.1) and moves windows. It is pure, and safe for
// concurrent use.

// flushTail ends every flush. The sender omits it and the receiver adds it.
const flushTail = "\x00\x00\xff\xff"

// deflaters holds writers by window size, and byLevel those of the largest window: the library has
// levels only there. A writer takes about a megabyte, while it compresses a message.
var (
	deflaters [maxWindowBits + 1]sync.Pool
	byLevel   [10]sync.Pool
)

// squeeze deflates text into dst, with the window before it, and reports whether the result and
// flushTail fit. If not, the content of dst is undefined. Between two steps of a long text it calls
// pause, unless that is nil.
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

// tinyDeflate is the length in bytes below which the library's writers find no matches.
const tinyDeflate = 128

// squeezeTiny deflates by the library's stateless function. That has no bound of the window, so the
// window is cut to what fits beside the text.
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

// deflateStep is the number of bytes deflated between two calls of pause.
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

// slide appends a message to a window of at most size bytes and drops its oldest bytes. It overwrites
// the window in place.
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

// lastOf returns the last size bytes of two pieces together, or all of them.
func lastOf(before, then []byte, size int) []byte {
	if len(then) >= size || len(before) == 0 {
		return then[max(0, len(then)-size):]
	}
	return slide(append([]byte(nil), before...), then, size)
}
