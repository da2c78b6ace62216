package main

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaUpgrader websocket.Upgrader

// serveGorilla is the textbook form: the handler's goroutine reads, a second one writes, and each
// connection has a ticker of its own. Buffers are those that net/http had for the request.
func serveGorilla(s *settings) error {
	members := newRoster[*gorillaMember](s)
	return serveHTTP(s,
		func(w http.ResponseWriter, r *http.Request) { gorillaTick(w, r, s.every) },
		gorillaEcho,
		func(w http.ResponseWriter, r *http.Request) { gorillaBroadcast(w, r, members) })
}

func gorillaTick(w http.ResponseWriter, r *http.Request, every time.Duration) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	done := make(chan struct{})
	defer close(done)
	go gorillaTicks(c, every, done)
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func gorillaTicks(c *websocket.Conn, every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			if err := c.WriteMessage(websocket.TextMessage, []byte(woohoo)); err != nil {
				c.Close()
				return
			}
		}
	}
}

func gorillaEcho(w http.ResponseWriter, r *http.Request) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		op, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(op, message); err != nil {
			return
		}
	}
}

// gorillaMember has a goroutine that writes what others left in its queue: the library allows one
// writer at a time.
type gorillaMember struct {
	*websocket.Conn
	queue chan *websocket.PreparedMessage
}

func gorillaBroadcast(w http.ResponseWriter, r *http.Request, members *roster[*gorillaMember]) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	m := &gorillaMember{c, make(chan *websocket.PreparedMessage, memberQueue)}
	members.join(m)
	defer c.Close()
	defer members.leave(m)
	done := make(chan struct{})
	defer close(done)
	go m.write(done)
	for {
		op, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(op, message)
		if err != nil {
			return
		}
		for _, m := range members.all() {
			m.send(prepared)
		}
	}
}

// send never waits.
func (m *gorillaMember) send(message *websocket.PreparedMessage) {
	select {
	case m.queue <- message:
	default:
		m.Close()
	}
}

func (m *gorillaMember) write(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case message := <-m.queue:
			if err := m.WritePreparedMessage(message); err != nil {
				m.Close()
				return
			}
		}
	}
}
