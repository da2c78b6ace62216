package server

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// This file inflates a compressed message (RFC 7692 section 7.2.2) within its limits. It is pure, and
// safe for concurrent use.

// inflateTail follows a compressed message: the four bytes that the peer omitted, and an empty last
// block, so that the inflater sees a complete stream.
const inflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater is a flate reader and its source. It takes 35 KB, so it is pooled, and no handler runs while
// one is in use.
type inflater struct {
	flate io.ReadCloser
	src   *bytes.Reader
}

var inflaters = sync.Pool{New: func() any {
	src := bytes.NewReader(nil)
	return &inflater{flate: flate.NewReader(src), src: src}
}}

// inflation is the state of one message.
type inflation struct {
	src    []byte // compressed, with the tail behind it
	window []byte // what it may refer back to, of the client's messages before it
	dst    []byte // the output; its capacity is more than the message may have
	// charge is called before dst grows to n bytes, unless it is nil.
	charge func(n int) error
	// pause is called between two steps, unless it is nil.
	pause func()
}

const (
	// inflateStep is the number of bytes inflated between two calls of pause.
	inflateStep = 64 << 10
	// freeStreams is how many blocks of a message may say that they are the last, and streamCost how
	// many bytes must be inflated for one more: each costs a window's copying, and takes two bytes.
	freeStreams = 16
	streamCost  = 1 << 10
)

// run inflates until the message is whole, which it tells, or dst is full.
func (m *inflation) run() (whole bool, err error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.src.Reset(m.src)
	defer f.src.Reset(nil)
	f.reset(m.window)
	for streams := 1; len(m.dst) < cap(m.dst); {
		if m.pause != nil && len(m.dst) > 0 {
			m.pause()
		}
		switch err := m.step(f); {
		case err == io.EOF && (f.src.Len() == 0 || f.src.Len() == len(inflateTail)):
			// The end, or a last block that fills the message: section 7.2.3.4 puts a 00 behind it, which several clients
			// leave out.
			return len(m.dst) < cap(m.dst), nil
		case err == io.EOF && streams < freeStreams+len(m.dst)/streamCost:
			// Section 7.2.3.4: a block may have its BFINAL bit set, and others follow.
			streams++
			f.reset(lastOf(m.window, m.dst, 1<<maxWindowBits))
		case err == io.EOF:
			return false, errDeflate
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

func (f *inflater) reset(window []byte) {
	f.flate.(flate.Resetter).Reset(f.src, window) // its error is always nil
}

func (m *inflation) step(f *inflater) error {
	n := len(m.dst)
	room := m.dst[n:min(n+inflateStep, cap(m.dst))]
	if m.charge != nil {
		if err := m.charge(n + len(room)); err != nil {
			return err
		}
	}
	n, err := f.flate.Read(room)
	m.dst = m.dst[:len(m.dst)+n]
	if err != nil && err != io.EOF {
		return errDeflate
	}
	return err
}
