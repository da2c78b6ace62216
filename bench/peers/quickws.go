package main

import (
	"net/http"

	"github.com/antlabs/quickws"
)

// serveQuickWS follows the library's own guide: an upgrader with a callback for each path, and
// StartReadLoop, which starts a goroutine. The ticks come from one goroutine, as with gws.
func serveQuickWS(addr string) error {
	r := newRota(func(c *quickws.Conn) error {
		return c.WriteMessage(quickws.Text, []byte(woohoo))
	})
	tick := quickws.NewUpgrade(quickws.WithServerReplyPing(),
		quickws.WithServerCallbackFunc(r.join, quickwsIgnore, quickwsClosed))
	echo := quickws.NewUpgrade(quickws.WithServerReplyPing(),
		quickws.WithServerCallbackFunc(func(*quickws.Conn) {}, quickwsEcho, quickwsClosed))
	return serveHTTP(addr, quickwsHandler(tick), quickwsHandler(echo))
}

func quickwsHandler(u *quickws.UpgradeServer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		c.StartReadLoop()
	}
}

func quickwsEcho(c *quickws.Conn, op quickws.Opcode, message []byte) { c.WriteMessage(op, message) }

func quickwsIgnore(*quickws.Conn, quickws.Opcode, []byte) {}

func quickwsClosed(*quickws.Conn, error) {}
