package main

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaUpgrader websocket.Upgrader

// serveGorilla is the textbook form: the handler's goroutine reads, a second one writes, and each
// connection has a ticker of its own.
func serveGorilla(addr string) error {
	return serveHTTP(addr, gorillaTick, gorillaEcho)
}

func gorillaTick(w http.ResponseWriter, r *http.Request) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	done := make(chan struct{})
	defer close(done)
	go gorillaWrite(c, done)
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func gorillaWrite(c *websocket.Conn, done <-chan struct{}) {
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
