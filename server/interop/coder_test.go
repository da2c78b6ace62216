package interop

import (
	"context"
	"errors"

	"github.com/coder/websocket"
)

// coder is the adapter of github.com/coder/websocket.
type coder struct {
	ctx     context.Context
	conn    *websocket.Conn
	answers []string
	end     *closed // of a close handshake that this side began
}

func dialCoder(ctx context.Context, c conversation) (peer, agreed, error) {
	o := &websocket.DialOptions{Subprotocols: c.Subprotocols}
	switch {
	case c.Offer == nil:
		o.CompressionMode = websocket.CompressionDisabled
	case c.Offer.ServerFresh:
		o.CompressionMode = websocket.CompressionNoContextTakeover
	default:
		o.CompressionMode = websocket.CompressionContextTakeover
	}
	conn, response, err := websocket.Dial(ctx, c.URL, o)
	if err != nil {
		return nil, agreed{}, err
	}
	conn.SetReadLimit(-1)
	return &coder{ctx: ctx, conn: conn}, agreed{response.Header.Get("Sec-WebSocket-Extensions"), conn.Subprotocol()}, nil
}

func (c *coder) send(m message) error {
	kind := websocket.MessageBinary
	if m.Text {
		kind = websocket.MessageText
	}
	all := m.pieces()
	if len(all) == 1 {
		if err := c.ping(m.Ping); err != nil {
			return err
		}
		return c.conn.Write(c.ctx, kind, m.Data)
	}
	w, err := c.conn.Writer(c.ctx, kind)
	if err != nil {
		return err
	}
	for i, piece := range all {
		if i == len(all)-1 {
			if err := c.ping(m.Ping); err != nil {
				return err
			}
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Close()
}

// ping waits for its answer. The library chooses the payload, and knows the answer by it.
func (c *coder) ping(data string) error {
	if data == "" {
		return nil
	}
	if err := c.conn.Ping(c.ctx); err != nil {
		return err
	}
	c.answers = append(c.answers, data)
	return nil
}

func (c *coder) receive() (bool, []byte, error) {
	if c.end != nil {
		return false, nil, c.end
	}
	kind, data, err := c.conn.Read(c.ctx)
	if end, ok := errors.AsType[websocket.CloseError](err); ok {
		return false, nil, &closed{closing{int(end.Code), end.Reason}}
	}
	return kind == websocket.MessageText, data, err
}

// shut waits for the server's answer, of which the library tells no more than that it has the same
// code.
func (c *coder) shut(with closing) error {
	if err := c.conn.Close(websocket.StatusCode(with.Code), with.Reason); err != nil {
		return err
	}
	c.end = &closed{closing{Code: with.Code}}
	return nil
}

func (c *coder) pongs() []string { return c.answers }

func (c *coder) drop() { c.conn.CloseNow() }
