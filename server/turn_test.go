//go:build linux

package server

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// inTurn runs f with the turn of a connection for which there is nothing to do, and then lets go.
func inTurn(t *testing.T, c *Conn, f func(w *worker)) {
	t.Helper()
	w := &worker{role: onLoop, srv: c.loop.srv, buf: make([]byte, readBuffer)}
	quietly(t, c, func() {
		c.state |= stTurn
		w.stage = c.state
	})
	f(w)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state |= stReadable
	c.letGo()
}

// TestTurnIsBoundedInFrames: fragments and pings cost what messages do, so each counts. The rest waits
// for the next turn, and is not copied for each.
func TestTurnIsBoundedInFrames(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := met(t, s, Options{})
		empty := cont(false, "")
		stream := cat(fragment(ws.OpText, false, "x"), bytes.Repeat(empty, 3*turnFrames), cont(true, "y"))
		inTurn(t, c, func(w *worker) {
			c.frames(w, bytes.Clone(stream), false)
			behind := len(stream) - turnFrames*len(empty) - 1
			if !w.yield || len(c.in.rest) != behind {
				t.Fatalf("yields %v with %d bytes left, want %d", w.yield, len(c.in.rest), behind)
			}
			w.yield = false
			rest := c.takeRest()
			c.frames(w, rest, true)
			if !w.yield || &c.in.rest[0] != &rest[turnFrames*len(empty)] {
				t.Errorf("yields %v; what is its own was copied", w.yield)
			}
		})
		if e := j.want(t, "message"); e.data != "xy" {
			t.Errorf("came %q", e.data)
		}
		p.want(ws.OpText, "xy")
	})
}

// TestTurnOnceARound: who waits in the queue gets no turn for what comes meanwhile.
func TestTurnOnceARound(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, j := met(t, s, Options{})
		w := &worker{role: onLoop, srv: s, buf: make([]byte, readBuffer)}
		quietly(t, c, func() { c.state |= stQueued })
		p.send(frame(ws.OpText, "x"))
		await(t, "it has come", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.state.has(stReadable)
		})
		c.event(w, netpoll.Readable)
		c.mu.Lock()
		if c.state.has(stTurn) || !c.state.has(stReadable|stQueued) {
			t.Errorf("state %b", c.state)
		}
		c.loop.enqueue(c)
		c.mu.Unlock()
		j.want(t, "message")
	})
}
