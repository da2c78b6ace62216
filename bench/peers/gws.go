package main

import (
	"net/http"

	"github.com/lxzan/gws"
)

// serveGWS follows the library's own guide: the upgrade in an http.Handler that starts ReadLoop in
// a goroutine and returns, so that what the request took is freed. The guide has no form for
// ticking; a ticker and a goroutine a connection would cost what gorilla's cost, so the users who
// count connections run one goroutine for all, which is what this does.
func serveGWS(addr string) error {
	r := newRota(func(c *gws.Conn) error { return c.WriteString(woohoo) })
	tick := gws.NewUpgrader(&gwsTick{rota: r}, nil)
	echo := gws.NewUpgrader(&gwsEcho{}, nil)
	return serveHTTP(addr, gwsHandler(tick), gwsHandler(echo))
}

func gwsHandler(u *gws.Upgrader) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	}
}

type gwsTick struct {
	gws.BuiltinEventHandler
	rota *rota[*gws.Conn]
}

func (h *gwsTick) OnOpen(c *gws.Conn) { h.rota.join(c) }

func (h *gwsTick) OnMessage(_ *gws.Conn, m *gws.Message) { m.Close() }

type gwsEcho struct {
	gws.BuiltinEventHandler
}

func (h *gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}
