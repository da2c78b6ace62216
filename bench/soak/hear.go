package soak

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/gobwas/ws"
)

// account is what a client has heard.
type account struct {
	got   uint32 // messages, broadcasts left out
	chain chain  // of those
	seq   uint32 // next of the server's own
	last  chain  // of the last one by itself
	all   span   // of broadcasts
	// allLast: the last that came was a broadcast.
	allLast bool
	echo    uint32 // next of its own that may come back
	pong    uint32 // the last ping that was answered

	closed bool // a close frame came
	code   ws.StatusCode
	end    error // io.EOF or how else the stream ended
}

var errUnlawful = errors.New("a frame that breaks the protocol")

// span is numbers without a gap.
type span struct{ from, to uint32 }

// listen hears everything to the end of the stream. It runs on a goroutine of its own.
func (l *life) listen() {
	defer close(l.ended)
	var message []byte
	var of ws.Header // the first frame of the message
	for {
		l.stallIfAsked()
		h, err := ws.ReadHeader(l.in)
		if err != nil {
			l.heard.end = err
			return
		}
		if wrong := l.lawful(h); wrong != "" {
			l.found("a frame that breaks the protocol", "%s: %+v", wrong, h)
			l.heard.end = errUnlawful
			_ = l.conn.Close()
			return
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(l.in, p); err != nil {
			l.heard.end = err
			return
		}
		switch {
		case h.OpCode.IsControl():
			l.control(h.OpCode, p)
			continue
		case h.OpCode != ws.OpContinuation:
			of = h
		}
		if message = append(message, p...); h.Fin {
			l.message(of, message)
			message = nil
		}
	}
}

// lawful tells what is wrong with a frame of the server's.
func (l *life) lawful(h ws.Header) string {
	switch {
	case h.Masked:
		return "masked"
	case l.heard.closed:
		return "behind the close frame"
	case h.OpCode.IsReserved():
		return "reserved opcode"
	case h.OpCode.IsControl() && (!h.Fin || h.Length > ws.MaxControlFramePayloadSize):
		return "control frame"
	case h.Length > largest+window:
		return "length"
	case h.Rsv != 0 && (h.Rsv != ws.Rsv(true, false, false) || !l.squeeze.agreed || h.OpCode.IsControl()):
		return "reserved bit"
	}
	return ""
}

func (l *life) stallIfAsked() {
	select {
	case d := <-l.stalls:
		time.Sleep(d)
	default:
	}
}

func (l *life) control(op ws.OpCode, p []byte) {
	switch op {
	case ws.OpPing:
		if !l.mute.Load() {
			l.crowd.did.count(didPong)
			l.urgent.send(l, ws.NewPongFrame(p))
		}
	case ws.OpPong:
		l.pong(p)
	case ws.OpClose:
		l.heard.closed = true
		l.heard.code, _ = ws.ParseCloseFrameData(p)
		if len(p) == 0 {
			l.heard.code = ws.StatusNoStatusRcvd
		}
		l.urgent.closing.Store(true)
		l.urgent.send(l, ws.NewCloseFrame(p))
	}
}

// pong must answer a ping that was sent, and not one before the last that was answered.
func (l *life) pong(p []byte) {
	n, err := strconv.ParseUint(string(p), 10, 32)
	if err != nil || uint32(n) <= l.heard.pong || uint32(n) > l.pings.Load() {
		l.found("a pong that answers no ping", "%q after %d of %d", p, l.heard.pong, l.pings.Load())
		return
	}
	l.heard.pong = uint32(n)
	l.crowd.did.count(didPonged)
}

// message holds one that is whole against what may come.
func (l *life) message(h ws.Header, p []byte) {
	if h.Rsv != 0 {
		l.crowd.did.count(didInflate)
		if l.squeeze.keepIn && len(l.squeeze.in) > 0 {
			l.crowd.did.count(didInflateOn)
		}
		var err error
		if p, err = l.squeeze.inflate(p); err != nil {
			l.found("the client heard "+err.Error(), "message %d", l.heard.got)
			return
		}
	}
	l.crowd.heard.Add(1)
	// The server sends nothing that is too short for a label.
	m, err := l.crowd.book.read(p, h.OpCode == ws.OpText, label{maker: byServer})
	switch {
	case err != nil:
		l.found("the client heard "+err.Error(), "message %d", l.heard.got)
		return
	case m.maker == forAll:
		l.forAll(m)
		return
	}
	l.heard.got++
	l.heard.chain, l.heard.last, l.heard.allLast = l.heard.chain.with(m), chain(0).with(m), false
	switch {
	case m.maker == byServer && m.of != l.sent.number, m.maker != byServer && m.maker != byClient, m.maker == byClient && m.of != l.sent.number && m.wish != wishPassOn:
		l.found("the client heard a message for somebody else", "%+v", m)
	case m.maker == byServer:
		l.inOrder(m, &l.heard.seq, m.seq == l.heard.seq || m.seq > l.heard.seq && l.place.forgets())
	case m.of == l.sent.number && m.wish != wishPassOn:
		l.inOrder(m, &l.heard.echo, m.seq >= l.heard.echo)
	}
}

func (l *life) inOrder(m label, next *uint32, fits bool) {
	if !fits {
		l.found("the client heard a message out of its order", "%+v where %d is the next", m, *next)
	}
	*next = m.seq + 1
}

// forAll takes a broadcast. Where messages may be refused there may be gaps.
func (l *life) forAll(m label) {
	l.heard.allLast = true
	a := &l.heard.all
	fits := *a == span{} || m.seq == a.to || m.seq > a.to && l.place.lossy()
	if m.of != l.place.number() || !fits {
		l.found("the client heard a broadcast out of its order, or of another place", "%+v after %+v", m, *a)
	}
	if *a == (span{}) {
		a.from = m.seq
	}
	a.to = m.seq + 1
}

func (l *life) found(what, format string, values ...any) {
	l.crowd.judge.found(what, "%s: "+format, append([]any{l}, values...)...)
}

// gone tells whether the stream ended, in whatever way, and not the client's patience.
func (a *account) gone() bool {
	var timeout interface{ Timeout() bool }
	return a.end != nil && !(errors.As(a.end, &timeout) && timeout.Timeout())
}
