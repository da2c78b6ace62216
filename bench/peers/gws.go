package main

import (
	"net/http"

	"github.com/lxzan/gws"
)

// serveGWS follows the library's own guide: the upgrade in an http.Handler that starts ReadLoop in
// a goroutine and returns, so that what the request took is freed. The guide has no form for
// ticking; a ticker and a goroutine a connection would cost what gorilla's cost, so the users who
// count connections run one goroutine for all, which is what this does.
func serveGWS(s *settings) error {
	r := newRota(s, func(c *gws.Conn) error { return c.WriteString(woohoo) })
	members := gws.NewConcurrentMap[*gws.Conn, struct{}]()
	s.count("members", members.Len)
	return serveHTTP(s, gwsHandler(&gwsTick{rota: r}), gwsHandler(&gwsEcho{}), gwsHandler(&gwsBroadcast{members: members}))
}

func gwsHandler(events gws.Event) http.HandlerFunc {
	u := gws.NewUpgrader(events, nil)
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	}
}

// gwsPong answers pings with what they say; the built-in handler answers with nothing.
type gwsPong struct {
	gws.BuiltinEventHandler
}

func (gwsPong) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

type gwsTick struct {
	gwsPong
	rota *rota[*gws.Conn]
}

func (h *gwsTick) OnOpen(c *gws.Conn) { h.rota.join(c) }

func (h *gwsTick) OnMessage(_ *gws.Conn, m *gws.Message) { m.Close() }

type gwsEcho struct{ gwsPong }

func (h *gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

type gwsBroadcast struct {
	gwsPong
	members *gws.ConcurrentMap[*gws.Conn, struct{}]
}

func (h *gwsBroadcast) OnOpen(c *gws.Conn) { h.members.Store(c, struct{}{}) }

func (h *gwsBroadcast) OnClose(c *gws.Conn, _ error) { h.members.Delete(c) }

func (h *gwsBroadcast) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	h.members.Range(func(c *gws.Conn, _ struct{}) bool {
		_ = b.Broadcast(c) // who can't be sent to is about to leave
		return true
	})
}
