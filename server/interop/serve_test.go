package interop

import (
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stillpool/stillpool/server"
)

// echo is a server for the time of a test.
type echo struct {
	addr string
	ends chan server.Closing // of connections, as the server saw them
}

// serve runs a server that sends every message back on /echo, and closes when it is told to: the
// query of /echo?after=2&code=3000&reason=enough has it say that behind the second message.
func serve(t *testing.T, compression server.Compression) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: l.Addr().String(), ends: make(chan server.Closing, 1)}
	srv := &server.Server{Logger: slog.New(slog.DiscardHandler)}
	srv.Handle("/echo", server.Options{
		OnOpen:       opened,
		OnMessage:    echoed,
		OnClose:      func(_ *server.Conn, why server.Closing) { e.ends <- why },
		Origins:      []string{"*"}, // the browser's page is another server's
		Subprotocols: spoken,
		Backlog:      16 << 20, // nobody waits for an answer before the next question
		Compression:  compression,
	})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != server.ErrServerClosed {
			t.Error(err)
		}
	})
	return e
}

// farewell is what the server is to close with, and behind how many messages.
type farewell struct {
	after  int
	code   server.Code
	reason string
}

func opened(c *server.Conn, r *server.Request) {
	query := r.Query()
	if !query.Has("after") {
		return
	}
	after, _ := strconv.Atoi(query.Get("after"))
	code, _ := strconv.Atoi(query.Get("code"))
	f := &farewell{after, server.Code(code), query.Get("reason")}
	c.SetValue(f)
	f.closeIfDue(c)
}

func echoed(c *server.Conn, m server.Message) {
	c.Write(m.Kind, m.Data)
	if f, ok := c.Value().(*farewell); ok {
		f.after--
		f.closeIfDue(c)
	}
}

func (f *farewell) closeIfDue(c *server.Conn) {
	if f.after == 0 {
		c.CloseWith(f.code, f.reason)
	}
}

// end is how the server saw the connection end.
func (e *echo) end(t *testing.T) server.Closing {
	t.Helper()
	select {
	case why := <-e.ends:
		return why
	case <-time.After(patience):
		t.Fatal("the server saw no connection end")
		panic("unreachable")
	}
}
