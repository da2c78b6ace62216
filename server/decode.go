package server

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// This file is pure: it turns a client's byte stream, split wherever it may be, into messages and
// control frames. Whoever holds the connection's turn runs it.

// unit is one thing that the stream said: a whole message or a control frame. The zero unit says
// that there is more to come.
type unit struct {
	op   ws.OpCode // OpText, OpBinary, OpPing, OpPong or OpClose
	data []byte    // valid until the next call of the decoder
	ok   bool
	kept bool // data is the decoder's message buffer, to be had by handOut
	// deflated: data is to be inflated first. It has room for inflateTail behind it if it is kept.
	deflated bool
}

// decoder is what is kept of a stream between two reads. It holds memory only while something is
// half received; an idle one is the zero value but for its limit, its budget and what was agreed on.
type decoder struct {
	limit   int64   // of a message, in bytes
	budget  *budget // of all half-received messages of the process
	deflate bool    // messages may be compressed

	part  [maxHeader]byte // a header that is not whole yet
	nPart int

	head frameHeader // the frame under way, if inFrame
	pos  int64       // how much of its payload came
	// inFrame: between a header and the end of its payload. inMessage: between the first fragment
	// of a message and the last.
	inFrame, inMessage bool
	text, deflated     bool // the message is text; is compressed
	checked            int  // bytes of msg known to be whole, valid characters

	msg     []byte  // of the message under way, unmasked
	region  *region // that msg lies in, if it is long
	taken   int64   // of budget, for msg
	control []byte  // of the control frame under way, unmasked; at most maxControl
}

// idle tells whether nothing is half received.
func (d *decoder) idle() bool { return d.nPart == 0 && !d.inFrame && !d.inMessage }

// next decodes a frame from p, which it may overwrite, or what there is of one, and returns the bytes
// behind what it used. If that made something whole, it is the unit.
func (d *decoder) next(p []byte) (u unit, rest []byte, err error) {
	if !d.inFrame {
		if p, err = d.header(p); err != nil || !d.inFrame {
			return unit{}, nil, err
		}
	}
	// An empty payload is complete with its header, so this comes even when p is empty by now.
	return d.payload(p)
}

// header reads a frame header; the bytes of one that is not whole are kept aside.
func (d *decoder) header(p []byte) (rest []byte, err error) {
	buf, kept := p, d.nPart
	if kept > 0 {
		n := copy(d.part[kept:], p)
		buf = d.part[:kept+n]
	}
	h, n, err := parseHeader(buf, d.deflate)
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
	if whole && h.length > mostOnWire(d.limit, h.deflated || d.deflated)-int64(len(d.msg)) {
		return errTooBig
	}
	return nil
}

// mostOnWire is what a message of limit bytes may have on the wire. Compressing may make one longer, by an eighth in the
// worst of lawful encodings (RFC 1951 section 3.2.6: nine bits for a byte).
func mostOnWire(limit int64, deflated bool) int64 {
	if deflated {
		return limit + limit/8 + 64
	}
	return limit
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

// whole is the common case: a message that came in one piece is handed on where it lies.
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

// keep appends a piece to the message under way.
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

// grow makes room for a message of need bytes or more. The room grows as bytes arrive: an
// announcement alone takes no memory. On the heap that is by doubling, but never past what the message
// can still become; in a region all of it is reserved and nothing taken.
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

// tail is the room that a message has behind it.
func (d *decoder) tail() int {
	if d.deflated {
		return len(inflateTail)
	}
	return 0
}

// move takes the message to where there is more room.
func (d *decoder) move(room []byte) {
	d.msg = append(room, d.msg...)
	d.region.release()
	d.region = nil
}

// chargeStep is how much of the budget is taken at once for a region, whose pages are taken one by one.
const chargeStep = 64 << 10

// charge takes from the budget what a message of n bytes wants and does not have.
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

// checkText fails at the first byte that no valid text can have (section 8.1), be the message
// whole or not.
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

// handOut parts with the buffer of the last message, which is the caller's from now on, and with
// what it took of the budget.
func (d *decoder) handOut() (r *region, taken int64) {
	r, taken = d.region, d.taken
	d.msg, d.region, d.taken = nil, nil, 0
	return r, taken
}

// delivered gives back the memory of a large message that was kept and handled.
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

// release gives back all memory.
func (d *decoder) release() {
	d.drop()
	*d = decoder{limit: d.limit, budget: d.budget, deflate: d.deflate}
}
