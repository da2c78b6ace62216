package bench

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// conn is one connection. All of it belongs to its loop, which is the only one to touch it.
type conn struct {
	index uint32 // in the loop, and the token in its poller: an index is used once
	fd    int32
	state state
	since time.Duration // when connect was called
	dec   decoder
	in    []byte // the start of an answer to the upgrade that came in several parts
	out   []byte // what the kernel did not take yet

	stalled bool // it is one of those that are not to read; see stalled.go
	deaf    bool // and does not
}

type state uint8

const (
	unused     state = iota
	connecting       // until the socket is writable
	upgrading        // until the answer has come
	open
	closing // our close frame is sent, the peer's end is awaited
	closed
)

var (
	errEarlyEnd = errors.New("upgrade: end of stream")
	errEnd      = errors.New("end of stream without a close frame")
	errBacklog  = errors.New("more to answer than the server reads")
)

// closeError is a close frame that nobody asked for.
type closeError ws.StatusCode

func (e closeError) Error() string { return fmt.Sprintf("closed by the server with code %d", e) }

// dial starts the next connection.
func (l *loop) dial() {
	c := &l.conns[l.next]
	*c = conn{index: uint32(l.next), fd: -1, state: connecting, since: l.clock()}
	l.next++
	l.opening++
	fd, err := netpoll.Connect(l.target.addr, l.target.source(int(c.index), len(l.conns)))
	if err != nil {
		l.drop(c, err)
		return
	}
	c.fd = int32(fd)
	if err := l.poller.Add(fd, netpoll.Token(c.index), netpoll.Read|netpoll.Write); err != nil {
		l.drop(c, err)
	}
}

// serve does what an event calls for.
func (l *loop) serve(ev netpoll.Event) {
	c := &l.conns[ev.Token]
	if c.state == closed {
		return // stale
	}
	if err := l.attend(c, ev.Ready); err != nil {
		l.drop(c, err)
	}
	l.scenario.step(l.now)
}

// attend takes no notice of what comes to who is deaf, until the server ends the connection.
func (l *loop) attend(c *conn, ready netpoll.Ready) error {
	switch {
	case !c.deaf:
		return l.advance(c, ready)
	case ready&(netpoll.HangUp|netpoll.Failed) == 0:
		return nil
	}
	return l.undeafen(c, true)
}

func (l *loop) advance(c *conn, ready netpoll.Ready) error {
	if c.state == connecting {
		if ready&(netpoll.Writable|netpoll.Failed) == 0 {
			return nil
		}
		if err := netpoll.ConnectError(int(c.fd)); err != nil {
			return err
		}
		c.state = upgrading
		if err := l.send(c, l.upgrade.request(c.index)); err != nil {
			return err
		}
	}
	if ready&netpoll.Writable != 0 && len(c.out) > 0 {
		if err := l.flush(c); err != nil {
			return err
		}
	}
	if ready&netpoll.Readable != 0 {
		return l.read(c, ready&netpoll.HangUp != 0)
	}
	return nil
}

// read takes what has come. A short read has emptied the socket, except after a hang-up.
func (l *loop) read(c *conn, hangUp bool) error {
	for {
		n, err := netpoll.Recv(int(c.fd), l.buf)
		switch {
		case err == netpoll.ErrWouldBlock:
			return nil
		case err == io.EOF:
			return ended(c.state)
		case err != nil:
			return err
		}
		l.now = l.clock()
		l.bytesIn += int64(n)
		if err := l.received(c, l.buf[:n]); err != nil {
			return err
		}
		if n < len(l.buf) && !hangUp {
			return nil
		}
	}
}

func ended(s state) error {
	if s == upgrading {
		return errEarlyEnd
	}
	return errEnd
}

// received gives bytes to who waits for them: the handshake, the decoder, or nobody.
func (l *loop) received(c *conn, p []byte) error {
	switch c.state {
	case upgrading:
		return l.answered(c, p)
	case open:
		return c.dec.feed(p, func(p piece) error { return l.piece(c, p) })
	}
	return nil
}

// answered looks at the answer to the upgrade, behind which the first frames may follow at once.
func (l *loop) answered(c *conn, p []byte) error {
	if c.in != nil {
		c.in = append(c.in, p...)
		p = c.in
	}
	n, err := l.upgrade.check(c.index, p)
	if err != nil {
		return err
	}
	if n == 0 {
		if c.in == nil {
			c.in = append(c.in, p...)
		}
		return nil
	}
	c.in = nil
	c.state = open
	l.opening--
	l.opened++
	l.lastOpened = l.now
	l.scenario.opened(c)
	l.tried()
	if n < len(p) {
		return l.received(c, p[n:])
	}
	return nil
}

// piece answers control frames; the rest is the scenario's.
func (l *loop) piece(c *conn, p piece) error {
	switch p.op {
	case ws.OpPing:
		return l.send(c, clientFrame(ws.NewPongFrame(p.data)))
	case ws.OpPong:
		return nil
	case ws.OpClose:
		code, _ := ws.ParseCloseFrameData(p.data)
		if len(p.data) == 0 {
			code = ws.StatusNoStatusRcvd
		}
		// Section 5.5.1: "an endpoint MUST send a Close frame in response". There is nobody to
		// tell if that fails.
		_ = l.send(c, clientFrame(ws.NewCloseFrame(p.data)))
		return closeError(code)
	}
	return l.scenario.piece(c, p, l.now)
}

// clientFrame masks a control frame. Data frames are made by the scenario.
func clientFrame(f ws.Frame) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(f))
}

// send gives p to the kernel behind what waits already.
func (l *loop) send(c *conn, p []byte) error {
	if len(c.out) > 0 {
		if len(c.out)+len(p) > l.maxOut {
			return errBacklog
		}
		c.out = append(c.out, p...)
		return nil
	}
	n, err := sendAll(c, p)
	if n < len(p) && err == nil {
		c.out = append(c.out, p[n:]...)
	}
	return err
}

func (l *loop) flush(c *conn) error {
	n, err := sendAll(c, c.out)
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
	}
	return err
}

// sendAll goes on until p is taken or the kernel takes no more.
func sendAll(c *conn, p []byte) (sent int, err error) {
	for sent < len(p) {
		n, err := netpoll.Send(int(c.fd), p[sent:])
		if err == netpoll.ErrWouldBlock {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}
