package server

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// This file encodes and parses frames. It is pure, and safe for concurrent use.

const (
	bitFin    = 0x80
	bitRsv1   = 0x40
	bitsRsv   = 0x70
	bitsOp    = 0x0f
	bitMask   = 0x80
	maxHeader = 14 // RFC 6455 section 5.2: 2 bytes, 8 of extended length, 4 of masking key

	maxControl = 125 // RFC 6455 section 5.5: the payload of a control frame
)

// frameHeader is the head of a frame from a client.
type frameHeader struct {
	op       ws.OpCode
	fin      bool
	deflated bool // RFC 7692 section 6: RSV1, on the first frame of a message
	mask     [4]byte
	length   int64
}

// parseHeader parses a client's frame header at the start of p and returns its length; zero while p
// ends too early. It returns an error at the first wrong byte, however the stream is split. deflate
// reports whether permessage-deflate was negotiated.
func parseHeader(p []byte, deflate bool) (h frameHeader, n int, err error) {
	if len(p) == 0 {
		return h, 0, nil
	}
	if h, err = firstByte(p[0], deflate); err != nil || len(p) == 1 {
		return h, 0, err
	}
	if p[1]&bitMask == 0 {
		return h, 0, errUnmasked
	}
	length := int64(p[1] &^ bitMask)
	if h.op.IsControl() && length > maxControl {
		return h, 0, errControlTooLong
	}
	need := 6
	switch length {
	case 126:
		need = 8
	case 127:
		need = maxHeader
	}
	if len(p) < need {
		return h, 0, lengthSoFar(length, p[2:])
	}
	if h.length, err = payloadLength(length, p[2:]); err != nil {
		return h, 0, err
	}
	copy(h.mask[:], p[need-4:need])
	return h, need, nil
}

func firstByte(b byte, deflate bool) (h frameHeader, err error) {
	h.op, h.fin = ws.OpCode(b&bitsOp), b&bitFin != 0
	h.deflated = deflate && b&bitsRsv == bitRsv1 && (h.op == ws.OpText || h.op == ws.OpBinary)
	switch {
	case b&bitsRsv != 0 && !h.deflated:
		// Section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings".
		return h, errReservedBits
	case h.op.IsReserved():
		return h, errReservedOpcode
	case h.op.IsControl() && !h.fin:
		// Section 5.5: "All control frames … MUST NOT be fragmented."
		return h, errFragmentedControl
	}
	return h, nil
}

// payloadLength reads the extended length behind the first two bytes. Section 5.2: "the minimal
// number of bytes MUST be used to encode the length", and the most significant bit of 64 is 0.
func payloadLength(short int64, p []byte) (int64, error) {
	switch short {
	case 126:
		n := int64(binary.BigEndian.Uint16(p))
		if n < 126 {
			return 0, errLengthNotMinimal
		}
		return n, nil
	case 127:
		n := binary.BigEndian.Uint64(p)
		if n>>63 != 0 {
			return 0, errLengthNegative
		}
		if n <= 0xffff {
			return 0, errLengthNotMinimal
		}
		return int64(n), nil
	}
	return short, nil
}

// lengthSoFar checks the beginning p of an extended length, by the largest value that it can become.
func lengthSoFar(short int64, p []byte) error {
	most := [8]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	copy(most[:], p)
	_, err := payloadLength(short, most[:])
	return err
}

// appendHeader appends the header of an unfragmented frame from the server, which masks nothing
// (section 5.1).
func appendHeader(dst []byte, op ws.OpCode, length int) []byte {
	b0 := bitFin | byte(op)
	switch {
	case length < 126:
		return append(dst, b0, byte(length))
	case length <= 0xffff:
		return append(dst, b0, 126, byte(length>>8), byte(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, b0, 127), uint64(length))
}

// appendDeflatedHeader is appendHeader for a compressed message.
func appendDeflatedHeader(dst []byte, op ws.OpCode, length int) []byte {
	return appendHeader(dst, op|bitRsv1, length)
}

// appendFrame appends a whole unfragmented frame.
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	return append(appendHeader(dst, op, len(payload)), payload...)
}

// appendClose appends a close frame. Without a code it is empty (section 5.5.1).
func appendClose(dst []byte, code Code, reason string) []byte {
	if code == CodeNone {
		return appendHeader(dst, ws.OpClose, 0)
	}
	dst = appendHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// parseClose reads the payload of a peer's close frame (section 5.5.1).
func parseClose(p []byte) (Code, string, error) {
	if len(p) == 0 {
		return CodeNone, "", nil
	}
	if len(p) == 1 {
		return 0, "", errCloseTooShort
	}
	code := Code(binary.BigEndian.Uint16(p))
	if !code.sendable() {
		return 0, "", errCloseCode
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", errInvalidUTF8
	}
	return code, string(p[2:]), nil
}

// validSoFar checks an incomplete text. It returns the number of bytes in whole, valid characters, and
// reports whether the bytes behind them can still become one.
func validSoFar(p []byte) (whole int, ok bool) {
	whole = len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if b := p[len(p)-back]; utf8.RuneStart(b) {
			// FullRune also holds for a character that can't become valid any more; Valid below
			// finds that.
			if !utf8.FullRune(p[len(p)-back:]) {
				whole -= back
			}
			break
		}
	}
	return whole, utf8.Valid(p[:whole])
}
