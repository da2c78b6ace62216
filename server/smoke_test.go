package server

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

func TestSmoke(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	srv := &Server{}
	woo := PrepareText("Woohoo!")
	srv.Handle("/ws", Options{Every: 100 * time.Millisecond, OnTick: func(c *Conn) { c.Send(woo) }, OnMessage: func(c *Conn, m Message) { c.Write(m.Kind, m.Data) },
		OnClose: func(c *Conn, why Closing) { t.Logf("%+v", why) }})
	done := make(chan error)
	go func() { err := srv.Serve(l); t.Log(err); done <- err }()
	conn, _, _, err := ws.Dial(context.Background(), "ws://"+l.Addr().String()+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b, op, err := wsutil.ReadServerData(conn)
		t.Log(string(b), op, err)
	}
	big := make([]byte, 500000)
	wsutil.WriteClientBinary(conn, big)
	for {
		b, _, err := wsutil.ReadServerData(conn)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == len(big) {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() {
		for {
			_, _, err := wsutil.ReadServerData(conn)
			if err != nil {
				t.Log(err)
				conn.Close()
				return
			}
		}
	}()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(<-done)
	t.Logf("%+v", srv.Stats())
}
