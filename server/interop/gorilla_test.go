package interop

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla is the adapter of github.com/gorilla/websocket.
type gorilla struct {
	conn    *websocket.Conn
	answers []string
}

func dialGorilla(ctx context.Context, c conversation) (peer, agreed, error) {
	d := websocket.Dialer{Subprotocols: c.Subprotocols, EnableCompression: c.Offer != nil}
	d.WriteBufferSize = 1 << 20 // it ends a frame where the buffer is full, and only there
	for _, m := range c.Messages {
		if m.Frames > 1 {
			d.WriteBufferSize = 16
		}
	}
	conn, response, err := d.DialContext(ctx, c.URL, nil)
	if err != nil {
		return nil, agreed{}, err
	}
	g := &gorilla{conn: conn}
	conn.SetPongHandler(func(data string) error { g.answers = append(g.answers, data); return nil })
	return g, agreed{response.Header.Get("Sec-WebSocket-Extensions"), conn.Subprotocol()}, nil
}

func (g *gorilla) send(m message) error {
	kind := websocket.BinaryMessage
	if m.Text {
		kind = websocket.TextMessage
	}
	w, err := g.conn.NextWriter(kind)
	if err != nil {
		return err
	}
	all := m.pieces()
	for i, piece := range all {
		if i == len(all)-1 {
			if err := g.ping(m.Ping); err != nil {
				return err
			}
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Close()
}

func (g *gorilla) ping(data string) error {
	if data == "" {
		return nil
	}
	return g.conn.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(patience))
}

func (g *gorilla) receive() (bool, []byte, error) {
	kind, data, err := g.conn.ReadMessage()
	if end, ok := errors.AsType[*websocket.CloseError](err); ok && end.Code != websocket.CloseAbnormalClosure {
		return false, nil, &closed{closing{end.Code, end.Text}}
	}
	return kind == websocket.TextMessage, data, err
}

func (g *gorilla) shut(with closing) error {
	frame := websocket.FormatCloseMessage(with.Code, with.Reason)
	return g.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(patience))
}

func (g *gorilla) pongs() []string { return g.answers }

func (g *gorilla) drop() { g.conn.Close() }
