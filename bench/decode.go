package bench

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"
)

// What a server can do wrong in a frame. RFC 6455 leaves the client one answer to all of them: to
// fail the connection.
var (
	errMasked        = errors.New("frame: a server must not mask")
	errReserved      = errors.New("frame: reserved bit set")
	errOpcode        = errors.New("frame: unknown opcode")
	errControlLength = errors.New("frame: control frame of more than 125 bytes")
	errControlSplit  = errors.New("frame: fragmented control frame")
	errContinuation  = errors.New("frame: continuation of no message")
	errInterleaved   = errors.New("frame: new message inside a fragmented one")
	errLength        = errors.New("frame: length not in its shortest form")
	errLengthSign    = errors.New("frame: length with its top bit set")
)

// piece is a part of a message, or a whole control frame.
type piece struct {
	op   ws.OpCode // of the message; never a continuation
	data []byte    // valid until emit returns
	last bool      // the message ends here
}

// decoder takes a server's frames off a stream that may be split anywhere. It holds no payload of
// messages, and of control frames only one that a split has cut in two.
type decoder struct {
	head [10]byte // a server's header is at most 2 bytes and a length of 8
	have uint8    // bytes in head
	rsv  byte     // reserved bits that an extension has given a meaning

	body    bool      // the header is complete, its payload is being read
	fin     bool      // of this frame
	op      ws.OpCode // of this frame
	message ws.OpCode // of the message being read, 0 between messages
	left    int64     // payload bytes of this frame that are still to come
	control []byte
}

// feed calls emit for what p completes, in its order, and stops at the first error.
func (d *decoder) feed(p []byte, emit func(piece) error) error {
	for len(p) > 0 || d.body && d.left == 0 {
		if !d.body {
			n, err := d.header(p)
			if err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		n := int(min(int64(len(p)), d.left))
		d.left -= int64(n)
		if err := d.payload(p[:n], emit); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// header takes from p what the header still lacks, and returns how much that was.
func (d *decoder) header(p []byte) (n int, err error) {
	for n < len(p) {
		need := 2
		if d.have >= 2 {
			need = 2 + extraLength(d.head[1])
		}
		took := copy(d.head[d.have:need], p[n:])
		d.have += uint8(took)
		n += took
		if int(d.have) >= 2 && int(d.have) == 2+extraLength(d.head[1]) {
			return n, d.begin()
		}
	}
	return n, nil
}

// extraLength is how many bytes of length follow the second byte of a header.
func extraLength(b byte) int {
	switch b & 0x7f {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// begin checks a complete header and makes it the frame being read.
func (d *decoder) begin() error {
	d.fin = d.head[0]&0x80 != 0
	d.op = ws.OpCode(d.head[0] & 0x0f)
	d.have = 0
	if d.head[0]&0x70&^d.rsv != 0 {
		// Section 5.2: "MUST be 0 unless an extension is negotiated".
		return errReserved
	}
	if d.head[1]&0x80 != 0 {
		// Section 5.1: "A server MUST NOT mask any frames that it sends to the client."
		return errMasked
	}
	var err error
	if d.left, err = frameLength(d.head[1:]); err != nil {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	d.body = true
	return nil
}

// frameLength reads the length, which begins with the second byte of the header.
func frameLength(b []byte) (int64, error) {
	switch n := int64(b[0] & 0x7f); n {
	case 126:
		n = int64(binary.BigEndian.Uint16(b[1:]))
		if n < 126 {
			// Section 5.2: "in all cases, the minimal number of bytes MUST be used".
			return 0, errLength
		}
		return n, nil
	case 127:
		n = int64(binary.BigEndian.Uint64(b[1:]))
		if n < 0 {
			// Section 5.2: "the most significant bit MUST be 0".
			return 0, errLengthSign
		}
		if n <= 0xffff {
			return 0, errLength
		}
		return n, nil
	default:
		return n, nil
	}
}

// admit checks that the frame may come at this point of the stream.
func (d *decoder) admit() error {
	switch {
	case d.op.IsReserved():
		return errOpcode
	case d.op.IsControl() && d.left > ws.MaxControlFramePayloadSize:
		return errControlLength
	case d.op.IsControl() && !d.fin:
		// Section 5.5: control frames "MUST NOT be fragmented".
		return errControlSplit
	case d.op.IsControl():
		return nil
	case d.op == ws.OpContinuation && d.message == 0:
		return errContinuation
	case d.op != ws.OpContinuation && d.message != 0:
		return errInterleaved
	case d.op != ws.OpContinuation:
		d.message = d.op
	}
	return nil
}

// payload passes on a chunk of the frame being read, of which d.left bytes are still to come.
func (d *decoder) payload(chunk []byte, emit func(piece) error) error {
	if d.op.IsControl() {
		return d.controlPayload(chunk, emit)
	}
	p := piece{op: d.message, data: chunk, last: d.left == 0 && d.fin}
	if d.left == 0 {
		d.body = false
	}
	if p.last {
		d.message = 0
	}
	return emit(p)
}

func (d *decoder) controlPayload(chunk []byte, emit func(piece) error) error {
	if d.left > 0 || d.control != nil {
		d.control = append(d.control, chunk...)
		chunk = d.control
	}
	if d.left > 0 {
		return nil
	}
	d.body, d.control = false, nil
	return emit(piece{op: d.op, data: chunk, last: true})
}
