package soak

import (
	"errors"
	"time"

	"github.com/gobwas/ws"
)

// This file is how a client sends. Frames are whole, whatever happens in between, unless they are not to be.

// errOver says that the server has said goodbye, so nothing more is sent.
var errOver = errors.New("closed by the server")

// compile masks a frame and encodes it.
func compile(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }

// transmit sends a control frame of the listener's. Section 5.5.1: nothing is sent behind a close frame. Who has
// left in the midst of a frame can't answer one but by the end of the stream.
func (l *life) transmit(f ws.Frame) error {
	l.frames.Lock()
	defer l.frames.Unlock()
	switch {
	case l.parted && f.Header.OpCode == ws.OpClose && !l.parts.Load():
		return l.conn.CloseWrite()
	case l.parted:
		return nil
	}
	l.parted = f.Header.OpCode == ws.OpClose
	return l.write(compile(f))
}

// write wants the lock of frames held.
func (l *life) write(p []byte) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(l.crowd.options.Patience))
	_, err := l.conn.Write(p)
	return err
}

// frame sends one of the acting goroutine's.
func (l *life) frame(f ws.Frame) error { return l.raw(compile(f), f.Header.OpCode == ws.OpClose) }

// raw sends bytes of the acting goroutine's, unless the server has said goodbye meanwhile.
func (l *life) raw(p []byte, parting bool) error {
	l.frames.Lock()
	defer l.frames.Unlock()
	if l.urgent.closing.Load() || l.parted {
		return errOver
	}
	l.parted = parting
	return l.write(p)
}

// next is the label of the next message.
func (l *life) next(wish byte, arg uint16, size int) label {
	if wish != wishNone {
		size = max(size, labelSize)
	}
	return label{maker: byClient, wish: wish, arg: arg, of: l.sent.number, seq: l.sent.sent, size: uint32(size)}
}

// payload is a message as it goes on the wire, and the bits of its first frame: compressed or not, if that was
// agreed on.
func (l *life) payload(m label, text bool) (data []byte, op ws.OpCode, rsv byte) {
	op = ws.OpBinary
	if text {
		op = ws.OpText
	}
	data = l.crowd.book.message(m, text)
	if l.squeeze.agreed && l.rng.IntN(4) > 0 {
		l.crowd.did.count(didDeflate)
		if l.squeeze.keepOut && len(l.squeeze.out) > 0 {
			l.crowd.did.count(didDeflateOn)
		}
		return l.squeeze.deflate(data), op, ws.Rsv(true, false, false)
	}
	return data, op, 0
}

// say sends a message in one frame.
func (l *life) say(wish byte, arg uint16, size int, text bool) error {
	data, op, rsv := l.payload(l.next(wish, arg, size), text)
	f := ws.NewFrame(op, true, data)
	f.Header.Rsv = rsv
	l.sent.sent++
	return l.frame(f)
}

// saySplit sends a message in fragments, and calls between before each but the first.
func (l *life) saySplit(size int, text bool, between func() error) error {
	data, op, rsv := l.payload(l.next(wishEcho, 0, size), text)
	l.sent.sent++
	for first := true; ; first = false {
		n := l.rng.IntN(len(data) + 1)
		last := n == len(data) && !first
		f := ws.NewFrame(op, last, data[:n])
		f.Header.Rsv = rsv
		if err := l.frame(f); err != nil || last {
			return err
		}
		data, op, rsv = data[n:], ws.OpContinuation, 0
		if err := between(); err != nil {
			return err
		}
	}
}

// half is the frame of a message without its end: the bytes up to somewhere in it, and the rest.
func (l *life) half(most int) (begin, rest []byte) {
	data, op, rsv := l.payload(l.next(wishEcho, 0, labelSize+l.size(most)), l.coin())
	f := ws.NewFrame(op, true, data)
	f.Header.Rsv = rsv
	p := compile(f)
	n := 1 + l.rng.IntN(len(p)-1)
	return p[:n], p[n:]
}
