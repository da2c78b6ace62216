package interop

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stillpool/stillpool/server"
)

// Packets of engine.io's protocol 4, as its websocket transport frames them: a text message begins with
// the type, a binary one has none and is of type message.
var (
	eioOpen = server.PrepareText(`0{"sid":"one","upgrades":[],"pingInterval":100,"pingTimeout":20000,"maxPayload":1000000}`)
	eioPing = server.PrepareText("2")
)

const eioPong, eioMessage = '3', '4'

// TestEngineIO lets engine.io's own client talk to handlers that speak that much of its protocol.
func TestEngineIO(t *testing.T) {
	t.Parallel()
	takesPart(t, "engine.io")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var pongs atomic.Int32
	ends := make(chan server.Closing, 1)
	srv := &server.Server{Logger: slog.New(slog.DiscardHandler)}
	srv.Handle("/engine.io/", server.Options{
		Every:  100 * time.Millisecond,
		OnOpen: func(c *server.Conn, _ *server.Request) { c.Send(eioOpen) },
		OnTick: func(c *server.Conn) { c.Send(eioPing) },
		OnMessage: func(c *server.Conn, m server.Message) {
			switch {
			case m.Kind == server.Binary, m.Data[0] == eioMessage:
				c.Write(m.Kind, m.Data)
			case m.Data[0] == eioPong:
				pongs.Add(1)
			}
		},
		OnClose: func(_ *server.Conn, why server.Closing) { ends <- why },
	})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-served })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said, err := exec.CommandContext(ctx, "node", "js/engineio.mjs", "ws://"+l.Addr().String()).Output()
	var r struct {
		ID, Transport, Reason, Error string
		Same, Heartbeats             int
	}
	if err == nil {
		err = json.Unmarshal(said, &r)
	}
	if err != nil || r.Error != "" {
		t.Fatalf("%s: %v", said, err)
	}
	if r.ID != "one" || r.Transport != "websocket" || r.Same != 5 || r.Reason != "forced close" || pongs.Load() == 0 {
		t.Errorf("the client saw %s, the server %d heartbeats", said, pongs.Load())
	}
	if why := <-ends; why.Cause != server.PeerClosed || !slices.Contains([]server.Code{server.CodeNone, server.CodeNormal}, why.Code) {
		t.Errorf("the server saw the end %+v", why)
	}
}
