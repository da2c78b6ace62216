package server

import (
	"iter"
	"sync/atomic"
)

// Endpoint is a path and what is spoken there. Its methods may be called from any goroutine.
type Endpoint struct {
	srv     *Server
	path    string
	opts    Options
	origins []originPattern

	open   atomic.Int64
	phases atomic.Uint64 // of ticks that were given out

	slow, slowTicks slowness // whether handlers are handed over, see watch.go
}

// Path is what the endpoint was made with.
func (ep *Endpoint) Path() string { return ep.path }

// Len is how many connections are open. One whose OnClose has not returned counts.
func (ep *Endpoint) Len() int { return int(ep.open.Load()) }

// Conns iterates over the open connections. One that opens or closes meanwhile may or may not be
// among them. No lock is held while the loop's body runs, so it may do anything.
func (ep *Endpoint) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, l := range ep.srv.loops() {
			if !l.each(func(c *Conn) bool { return !c.isOpenOn(ep) || yield(c) }) {
				return
			}
		}
	}
}

func (c *Conn) isOpenOn(ep *Endpoint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ep == ep && !c.state.has(stCloseSent|stDead|stGone)
}
