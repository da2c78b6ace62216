package bench

import (
	"bytes"
	"compress/flate"
	"sync"

	"github.com/gobwas/ws"
)

const (
	// largeMessage is a message that is announced and never completed, or small on the wire and
	// this large when it is inflated: what most servers take by default.
	largeMessage = 1 << 20
	// bombMessage is more than the servers that are measured here take.
	bombMessage = 32 << 20
	// echoMessage is what those that don't read have echoed to them.
	echoMessage = 16 << 10
	// bulkMessage is what those send that don't read and take their time.
	bulkMessage = 60_000
	// volley is about how many bytes of small frames are sent in one call.
	volley = 64 << 10
	// fragments is how many of one byte make a message.
	fragments = 8 << 10
)

// What hostile connections send. Each is made once, when the first connection needs it, and shared by
// all of them: none is ever written to. The masks are drawn once too; see payload.go.
var (
	largeFrame  = sync.OnceValue(func() []byte { return masked(ws.NewBinaryFrame(make([]byte, largeMessage))) })
	closeFrame  = sync.OnceValue(func() []byte { return masked(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))) })
	pings       = sync.OnceValue(func() []byte { return manyOf(masked(ws.NewPingFrame([]byte("ping")))) })
	messages    = sync.OnceValue(func() []byte { return manyOf(masked(ws.NewBinaryFrame(make([]byte, echoMessage)))) })
	bulkFrame   = sync.OnceValue(func() []byte { return masked(ws.NewBinaryFrame(make([]byte, bulkMessage))) })
	firstEmpty  = sync.OnceValue(func() []byte { return masked(fragment(ws.OpBinary, false, nil)) })
	moreEmpty   = sync.OnceValue(func() []byte { return manyOf(masked(fragment(ws.OpContinuation, false, nil))) })
	oneByOne    = sync.OnceValue(fragmented)
	bomb        = sync.OnceValue(func() []byte { return compressed(bombMessage) })
	smallBomb   = sync.OnceValue(func() []byte { return manyOf(compressed(largeMessage)) })
	endlessLine = sync.OnceValue(func() []byte { return append([]byte("X-Line: "), bytes.Repeat([]byte("x"), 1<<10)...) })
)

// largeHeader is how many bytes of largeFrame are its header: the most that a header can have.
const largeHeader = ws.MaxHeaderSize

func masked(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }

func manyOf(frame []byte) []byte { return bytes.Repeat(frame, max(1, volley/len(frame))) }

func fragment(op ws.OpCode, fin bool, p []byte) ws.Frame { return ws.NewFrame(op, fin, p) }

// fragmented is a whole message in frames of one byte.
func fragmented() []byte {
	one := []byte("x")
	message := masked(fragment(ws.OpBinary, false, one))
	message = append(message, bytes.Repeat(masked(fragment(ws.OpContinuation, false, one)), fragments-2)...)
	return append(message, masked(fragment(ws.OpContinuation, true, one))...)
}

// compressed is a message of permessage-deflate that inflates to so many zeros.
func compressed(size int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // for the level only
	}
	for zeros := make([]byte, largeMessage); size > 0; size -= len(zeros) {
		_, _ = w.Write(zeros[:min(size, len(zeros))]) // a buffer takes it
	}
	_ = w.Flush()
	// RFC 7692 section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
	f := ws.NewBinaryFrame(b.Bytes()[:b.Len()-4])
	f.Header.Rsv = ws.Rsv(true, false, false) // "compressed"
	return masked(f)
}
