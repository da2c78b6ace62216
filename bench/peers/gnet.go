package main

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
)

const (
	gnetMaxHead    = 8 << 10  // of the request
	gnetMaxMessage = 16 << 20 // gws' default
)

var (
	errGnetHead    = errors.New("gnet: the head of the request is too long")
	errGnetMessage = errors.New("gnet: the message is too long")
	errGnetText    = errors.New("gnet: the text is not UTF-8")
	errGnetClosed  = errors.New("gnet: the connection is closed")
)

// serveGnet is a codec on the event loops of gnet, which knows no WebSocket, by way of gobwas/ws: a
// loop takes what is whole off its buffer and leaves the rest there. Who is not on the loop of a
// connection, as the ticks and most broadcasts are, writes by AsyncWrite, which queues for the loop.
func serveGnet(s *settings) error {
	g := &gnetServer{members: newRoster[*gnetConn](s)}
	tick := gobwasFrame(ws.OpText, []byte(woohoo))
	g.rota = newRota(s, func(c *gnetConn) error { return c.sendLater(tick) })
	return gnet.Run(g, "tcp://"+s.addr, gnet.WithMulticore(true))
}

type gnetServer struct {
	gnet.BuiltinEventEngine
	rota    *rota[*gnetConn]
	members *roster[*gnetConn]
}

// gnetConn is what is kept of a connection between two calls. It belongs to the connection's loop,
// but for closed.
type gnetConn struct {
	gnet.Conn
	closed   atomic.Bool
	upgraded bool
	endpoint endpoint
	op       ws.OpCode // of the message whose fragments are coming, or 0
	parts    []byte    // of it
}

// OnOpen implements gnet.EventHandler.
func (g *gnetServer) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(&gnetConn{Conn: c})
	return nil, gnet.None
}

// OnClose implements gnet.EventHandler.
func (g *gnetServer) OnClose(conn gnet.Conn, _ error) gnet.Action {
	c := conn.Context().(*gnetConn)
	c.closed.Store(true)
	g.members.leave(c)
	return gnet.None
}

// OnTraffic implements gnet.EventHandler.
func (g *gnetServer) OnTraffic(conn gnet.Conn) gnet.Action {
	c := conn.Context().(*gnetConn)
	whole, err := true, error(nil)
	for whole && err == nil && c.InboundBuffered() > 0 {
		if c.upgraded {
			whole, err = g.frame(c)
		} else {
			whole, err = g.upgrade(c)
		}
	}
	if err != nil {
		return gnet.Close
	}
	return gnet.None
}

// upgrade answers the request if its head is whole.
func (g *gnetServer) upgrade(c *gnetConn) (whole bool, err error) {
	head, err := c.Peek(-1)
	if err != nil {
		return false, err
	}
	end := bytes.Index(head, []byte("\r\n\r\n")) + 4
	if end < 4 {
		if len(head) >= gnetMaxHead {
			return false, errGnetHead
		}
		return false, nil
	}
	if c.endpoint, err = gobwasUpgrade(readWriter{bytes.NewReader(head[:end]), c}); err != nil {
		return false, err
	}
	c.upgraded = true
	switch c.endpoint {
	case tickEndpoint:
		g.rota.join(c)
	case broadcastEndpoint:
		g.members.join(c)
	}
	_, err = c.Discard(end)
	return true, err
}

type readWriter struct {
	io.Reader
	io.Writer
}

// frame serves the next frame if it is whole.
func (g *gnetServer) frame(c *gnetConn) (whole bool, err error) {
	head, err := c.Peek(min(ws.MaxHeaderSize, c.InboundBuffered()))
	if err != nil {
		return false, err
	}
	r := bytes.NewReader(head)
	h, err := ws.ReadHeader(r)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return false, nil
	}
	if err == nil {
		err = c.check(h)
	}
	if err != nil {
		return false, c.fail(err)
	}
	start := len(head) - r.Len()
	size := start + int(h.Length)
	if c.InboundBuffered() < size {
		return false, nil
	}
	frame, err := c.Peek(size)
	if err != nil {
		return false, err
	}
	payload := frame[start:]
	ws.Cipher(payload, h.Mask, 0)
	if err := g.payload(c, h, payload); err != nil {
		return false, err
	}
	_, err = c.Discard(size)
	return true, err
}

func (c *gnetConn) check(h ws.Header) error {
	state := ws.StateServerSide
	if c.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return err
	}
	if h.Length > gnetMaxMessage-int64(len(c.parts)) {
		return errGnetMessage
	}
	return nil
}

// fail tells the peer why before the connection is closed.
func (c *gnetConn) fail(err error) error {
	code := ws.StatusProtocolError
	switch err {
	case errGnetMessage:
		code = ws.StatusMessageTooBig
	case errGnetText:
		code = ws.StatusInvalidFramePayloadData
	}
	_ = gobwasWrite(c, ws.OpClose, ws.NewCloseFrameBody(code, err.Error()))
	return err
}

func (g *gnetServer) payload(c *gnetConn, h ws.Header, payload []byte) error {
	switch {
	case h.OpCode == ws.OpPing:
		return gobwasWrite(c, ws.OpPong, payload)
	case h.OpCode == ws.OpPong:
		return nil
	case h.OpCode == ws.OpClose:
		_ = gobwasWrite(c, ws.OpClose, payload[:min(2, len(payload))])
		return errGnetClosed
	case h.Fin && c.op == 0:
		return g.message(c, h.OpCode, payload)
	}
	if c.op == 0 {
		c.op = h.OpCode
	}
	c.parts = append(c.parts, payload...)
	if !h.Fin {
		return nil
	}
	op, message := c.op, c.parts
	c.op, c.parts = 0, nil
	return g.message(c, op, message)
}

func (g *gnetServer) message(c *gnetConn, op ws.OpCode, message []byte) error {
	if op == ws.OpText && !utf8.Valid(message) {
		return c.fail(errGnetText)
	}
	switch c.endpoint {
	case echoEndpoint:
		return gobwasWrite(c, op, message)
	case broadcastEndpoint:
		frame := gobwasFrame(op, message)
		for _, member := range g.members.all() {
			_ = member.sendLater(frame) // who can't be sent to is about to leave
		}
	}
	return nil
}

// sendLater may be called from any goroutine.
func (c *gnetConn) sendLater(frame []byte) error {
	if c.closed.Load() {
		return errGnetClosed
	}
	return c.AsyncWrite(frame, nil)
}
