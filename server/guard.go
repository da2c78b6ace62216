package server

import (
	"fmt"
	"runtime/debug"
)

// This file calls into the embedder's code, and keeps its panics to the connection that it was called for.
// The owner of the turn runs it. Shutdown recognises a handler by the names of the four calls (inside.go).

func (c *Conn) callOpen(w *worker, r *Request) {
	defer w.timed(&c.ep.slow, w.start(&c.ep.slow))
	returned := false
	defer c.guard("OnOpen", &returned)
	c.ep.opts.OnOpen(c, r)
	returned = true
}

func (c *Conn) callMessage(w *worker, m Message) {
	defer w.timed(&c.ep.slow, w.start(&c.ep.slow))
	returned := false
	defer c.guard("OnMessage", &returned)
	c.ep.opts.OnMessage(c, m)
	returned = true
}

func (c *Conn) callTick(w *worker) {
	defer w.timed(&c.ep.slowTicks, w.start(&c.ep.slowTicks))
	returned := false
	defer c.guard("OnTick", &returned)
	c.ep.opts.OnTick(c)
	returned = true
}

func (c *Conn) callClose(w *worker, why Closing) {
	defer w.timed(&c.ep.slow, w.start(&c.ep.slow))
	returned := false
	defer c.guard("OnClose", &returned)
	c.ep.opts.OnClose(c, why)
	returned = true
}

// guard keeps a handler's panic to its own connection. One that ends its goroutine with runtime.Goexit is
// noted here in the same way; what that leaves behind is for goexited.
func (c *Conn) guard(handler string, returned *bool) {
	if *returned {
		return
	}
	cause := recover()
	c.loop.stats.panics.Add(1)
	defer func() { // whatever becomes of the log
		c.mu.Lock()
		defer c.mu.Unlock()
		c.startClose(Closing{Cause: Panicked, Code: CodeInternal, Reason: "internal error"})
	}()
	c.loop.srv.logPanic(cause, "handler", handler, "path", c.ep.path, "conn", c.id, "remote", c.RemoteAddr())
}

// logPanic logs why a handler did not return. The cause is the handler's, and a log's handler that is not of
// the standard library may panic over it: then it is logged without.
func (s *Server) logPanic(cause any, about ...any) {
	if cause == nil {
		cause = "runtime.Goexit"
	}
	about = append(about, "stack", string(debug.Stack()))
	defer func() {
		if recover() != nil {
			s.log().Error("handler panicked", append(about, "panic", fmt.Sprintf("a %T that can't be logged", cause))...)
		}
	}()
	s.log().Error("handler panicked", append(about, "panic", cause)...)
}
