package main

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// coderReadLimit is what gws has by default; this library's default of 32 KiB would refuse the larger
// messages that all others echo.
const coderReadLimit = 16 << 20

// serveCoder is the plain form: the handler's goroutine reads, and where the server speaks by itself a
// second one writes, with a ticker of its own. Writes have no deadline, like those of the others, and
// so no context that could end: the library would start a watch for each.
func serveCoder(s *settings) error {
	members := newRoster[*coderMember](s)
	return serveHTTP(s,
		coderHandler(func(c *websocket.Conn) { coderTick(c, s.every) }),
		coderHandler(coderEcho),
		coderHandler(func(c *websocket.Conn) { coderBroadcast(c, members) }))
}

func coderHandler(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(coderReadLimit)
		serve(c)
	}
}

func coderTick(c *websocket.Conn, every time.Duration) {
	done := make(chan struct{})
	defer close(done)
	go coderTicks(c, every, done)
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return
		}
	}
}

func coderTicks(c *websocket.Conn, every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			if err := c.Write(context.Background(), websocket.MessageText, []byte(woohoo)); err != nil {
				c.CloseNow()
				return
			}
		}
	}
}

func coderEcho(c *websocket.Conn) {
	for {
		kind, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), kind, message); err != nil {
			return
		}
	}
}

// coderMember has a goroutine that writes what others left in its queue, as in the library's own
// chat example. There is no prepared message: each connection encodes its own frame.
type coderMember struct {
	*websocket.Conn
	queue chan coderMessage
}

type coderMessage struct {
	kind websocket.MessageType
	data []byte
}

func coderBroadcast(c *websocket.Conn, members *roster[*coderMember]) {
	m := &coderMember{c, make(chan coderMessage, memberQueue)}
	members.join(m)
	defer members.leave(m)
	done := make(chan struct{})
	defer close(done)
	go m.write(done)
	for {
		kind, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		for _, m := range members.all() {
			m.send(coderMessage{kind, message})
		}
	}
}

// send never waits.
func (m *coderMember) send(message coderMessage) {
	select {
	case m.queue <- message:
	default:
		m.CloseNow()
	}
}

func (m *coderMember) write(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case message := <-m.queue:
			if err := m.Write(context.Background(), message.kind, message.data); err != nil {
				m.CloseNow()
				return
			}
		}
	}
}
