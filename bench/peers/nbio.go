package main

import (
	"context"
	"net/http"
	"time"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// serveNbio runs the library in its default, non-blocking mode. The ticks come from one goroutine,
// as with gws. Two defaults had to go, as they do for everybody who holds many idle connections:
// at most 10,000 connections, and a connection that is silent for 120 s is closed.
func serveNbio(addr string) error {
	r := newRota(func(c *websocket.Conn) error {
		return c.WriteMessage(websocket.TextMessage, []byte(woohoo))
	})
	ignore := func(*websocket.Conn, websocket.MessageType, []byte) {}
	echo := func(c *websocket.Conn, op websocket.MessageType, message []byte) {
		c.WriteMessage(op, message)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", nbioHandler(r.join, ignore))
	mux.HandleFunc("/echo", nbioHandler(func(*websocket.Conn) {}, echo))

	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{addr},
		MaxLoad:                 1 << 20,
		ReleaseWebsocketPayload: true,
		Handler:                 mux,
		IOMod:                   nbhttp.IOModNonBlocking,
	})
	if err := engine.Start(); err != nil {
		return err
	}
	<-context.Background().Done() // the engine has goroutines of its own, and no Wait
	return nil
}

func nbioHandler(
	open func(*websocket.Conn), message func(*websocket.Conn, websocket.MessageType, []byte),
) http.HandlerFunc {
	u := websocket.NewUpgrader()
	u.KeepaliveTime = 0
	u.OnOpen(func(c *websocket.Conn) {
		c.SetReadDeadline(time.Time{}) // the one that was set for the request
		open(c)
	})
	u.OnMessage(message)
	return func(w http.ResponseWriter, r *http.Request) { u.Upgrade(w, r, nil) }
}
