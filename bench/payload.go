package bench

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/gobwas/ws"
)

// stampSize is how much of a message tells it from all others: the number of the connection and of
// the message on it. In a smaller message only its first bytes have room.
const stampSize = 8

// payload makes the messages of one loop and knows them again. All have the same random bytes, but
// for the stamp.
//
// The frame is masked once. Section 5.3 wants a new and unpredictable mask for each frame, to
// protect proxies from pages that know what will be on the wire; here there is neither, and a mask
// that is drawn once costs the server as much to undo.
type payload struct {
	plain []byte // what comes back, without the stamp
	frame []byte // what is sent; its stamp is written over
	mask  [4]byte
}

func newPayload(size int) *payload {
	p := &payload{plain: make([]byte, size), mask: ws.NewMask()}
	for i := range p.plain {
		p.plain[i] = byte(rand.Uint32())
	}
	p.frame = ws.MustCompileFrame(ws.MaskFrameWith(ws.NewBinaryFrame(bytes.Clone(p.plain)), p.mask))
	return p
}

func stampOf(conn, seq uint32) (s [stampSize]byte) {
	binary.LittleEndian.PutUint32(s[:], seq) // first, as it is what changes
	binary.LittleEndian.PutUint32(s[4:], conn)
	return s
}

// message is the frame to send, valid until the next call.
func (p *payload) message(conn, seq uint32) []byte {
	stamp := stampOf(conn, seq)
	ws.Cipher(stamp[:], p.mask, 0)
	copy(p.frame[len(p.frame)-len(p.plain):], stamp[:])
	return p.frame
}

// matches tells whether chunk is what the message has at offset. Every byte is compared.
func (p *payload) matches(conn, seq uint32, offset int, chunk []byte) bool {
	if offset+len(chunk) > len(p.plain) {
		return false
	}
	if offset < stampSize {
		stamp := stampOf(conn, seq)
		n := min(len(chunk), stampSize-offset)
		if !bytes.Equal(stamp[offset:offset+n], chunk[:n]) {
			return false
		}
		offset, chunk = offset+n, chunk[n:]
	}
	return bytes.Equal(p.plain[offset:offset+len(chunk)], chunk)
}
