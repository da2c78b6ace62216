//go:build linux

package server

import (
	"testing"

	"github.com/gobwas/ws"
)

// TestBroadcastToManyPages: where several goroutines send, each connection still has each message once,
// and two messages in their order.
func TestBroadcastToManyPages(t *testing.T) {
	t.Parallel()
	const n = 2*tablePage + 5
	s := &Server{}
	ep := s.Handle("/", Options{})
	other := s.Handle("/other", Options{})
	addr := serve(t, s)
	var peers []*peer
	for range n {
		peers = append(peers, open(t, addr, "/"))
	}
	stranger := open(t, addr, "/other")
	await(t, "all are open", func() bool { return ep.Len() == n && other.Len() == 1 })
	for _, text := range []string{"one", "two"} {
		if b := ep.Broadcast(PrepareText(text)); b != (Tally{Sent: n}) {
			t.Errorf("%q: %+v, want all %d sent", text, b, n)
		}
	}
	other.Broadcast(PrepareText("end"))
	for _, p := range peers {
		p.want(ws.OpText, "one")
		p.want(ws.OpText, "two")
	}
	stranger.want(ws.OpText, "end")
}
