package server

import (
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Kind is the kind of a message (RFC 6455 section 5.6).
type Kind uint8

// The kinds of messages.
const (
	Text   = Kind(ws.OpText)   // UTF-8
	Binary = Kind(ws.OpBinary) // anything
)

// String is "text" or "binary".
func (k Kind) String() string {
	if k == Text {
		return "text"
	}
	return "binary"
}

// Message is a whole message from a peer. A text message is valid UTF-8.
type Message struct {
	// Kind is what the peer said that Data is.
	Kind Kind
	// Data is the payload. It is the server's: valid, and free to be overwritten, until the
	// handler returns. Keep a copy to keep it longer.
	Data []byte

	region *region // that Data lies in, if it is large
}

// Prepared is a message encoded once, to be sent many times and to many connections without being
// encoded, compressed or copied again. It never changes, and may be used from any goroutine.
type Prepared struct {
	frame  []byte
	header int // bytes of frame
	// deflated are the compressed frames, made when one is first asked for.
	deflated atomic.Pointer[[maxWindowBits + 1]deflatedFrame]
}

// deflatedFrame is a prepared message, compressed for a window of some size; nil if it is shorter as
// it is.
type deflatedFrame struct {
	once  sync.Once
	frame []byte
}

// preparedLevel is higher than that of messages that are sent once: it is paid for once.
const preparedLevel = 6

func (p *Prepared) payload() []byte { return p.frame[p.header:] }

// deflatedFrame is the frame for a window of 2 to the power of bits.
func (p *Prepared) deflatedFrame(bits uint8) []byte {
	all := p.deflated.Load()
	for all == nil {
		p.deflated.CompareAndSwap(nil, new([maxWindowBits + 1]deflatedFrame))
		all = p.deflated.Load()
	}
	f := &all[bits]
	f.once.Do(func() {
		text := p.payload()
		buf := make([]byte, max(0, len(text)-1)+len(flushTail)) // or it is shorter as it is
		if deflated, fits := squeeze(buf, text, nil, bits, preparedLevel, nil); fits {
			op := ws.OpCode(p.frame[0] & bitsOp)
			f.frame = append(appendDeflatedHeader(nil, op, len(deflated)), deflated...)
		}
	})
	return f.frame
}

// check holds a message against its kind.
func (k Kind) check(data []byte) error {
	switch {
	case k == Binary:
		return nil
	case k != Text:
		return ErrBadKind
	case !utf8.Valid(data):
		return ErrInvalidUTF8
	}
	return nil
}

// Prepare encodes a message. It copies data. A text that is not UTF-8 is ErrInvalidUTF8, and a kind
// that is neither Text nor Binary ErrBadKind.
func Prepare(kind Kind, data []byte) (*Prepared, error) {
	if err := kind.check(data); err != nil {
		return nil, err
	}
	frame, err := ws.CompileFrame(ws.NewFrame(ws.OpCode(kind), true, data))
	if err != nil {
		return nil, err
	}
	return &Prepared{frame: frame, header: len(frame) - len(data)}, nil
}

// PrepareText encodes a text message. It panics if text is not UTF-8; use Prepare for text that is
// not the program's own.
func PrepareText(text string) *Prepared {
	p, err := Prepare(Text, []byte(text))
	if err != nil {
		panic(err)
	}
	return p
}

// Len is the length of the encoded frame in bytes: what each send costs on the wire, if it is not
// compressed.
func (p *Prepared) Len() int { return len(p.frame) }

// Outcome says what became of a message that was to be sent.
type Outcome uint8

// The outcomes of a send.
const (
	// Refused: nothing of the message will be sent. The error says why.
	Refused Outcome = iota
	// Sent: the kernel has all of it.
	Sent
	// Queued: it waits in the process, whole or in part, for the peer to read what came before
	// (or, while several messages from it are handled in one go, for the last of them: quick answers
	// leave in one write).
	//
	// Where Options.Overflow is DropOldest or KeepLatest, it may yet make way for later ones. Elsewhere it
	// is sent unless the connection ends.
	Queued
	// Dropped: the peer reads too slowly, and the endpoint wants the message forgotten. Nothing of it will
	// be sent, and the connection goes on.
	Dropped
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"refused", "sent", "queued", "dropped"}[o]
}
