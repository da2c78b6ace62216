package main

import (
	"net/http"
	"time"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// serveNbio runs the library in its default, non-blocking mode. The ticks come from one goroutine,
// as with gws, and a broadcast is written to all by the handler of the message, as in the library's
// examples: writes don't block. A connection that is silent for 120 s is closed by default, which had
// to go, as it does for everybody who holds many idle connections.
func serveNbio(s *settings) error {
	r := newRota(s, func(c *websocket.Conn) error {
		return c.WriteMessage(websocket.TextMessage, []byte(woohoo))
	})
	members := newRoster[*websocket.Conn](s)
	nothing := func(*websocket.Conn) {}
	ignore := func(*websocket.Conn, websocket.MessageType, []byte) {}
	echo := func(c *websocket.Conn, op websocket.MessageType, message []byte) {
		c.WriteMessage(op, message)
	}
	broadcast := func(_ *websocket.Conn, op websocket.MessageType, message []byte) {
		for _, c := range members.all() {
			_ = c.WriteMessage(op, message) // who can't be sent to is about to leave
		}
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{s.addr},
		ReleaseWebsocketPayload: true,
		Handler: newMux(
			nbioHandler(r.join, ignore, nothing),
			nbioHandler(nothing, echo, nothing),
			nbioHandler(members.join, broadcast, members.leave)),
		IOMod: nbhttp.IOModNonBlocking,
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {} // the engine has goroutines of its own, and no Wait
}

func nbioHandler(
	open func(*websocket.Conn), message func(*websocket.Conn, websocket.MessageType, []byte), leave func(*websocket.Conn),
) http.HandlerFunc {
	u := websocket.NewUpgrader()
	u.KeepaliveTime = 0
	u.OnOpen(func(c *websocket.Conn) {
		c.SetReadDeadline(time.Time{}) // the one that was set for the request
		open(c)
	})
	u.OnMessage(message)
	u.OnClose(func(c *websocket.Conn, _ error) { leave(c) })
	return func(w http.ResponseWriter, r *http.Request) { u.Upgrade(w, r, nil) }
}
