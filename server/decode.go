package server

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// This file decodes a client's byte stream, split anywhere, into messages and control frames. It is
// pure. Owner only.

// unit is one result of the decoder: a whole message or a control frame. The zero unit means that the
// decoder needs more bytes.
type unit struct {
	op   ws.OpCode // OpText, OpBinary, OpPing, OpPong or OpClose
	data []byte    // valid until the next call of the decoder
	ok   bool
	kept bool // data is the decoder's message buffer; handOut passes it to the caller
	// deflated: data is compressed. If it is kept, its capacity has room for inflateTail.
	deflated bool
}

// decoder keeps the state of a stream between two reads. It holds memory only while a frame or a
// message is half received. An idle decoder is the zero value except for the first three fields.
type decoder struct {
	limit   int64   // of a message, in bytes
	budget  *budget // of all half-received messages of the process
	deflate bool    // messages may be compressed

	part  [maxHeader]byte // an incomplete header
	nPart int

	head frameHeader // of the current frame, if inFrame
	pos  int64       // bytes of its payload received
	// inFrame: between a header and the end of its payload. inMessage: between the first fragment
	// of a message and the last.
	inFrame, inMessage bool
	text, deflated     bool // the message is text; is compressed
	checked            int  // bytes of msg known to be whole, valid characters

	msg     []byte  // payload of the current message, unmasked
	region  *region // memory of msg, if it is long
	taken   int64   // bytes of budget, for msg
	control []byte  // payload of the current control frame, unmasked; at most maxControl
}

// idle reports whether no frame and no message is half received.
func (d *decoder) idle() bool { return d.nPart == 0 && !d.inFrame && !d.inMessage }

// next decodes a frame, or a part of one, from p and returns the rest of p. It returns a unit if that
// completed one. It may overwrite p.
func (d *decoder) next(p []byte) (u unit, rest []byte, err error) {
	if !d.inFrame {
		if p, err = d.header(p); err != nil || !d.inFrame {
			return unit{}, nil, err
		}
	}
	// An empty payload is complete with its header, so this runs also when p is empty by now.
	return d.payload(p)
}

// header reads a frame header. It keeps the bytes of an incomplete one.
func (d *decoder) header(p []byte) (rest []byte, err error) {
	buf, kept := p, d.nPart
	if kept > 0 {
		n := copy(d.part[kept:], p)
		buf = d.part[:kept+n]
	}
	h, n, err := parseHeader(buf, d.deflate)
	// The opcode's place is checked before later bytes: otherwise the error would depend on how the
	// stream is split.
	if misplaced := d.admit(&h, n > 0, len(buf) > 0); misplaced != nil {
		err = misplaced
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		d.nPart = kept + copy(d.part[kept:], p)
		return nil, nil
	}
	d.nPart = 0
	d.head, d.pos, d.inFrame = h, 0, true
	return p[n-kept:], nil
}

// admit checks a header against the frames before it: the opcode as soon as it is known (section 5.4),
// the length when the header is whole.
func (d *decoder) admit(h *frameHeader, whole, opcode bool) error {
	if !opcode || h.op.IsControl() || h.op.IsReserved() {
		return nil
	}
	switch {
	case h.op == ws.OpContinuation && !d.inMessage:
		return errUnexpectedCont
	case h.op != ws.OpContinuation && d.inMessage:
		return errUnfinished
	}
	if whole && h.length > mostOnWire(d.limit, h.deflated || d.deflated)-int64(len(d.msg)) {
		return errTooBig
	}
	return nil
}

// mostOnWire returns the largest size on the wire of a message of limit bytes. Compression may make a
// message longer by an eighth (RFC 1951 section 3.2.6: nine bits for a byte).
func mostOnWire(limit int64, deflated bool) int64 {
	if deflated {
		return limit + limit/8 + 64
	}
	return limit
}

// payload consumes the payload of the current frame, as far as p has it.
func (d *decoder) payload(p []byte) (u unit, rest []byte, err error) {
	n := min(int64(len(p)), d.head.length-d.pos)
	chunk, rest := p[:n], p[n:]
	ws.Cipher(chunk, d.head.mask, int(d.pos&3))
	d.pos += n
	done := d.pos == d.head.length
	if d.head.op.IsControl() {
		u, err = d.controlPayload(chunk, done)
	} else {
		u, err = d.dataPayload(chunk, done)
	}
	return u, rest, err
}

func (d *decoder) controlPayload(chunk []byte, done bool) (unit, error) {
	if !done || len(d.control) > 0 {
		d.control = append(d.control, chunk...)
		chunk = d.control
	}
	if !done {
		return unit{}, nil
	}
	d.inFrame = false
	d.control = d.control[:0]
	return unit{op: d.head.op, data: chunk, ok: true}, nil
}

func (d *decoder) dataPayload(chunk []byte, done bool) (unit, error) {
	if d.head.op != ws.OpContinuation && !d.inMessage {
		d.text, d.deflated = d.head.op == ws.OpText, d.head.deflated
		d.inMessage = true
	}
	last := done && d.head.fin
	if len(d.msg) == 0 && last {
		return d.whole(chunk)
	}
	if err := d.keep(chunk); err != nil {
		return unit{}, err
	}
	if err := d.checkText(last); err != nil {
		return unit{}, err
	}
	if done {
		d.inFrame = false
	}
	if !last {
		return unit{}, nil
	}
	u := d.finish(d.msg)
	u.kept = true
	return u, nil
}

// whole handles the common case: a message in one piece is passed on without a copy.
func (d *decoder) whole(chunk []byte) (unit, error) {
	if d.text && !d.deflated && !utf8.Valid(chunk) {
		return unit{}, errInvalidUTF8
	}
	return d.finish(chunk), nil
}

func (d *decoder) finish(data []byte) unit {
	op := ws.OpBinary
	if d.text {
		op = ws.OpText
	}
	u := unit{op: op, data: data, ok: true, deflated: d.deflated}
	d.inFrame, d.inMessage, d.deflated = false, false, false
	d.msg, d.checked = d.msg[:0], 0
	return u
}

// keep appends a piece to the current message.
func (d *decoder) keep(chunk []byte) error {
	need := len(d.msg) + len(chunk)
	if need+d.tail() > cap(d.msg) {
		if err := d.grow(need); err != nil {
			return err
		}
	}
	if d.region != nil {
		if err := d.charge(need); err != nil {
			return err
		}
	}
	d.msg = append(d.msg, chunk...)
	return nil
}

// grow makes room for a message of need bytes or more. The room grows as bytes arrive: an announced
// length takes no memory. On the heap it doubles, up to the largest possible size of the message; a
// region reserves that size and takes no page of it.
func (d *decoder) grow(need int) error {
	most := int(mostOnWire(d.limit, d.deflated))
	if d.head.fin {
		most = need + int(d.head.length-d.pos)
	}
	if need >= regionFrom {
		if r := reserve(most + d.tail()); r != nil {
			d.move(r.mem[:0])
			d.region = r
			return nil
		}
	}
	want := max(need, min(2*cap(d.msg), most)) + d.tail()
	if err := d.charge(want); err != nil {
		return err
	}
	d.move(make([]byte, 0, want))
	return nil
}

// tail returns the spare capacity that a message needs behind it.
func (d *decoder) tail() int {
	if d.deflated {
		return len(inflateTail)
	}
	return 0
}

// move copies the message into a larger buffer.
func (d *decoder) move(room []byte) {
	d.msg = append(room, d.msg...)
	d.region.release()
	d.region = nil
}

// chargeStep is the unit, in bytes, in which a region takes from the budget.
const chargeStep = 64 << 10

// charge takes from the budget the bytes that a message of n bytes still needs.
func (d *decoder) charge(n int) error {
	if int64(n) <= d.taken {
		return nil
	}
	if d.region != nil {
		n = (n + chargeStep - 1) / chargeStep * chargeStep
	}
	if !d.budget.takeFair(int64(n)-d.taken, d.taken) {
		return errNoBudget
	}
	d.taken = int64(n)
	return nil
}

// checkText returns an error at the first byte that makes the text invalid (section 8.1), also in an
// incomplete message.
func (d *decoder) checkText(last bool) error {
	if !d.text || d.deflated {
		return nil
	}
	n, ok := validSoFar(d.msg[d.checked:])
	d.checked += n
	if !ok || last && d.checked != len(d.msg) {
		return errInvalidUTF8
	}
	return nil
}

// handOut passes the buffer of the last message to the caller, with its share of the budget.
func (d *decoder) handOut() (r *region, taken int64) {
	r, taken = d.region, d.taken
	d.msg, d.region, d.taken = nil, nil, 0
	return r, taken
}

// delivered releases the memory of a large message after its handler.
func (d *decoder) delivered() {
	if d.region != nil {
		d.drop()
	}
}

func (d *decoder) drop() {
	d.region.release()
	d.budget.give(d.taken)
	d.msg, d.region, d.taken = nil, nil, 0
}

// release releases all memory.
func (d *decoder) release() {
	d.drop()
	*d = decoder{limit: d.limit, budget: d.budget, deflate: d.deflate}
}
