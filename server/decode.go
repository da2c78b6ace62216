package server

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// This file is pure: it turns a client's byte stream, split wherever it may be, into messages and
// control frames. Whoever holds the connection's turn runs it.

// unit is one thing that the stream said: a whole message or a control frame. The zero unit says
// that more bytes are needed.
type unit struct {
	op   ws.OpCode // OpText, OpBinary, OpPing, OpPong or OpClose
	data []byte    // valid until the next call of the decoder
	ok   bool
	kept bool // data is the decoder's message buffer, to be had by handOut
}

// decoder is what is kept of a stream between two reads. It holds memory only while something is
// half received; an idle one is the zero value but for its limit and budget.
type decoder struct {
	limit  int64   // of a message, in bytes
	budget *budget // of all half-received messages of the process

	part  [maxHeader]byte // a header that is not whole yet
	nPart int

	head frameHeader // the frame under way, if inFrame
	pos  int64       // how much of its payload came
	// inFrame: between a header and the end of its payload. inMessage: between the first fragment
	// of a message and the last.
	inFrame, inMessage bool
	text               bool // the message is text
	checked            int  // bytes of msg known to be whole, valid characters

	msg     []byte // of the message under way, unmasked
	taken   int64  // of budget, for cap(msg)
	control []byte // of the control frame under way, unmasked; at most maxControl
}

// idle tells whether nothing is half received.
func (d *decoder) idle() bool { return d.nPart == 0 && !d.inFrame && !d.inMessage }

// next decodes from p, which it may overwrite, and returns the bytes behind what it used. It goes
// on until it has a unit, or p is empty, or the stream is wrong.
func (d *decoder) next(p []byte) (u unit, rest []byte, err error) {
	for len(p) > 0 {
		if !d.inFrame {
			if p, err = d.header(p); err != nil || !d.inFrame {
				return unit{}, nil, err
			}
		}
		// An empty payload is complete with its header, so this comes even when p is empty by now.
		if u, p, err = d.payload(p); u.ok || err != nil {
			return u, p, err
		}
	}
	return unit{}, nil, nil
}

// header reads a frame header; the bytes of one that is not whole are kept aside.
func (d *decoder) header(p []byte) (rest []byte, err error) {
	buf, kept := p, d.nPart
	if kept > 0 {
		n := copy(d.part[kept:], p)
		buf = d.part[:kept+n]
	}
	h, n, err := parseHeader(buf)
	// The place of the opcode is judged before what is behind it, or the error would depend on how
	// much came at once.
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

// admit holds a header against what came before it. The opcode is judged as soon as it is known
// (section 5.4), the length once it is.
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
	if whole && h.length > d.limit-int64(len(d.msg)) {
		return errTooBig
	}
	return nil
}

// payload takes what is there of the payload of the frame under way.
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
		d.text = d.head.op == ws.OpText
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

// whole is the common case: a message that came in one piece is handed on where it lies.
func (d *decoder) whole(chunk []byte) (unit, error) {
	if d.text && !utf8.Valid(chunk) {
		return unit{}, errInvalidUTF8
	}
	return d.finish(chunk), nil
}

func (d *decoder) finish(data []byte) unit {
	op := ws.OpBinary
	if d.text {
		op = ws.OpText
	}
	d.inFrame, d.inMessage = false, false
	d.msg, d.checked = d.msg[:0], 0
	return unit{op: op, data: data, ok: true}
}

// keep appends a piece to the message under way. The buffer grows as bytes arrive, by doubling but
// never past what the message can still become: an announcement alone takes no memory.
func (d *decoder) keep(chunk []byte) error {
	need := len(d.msg) + len(chunk)
	if need > cap(d.msg) {
		most := int(d.limit)
		if d.head.fin {
			most = need + int(d.head.length-d.pos)
		}
		want := max(need, min(2*cap(d.msg), most))
		if !d.budget.take(int64(want - cap(d.msg))) {
			return errNoBudget
		}
		d.taken += int64(want - cap(d.msg))
		grown := make([]byte, len(d.msg), want)
		copy(grown, d.msg)
		d.msg = grown
	}
	d.msg = append(d.msg, chunk...)
	return nil
}

// checkText fails at the first byte that no valid text can have (section 8.1), be the message
// whole or not.
func (d *decoder) checkText(last bool) error {
	if !d.text {
		return nil
	}
	n, ok := validSoFar(d.msg[d.checked:])
	d.checked += n
	if !ok || last && d.checked != len(d.msg) {
		return errInvalidUTF8
	}
	return nil
}

// handOut parts with the buffer of the last message, which is the caller's from now on, and with
// what it took of the budget.
func (d *decoder) handOut() (taken int64) {
	taken = d.taken
	d.msg, d.taken = nil, 0
	return taken
}

// release gives back all memory.
func (d *decoder) release() {
	d.budget.give(d.taken)
	*d = decoder{limit: d.limit, budget: d.budget}
}
