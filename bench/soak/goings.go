package soak

import (
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server"
)

// way is how a client left, and what the server must make of it.
type way struct {
	name   string
	causes []server.Cause // one of them
	code   server.Code    // of what the client is told, or has told; 0 is not looked at
	whole  bool           // all that was sent must have been heard
}

// goings are the ways out. Each is one: it waits until nothing but the end is to come.
var goings = []*thing{
	{name: "close in order", weight: 24, do: (*life).closeInOrder},
	{name: "reset", weight: 6, do: func(l *life) error { l.goBy(gone("reset")); l.reset(); return nil }},
	{name: "end the stream", weight: 4, do: (*life).endStream},
	{name: "half a frame, then gone", weight: 3, do: func(l *life) error { return l.halfAndGo(false) }},
	{name: "half a frame, then a reset", weight: 3, do: func(l *life) error { return l.halfAndGo(true) }},
	{name: "ask for much, read nothing, then a reset", weight: 2, do: func(l *life) error {
		l.goBy(gone("deaf"))
		defer l.reset()
		return l.glut(l.upTo(time.Second))
	}},

	{name: "be panicked at", weight: 2, do: asking(wishPanic, way{"panic", []server.Cause{server.Panicked}, server.CodeInternal, true})},
	{name: "be panicked at by a tick", weight: 2, do: asking(wishPanicLater, way{"panic in a tick", []server.Cause{server.Panicked}, server.CodeInternal, true})},
	{name: "be closed in order", weight: 2, do: asking(wishClose, way{"asked to close", []server.Cause{server.ClosedLocally}, 4321, true})},
	{name: "be closed in order from another goroutine", weight: 2, do: asking(wishCloseAside, way{"asked to close", []server.Cause{server.ClosedLocally}, server.CodeTryAgain, true})},
	{name: "be panicked at while much waits", weight: 1, at: []string{"/working"}, do: behindMuch(wishPanic, way{"panic behind much", []server.Cause{server.Panicked}, server.CodeInternal, true})},
	{name: "be closed in order while much waits", weight: 1, at: []string{"/working"}, do: behindMuch(wishClose, way{"asked to close behind much", []server.Cause{server.ClosedLocally}, server.CodeGoingAway, true})},
	{name: "be closed in order while old messages make way", weight: 2, at: []string{"/old-dropped", "/latest-kept"}, do: (*life).amidForgetting},
	{name: "be cut off from another goroutine", weight: 2, do: asking(wishCut, way{"asked to cut", []server.Cause{server.ClosedLocally}, server.CodeAbnormal, true})},
	{name: "read nothing until given up", weight: 4, at: []string{"/plain", "/ticked", "/refusing", "/new-dropped", "/old-dropped", "/latest-kept", "/hurried"}, do: (*life).beGivenUp},
	{name: "be silent until given up", weight: 2, at: []string{"/hurried"}, do: func(l *life) error {
		// What was said last may have met the server's goodbye.
		l.goBy(way{"silent", []server.Cause{server.Idle}, server.CodeGoingAway, false})
		return nil
	}},
	{name: "half a message until given up", weight: 2, at: []string{"/hurried"}, do: func(l *life) error {
		begin, _ := l.half(16 << 10) // not all before it need have been heard: one of those may have taken too long
		return l.leave(begin, way{"half a message", []server.Cause{server.BadInput}, server.CodePolicy, false})
	}},
	{name: "answer no pings until given up", weight: 2, at: []string{"/kept"}, do: (*life).beForgotten},

	violation("a frame without a mask", server.CodeProtocolError, ws.MustCompileFrame(ws.NewTextFrame([]byte("bare")))),
	violation("a reserved bit", server.CodeProtocolError, wrong(ws.NewTextFrame(nil), func(h *ws.Header) { h.Rsv = ws.Rsv(false, false, true) })),
	violation("a reserved opcode", server.CodeProtocolError, compile(ws.NewFrame(0xb, true, nil))),
	violation("a control frame in fragments", server.CodeProtocolError, compile(ws.NewFrame(ws.OpPing, false, nil))),
	violation("a control frame that is long", server.CodeProtocolError, compile(ws.NewFrame(ws.OpPing, true, make([]byte, 126)))),
	violation("a continuation of nothing", server.CodeProtocolError, compile(ws.NewFrame(ws.OpContinuation, true, nil))),
	violation("a message within another", server.CodeProtocolError, append(compile(ws.NewFrame(ws.OpText, false, nil)), compile(ws.NewTextFrame(nil))...)),
	violation("a close code that must not be sent", server.CodeProtocolError, compile(ws.NewCloseFrame(ws.NewCloseFrameBody(1006, "")))),
	violation("half a close code", server.CodeProtocolError, compile(ws.NewFrame(ws.OpClose, true, []byte{3}))),
	violation("text that is none", server.CodeInvalidPayload, compile(ws.NewTextFrame([]byte("\xff\xff")))),
	violation("a message beyond the limit", server.CodeTooBig, ws.MustCompileFrame(ws.Frame{Header: ws.Header{Fin: true, OpCode: ws.OpBinary, Masked: true, Length: largest + 1}})),
	at(violation("compressed data that is none", server.CodeInvalidPayload,
		wrong(ws.NewTextFrame([]byte("\xff\xff\xff")), func(h *ws.Header) { h.Rsv = ws.Rsv(true, false, false) })), "/deflated", "/context"),
}

func at(t *thing, paths ...string) *thing { t.at = paths; return t }

// wrong is a frame with something else in its header.
func wrong(f ws.Frame, with func(*ws.Header)) []byte {
	with(&f.Header)
	return compile(f)
}

// violation is bytes that the server must answer with a close code.
func violation(name string, code server.Code, p []byte) *thing {
	return &thing{name: "violation: " + name, weight: 1, do: func(l *life) error {
		return l.leave(p, way{name, []server.Cause{server.BadInput}, code, true})
	}}
}

// gone is a way that leaves no time to hear anything.
func gone(name string) way { return way{name: name, causes: []server.Cause{server.PeerGone}} }

// goBy notes how the client leaves, for the judge. Before that only what is excused may end the connection.
func (l *life) goBy(w way) { l.sent.way = w }

// leave sends the last bytes, and goes by what comes of them.
func (l *life) leave(p []byte, w way) error {
	l.goBy(w)
	return l.raw(p, true)
}

// asking is to have the server end the connection.
func asking(wish byte, w way) func(*life) error {
	return func(l *life) error {
		l.goBy(w)
		return l.say(wish, uint16(w.code), 0, true)
	}
}

// behindMuch is asking while what was asked for before waits in the process: it must arrive all the same.
func behindMuch(wish byte, w way) func(*life) error {
	return func(l *life) error {
		l.stall(time.Second/4 + l.upTo(time.Second/4))
		for range 8 {
			if err := l.say(wishForward, 0, largest/3, l.coin()); err != nil {
				return err
			}
		}
		return asking(wish, w)(l)
	}
}

// amidForgetting has the connection closed right after more was said than may wait.
func (l *life) amidForgetting() error {
	l.stall(time.Second/4 + l.upTo(time.Second/4))
	if err := l.say(wishAnswers, answersArg(24, 17), 0, true); err != nil {
		return err
	}
	return asking(wishClose, way{"asked to close amid forgetting", []server.Cause{server.ClosedLocally}, server.CodeGoingAway, true})(l)
}

// closeInOrder says one of the codes that a client may say, or none.
func (l *life) closeInOrder() error {
	codes := []server.Code{server.CodeNormal, server.CodeGoingAway, server.CodeNone, 3000, 4999}
	code := codes[l.rng.IntN(len(codes))]
	var body []byte
	if code != server.CodeNone {
		body = ws.NewCloseFrameBody(ws.StatusCode(code), strings.Repeat("é", l.rng.IntN(60)))
	}
	l.parts.Store(true)
	return l.leave(compile(ws.NewCloseFrame(body)), way{"close", []server.Cause{server.PeerClosed}, code, true})
}

// endStream sends a FIN behind a whole message.
func (l *life) endStream() error {
	w := gone("end of stream")
	w.whole = true
	l.goBy(w)
	return l.conn.CloseWrite()
}

func (l *life) halfAndGo(reset bool) error {
	begin, _ := l.half(16 << 10)
	l.goBy(gone("half a frame"))
	err := l.raw(begin, true)
	if reset {
		l.reset()
	} else {
		_ = l.conn.Close()
	}
	return err
}

// glut asks for more than may wait for a client, which does not read meanwhile.
func (l *life) glut(d time.Duration) error {
	l.stall(d)
	for range 4 {
		if err := l.say(wishAnswers, answersArg(24, 17), 0, true); err != nil {
			return err
		}
	}
	return nil
}

// beGivenUp closes in order if the server keeps the connection all the same, as where it may refuse what is too
// much, or the kernel took it all.
func (l *life) beGivenUp() error {
	d := time.Second + l.upTo(time.Second/2)
	if err := l.glut(d); err != nil {
		return err
	}
	l.goBy(way{name: "deaf for a while"}) // until it closes by itself, only what is excused may happen
	select {
	case <-l.ended:
		return nil
	case <-time.After(d + time.Second/2):
		return l.closeInOrder()
	}
}

// beForgotten closes in order if the server takes what the kernel acknowledges for life.
func (l *life) beForgotten() error {
	l.mute.Store(true)
	l.goBy(way{name: "mute"})
	select {
	case <-l.ended:
		return nil
	case <-time.After(3 * pongTime):
		return l.closeInOrder()
	}
}
