package main

import (
	"net/http"

	"github.com/antlabs/quickws"
)

// serveQuickWS follows the library's own guide: an upgrader with a callback for each path, and a
// goroutine that reads. The ticks come from one goroutine, as with gws. The library has nothing for
// broadcasts, so the goroutine that read the message writes it to all.
func serveQuickWS(s *settings) error {
	r := newRota(s, func(c *quickws.Conn) error {
		return c.WriteMessage(quickws.Text, []byte(woohoo))
	})
	members := newRoster[*quickws.Conn](s)
	broadcast := func(_ *quickws.Conn, op quickws.Opcode, message []byte) {
		for _, c := range members.all() {
			_ = c.WriteMessage(op, message) // who can't be sent to is about to leave
		}
	}
	nothing := func(*quickws.Conn) {}
	return serveHTTP(s,
		quickwsHandler(r.join, func(*quickws.Conn, quickws.Opcode, []byte) {}, nothing),
		quickwsHandler(nothing, quickwsEcho, nothing),
		quickwsHandler(members.join, broadcast, members.leave))
}

// quickwsHandler leaves the library's close callback alone, which does not come if the close frame of
// the peer can't be answered.
func quickwsHandler(
	open func(*quickws.Conn), message func(*quickws.Conn, quickws.Opcode, []byte), leave func(*quickws.Conn),
) http.HandlerFunc {
	u := quickws.NewUpgrade(quickws.WithServerReplyPing(),
		quickws.WithServerCallbackFunc(open, quickwsData(message), func(*quickws.Conn, error) {}))
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go func() {
			_ = c.ReadLoop()
			leave(c)
		}()
	}
}

// quickwsData keeps from message the pings, which the library has answered, and the pongs.
func quickwsData(message func(*quickws.Conn, quickws.Opcode, []byte)) func(*quickws.Conn, quickws.Opcode, []byte) {
	return func(c *quickws.Conn, op quickws.Opcode, data []byte) {
		if op == quickws.Text || op == quickws.Binary {
			message(c, op, data)
		}
	}
}

func quickwsEcho(c *quickws.Conn, op quickws.Opcode, message []byte) { c.WriteMessage(op, message) }
