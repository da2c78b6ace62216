package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

// This file is the server of the measurements in misbehaviours.go: an echo whose handler misbehaves where a message
// asks for it.

const (
	// longestBlock and mostAllocated bound what a message may ask for.
	longestBlock  = 10 * time.Second
	mostAllocated = 256 << 20
	// pageSize is the distance at which bytes are written to, so that all of the memory is really taken.
	pageSize = 4096
)

// misbehavingCmd serves an echo at /echo, where a text message is what the handler is to do before it sends
// it back: block or compute for a while, panic, allocate bytes, or call back. It is not for people.
type misbehavingCmd struct {
	Addr string `default:"127.0.0.1:0"`
}

// Run implements the subcommand.
func (c *misbehavingCmd) Run(to streams) error {
	return serveSubject(c.Addr, to, func(logger *slog.Logger) service {
		m := &misbehaving{srv: &server.Server{Logger: logger}}
		m.srv.Handle("/echo", server.Options{OnMessage: m.message})
		return m.srv
	})
}

// misbehaving is what its handlers share.
type misbehaving struct {
	srv  *server.Server
	last atomic.Pointer[server.Conn] // that called back
}

func (m *misbehaving) message(c *server.Conn, msg server.Message) {
	if msg.Kind == server.Text {
		what, arg, _ := strings.Cut(string(msg.Data), " ")
		if err := m.do(c, what, arg); err != nil {
			c.CloseWith(server.CodePolicy, err.Error())
			return
		}
	}
	c.Write(msg.Kind, msg.Data)
}

// do is what a message asks for.
func (m *misbehaving) do(c *server.Conn, what, arg string) error {
	switch what {
	case "block":
		return during(arg, time.Sleep)
	case "compute":
		return during(arg, bench.Compute)
	case "panic":
		panic("as it was asked to")
	case "allocate":
		var n int
		if _, err := fmt.Sscan(arg, &n); err != nil || n < 0 || n > mostAllocated {
			return fmt.Errorf("want %d bytes at the most", mostAllocated)
		}
		allocate(n)
	case "call":
		return m.call(c)
	default:
		return fmt.Errorf("there is no misdeed of that name")
	}
	return nil
}

// during does it for as long as a message asks for.
func during(arg string, do func(time.Duration)) error {
	d, err := time.ParseDuration(arg)
	if err != nil || d < 0 || d > longestBlock {
		return fmt.Errorf("want a duration up to %v", longestBlock)
	}
	do(d)
	return nil
}

// allocate has n bytes for a moment, all of them resident.
func allocate(n int) {
	p := make([]byte, n)
	for i := 0; i < n; i += pageSize {
		p[i] = 1
	}
	runtime.KeepAlive(p)
}

// call calls what there is to call from a handler: on its own connection, on all of them, on the server, and
// on the connection that called before, whose handler may be at the same just now. Both are closed.
func (m *misbehaving) call(c *server.Conn) error {
	c.SetValue(c.Buffered())
	if err := c.SetEvery(time.Hour); err != nil && err != server.ErrClosed {
		return err
	}
	n := 0
	for range c.Endpoint().Conns() {
		n++
	}
	m.srv.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	if err := m.srv.Healthy(ctx); err != nil {
		return err
	}
	if other := m.last.Swap(c); other != nil {
		other.CloseWith(server.CodeNormal, "by another")
	}
	c.CloseWith(server.CodeNormal, "by itself")
	return nil
}
