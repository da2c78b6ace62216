package soak

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// This file is pure: a client's side of permessage-deflate (RFC 7692).

// flushTail is what section 7.2.1 takes off a message and 7.2.2 puts back, with an empty last block so that
// the reader sees an end.
const (
	flushTail = "\x00\x00\xff\xff"
	lastBlock = "\x01\x00\x00\xff\xff"
)

// window is what a message may refer to.
const window = 32 << 10

var errInflate = errors.New("a compressed message that can't be inflated")

// squeezed is what a client and its server have agreed on, and what lives on from message to message.
type squeezed struct {
	agreed          bool
	keepOut, keepIn bool
	out, in         []byte // the ends of what was said, up to a window
}

// agreedTo reads the server's answer to an offer.
func agreedTo(answer string) squeezed {
	return squeezed{
		agreed:  strings.HasPrefix(answer, "permessage-deflate"),
		keepOut: !strings.Contains(answer, "client_no_context_takeover"),
		keepIn:  !strings.Contains(answer, "server_no_context_takeover"),
	}
}

// deflate compresses a message of the client's.
func (s *squeezed) deflate(p []byte) []byte {
	if len(p) == 0 {
		return []byte{0} // section 7.2.3.6: an empty block, its tail taken off
	}
	var b bytes.Buffer
	if err := flate.StatelessDeflate(&b, p, false, s.out); err != nil {
		panic(err) // a buffer takes everything
	}
	if s.keepOut {
		s.out = tailOf(s.out, p)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(flushTail))
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflate is the message of the server's that was compressed.
func (s *squeezed) inflate(p []byte) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	from := io.MultiReader(bytes.NewReader(p), strings.NewReader(flushTail+lastBlock))
	if err := r.(flate.Resetter).Reset(from, s.in); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, largest+1))
	if err != nil {
		return nil, errInflate
	}
	if s.keepIn {
		s.in = tailOf(s.in, data)
	}
	return data, nil
}

// tailOf is the end of both, up to a window.
func tailOf(before, p []byte) []byte {
	all := append(before, p...)
	if extra := len(all) - window; extra > 0 {
		all = append(all[:0], all[extra:]...)
	}
	return all
}
