//go:build linux

package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// understood is what the server has to make of a stream, and whether it ends within a frame.
func (l *life) understood(stream []byte) (u understanding, half bool) {
	if len(stream) < len(l.head) {
		return u, true
	}
	d := &decoder{limit: lifeLimit, budget: &budget{limit: 1 << 30}}
	for p := bytes.Clone(stream[len(l.head):]); len(p) > 0; {
		one, rest, err := d.next(p)
		if err != nil {
			u.end, u.more = badInput(err), len(rest) > 0
			return u, false
		}
		p = rest
		switch {
		case !one.ok:
		case one.op == ws.OpClose:
			code, reason, err := parseClose(one.data)
			u.end, u.more = &Closing{Cause: PeerClosed, Code: code, Reason: reason}, len(rest) > 0
			if err != nil {
				u.end = badInput(err)
			}
			return u, false
		case one.op == ws.OpPing:
			u.pings = append(u.pings, string(one.data))
		case one.op != ws.OpPong:
			u.messages = append(u.messages, said{one.op, string(one.data)})
		}
	}
	return u, d.inFrame || d.nPart > 0
}

// understanding is what a peer has said.
type understanding struct {
	messages []said
	pings    []string
	end      *Closing // what it said brings the connection to its end so
	more     bool     // it said more behind that
}

func badInput(err error) *Closing {
	var wrong *ProtocolError
	errors.As(err, &wrong)
	return &Closing{Cause: BadInput, Code: wrong.Code, Reason: wrong.Reason, Err: err}
}

// check holds a life that is over against the model.
func (l *life) check(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, _ := l.understood(l.said)
	err := l.checkHeard(u)
	if len(l.said) < len(l.head) || l.lost {
		if len(l.events) > 0 {
			err = fmt.Errorf("events %q without a handshake", l.events)
		}
	} else if err == nil {
		err = errors.Join(l.checkEvents(u), l.checkCause(u))
	}
	if err != nil || len(l.wrong) > 0 {
		t.Fatalf("%v %q\nsaid %.2000q\nheard %.2000q, then %v\nevents %q, closed %+v\npeer understood %+v", err, l.wrong, l.said, l.heard, l.heardEnd, l.events, l.why, u)
	}
}

// checkEvents: the open event is the first, the close event the last, and the messages between are
// those of the peer, in order; all of them, if nobody but the peer ended the connection.
func (l *life) checkEvents(u understanding) error {
	n := len(l.events)
	switch {
	case n == 0 && l.cut && l.heardEnd == nil: // it may have been gone before it was served
		return nil
	case n < 2 || l.events[0] != 'o' || l.events[n-1] != 'c' || bytes.Count(l.events, []byte("o"))+bytes.Count(l.events, []byte("c")) != 2:
		return errors.New("not one open event, the first, and one close event, the last")
	case len(l.got) > len(u.messages) || !slices.Equal(l.got, u.messages[:len(l.got)]):
		return errors.New("messages that the peer did not send so")
	case len(l.got) < len(u.messages) && !l.byServer() && l.heardEnd != nil:
		return fmt.Errorf("%d messages of %d", len(l.got), len(u.messages))
	}
	for _, send := range []func() error{
		func() error { _, err := l.conn.WriteText("gone"); return err },
		func() error { return l.conn.CloseWith(1000, "") }, l.conn.Close,
	} {
		if err := send(); err != ErrClosed {
			return fmt.Errorf("a closed handle answers %v", err)
		}
	}
	return nil
}

// byServer tells whether the server's side began to end the connection, or may have done so.
func (l *life) byServer() bool {
	return l.closing != nil || l.killed || l.panicked || l.refused && !l.drop
}

// checkCause: the cause is the first one that there was.
func (l *life) checkCause(u understanding) error {
	why := l.why
	if len(l.events) == 0 {
		return nil
	}
	is := func(c *Closing) bool { return c != nil && *c == why }
	gone := why.Cause == PeerGone && why.Code == CodeAbnormal
	switch {
	case is(l.closing), l.closing == nil && is(u.end):
		return nil
	case l.closing != nil:
		return fmt.Errorf("closed by %+v and not by %+v", why, l.closing)
	case l.killed && is(&Closing{Cause: ClosedLocally, Code: CodeAbnormal}),
		l.panicked && is(&Closing{Cause: Panicked, Code: CodeInternal, Reason: "internal error"}),
		l.refused && !l.drop && is(&Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog full", Err: ErrBacklogFull}),
		gone && l.heardEnd == nil,
		gone && l.ended && u.end == nil:
		return nil
	}
	return errors.New("closed for no reason")
}

// checkHeard: what the peer heard is what the server sent, in order, with pongs between.
func (l *life) checkHeard(u understanding) error {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	frames, upgraded := bytes.CutPrefix(l.heard, []byte(answer))
	toEnd := l.heardEnd == io.EOF
	switch {
	case len(l.said) < len(l.head):
		if len(l.heard) > 0 {
			return errors.New("an answer to half a handshake")
		}
		return nil
	case l.lost:
		if toEnd && !bytes.HasPrefix(l.heard, []byte("HTTP/1.1 404 ")) {
			return errors.New("no answer that says 404")
		}
		return nil
	case !upgraded && toEnd && !l.killed && !l.ended, !upgraded && !bytes.HasPrefix([]byte(answer), l.heard):
		return errors.New("no answer to the handshake")
	case !upgraded:
		return nil
	}
	h, err := hear(frames)
	// What may have been lost on the way: what the server dropped, or what a reset destroyed because
	// the peer sent on behind its close frame.
	kept := toEnd && !l.killed && !(u.end != nil && u.end.Cause == PeerClosed && u.more)
	fits := len(l.heard)+len(l.queue) < 8000 && !l.tight // so that nothing ever waits in the server
	// Who ends its stream is sent no more than what fits, unless it said a close frame before.
	// Who closes gets no more than what the kernel takes and the message that has begun.
	dropped := u.end != nil && u.end.Cause == PeerClosed && !fits
	waits := !l.ended || u.end != nil && u.end.Cause == PeerClosed || fits
	closes := u.end != nil || l.byServer()
	switch {
	case err != nil:
		return err
	case len(h.messages) > len(l.sent) || !slices.Equal(h.messages, l.sent[:len(h.messages)]):
		return errors.New("messages that were not sent so")
	case !subsequence(h.pongs, u.pings):
		return errors.New("pongs that nobody pinged for")
	case h.torn && kept && waits:
		return errors.New("the last frame is torn")
	case h.close != nil && (len(h.messages) < len(l.sent) && !dropped || !bytes.Equal(h.close, appendClose(nil, l.why.Code, l.closeReason()))):
		return fmt.Errorf("the close frame %x came behind %d messages of %d", h.close, len(h.messages), len(l.sent))
	case h.close == nil && kept && closes && waits:
		return errors.New("no close frame")
	case kept && fits && len(h.messages) < len(l.sent):
		return fmt.Errorf("%d messages of %d", len(h.messages), len(l.sent))
	case kept && fits && !l.byServer() && len(h.pongs) < len(u.pings):
		return fmt.Errorf("%d pongs for %d pings", len(h.pongs), len(u.pings))
	}
	return nil
}

// closeReason is that of the server's close frame: an answer to the peer's has none.
func (l *life) closeReason() string {
	if l.why.Cause == PeerClosed {
		return ""
	}
	return l.why.Reason
}

// hearing is what came from the server.
type hearing struct {
	messages []said
	pongs    []string
	close    []byte // the close frame, which is the last
	torn     bool
}

func hear(p []byte) (h hearing, err error) {
	for len(p) > 0 {
		if h.close != nil {
			return h, fmt.Errorf("%s behind the close frame", glimpse(p))
		}
		r := bytes.NewReader(p)
		head, err := ws.ReadHeader(r)
		if err != nil || head.Length > int64(r.Len()) {
			h.torn = true
			return h, nil
		}
		if err := ws.CheckHeader(head, ws.StateClientSide); err != nil || !head.Fin {
			return h, fmt.Errorf("frame %s: not fit for a client, error %v", glimpse(p), err)
		}
		n := len(p) - r.Len()
		payload := string(p[n : n+int(head.Length)])
		switch head.OpCode {
		case ws.OpClose:
			h.close = p[:n+len(payload)]
		case ws.OpPong:
			h.pongs = append(h.pongs, payload)
		default:
			h.messages = append(h.messages, said{head.OpCode, payload})
		}
		p = p[n+len(payload):]
	}
	return h, nil
}

// subsequence tells whether some are among all, in order.
func subsequence(some, all []string) bool {
	for _, s := range all {
		if len(some) > 0 && some[0] == s {
			some = some[1:]
		}
	}
	return len(some) == 0
}
