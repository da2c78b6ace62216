//go:build linux

package server

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// pass makes d pass by the server's clock.
func pass(s *Server, d time.Duration) {
	s.clock.out.Add(-int64(d))
	for _, l := range s.loops() {
		l.rouse()
	}
}

// way is how a connection comes to a server.
type way struct {
	name    string
	mounted bool // in an http.Server of the test's
	unix    bool
}

var ways = []way{{name: "own listener"}, {name: "mounted", mounted: true}, {name: "unix socket", unix: true}}

// meet opens a connection that way, whose kernels hold little.
func (v way) meet(t *testing.T, s *Server, o Options, headers ...string) (p *peer, c *Conn, j journal) {
	t.Helper()
	j = newJournal()
	o.SendBuffer = orDefault(o.SendBuffer, smallBuffer)
	ep := s.Handle("/", j.keep(o))
	switch {
	case v.unix:
		p = openUnix(t, s, headers...)
	case v.mounted:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		web := &http.Server{Handler: ep}
		go web.Serve(l)
		t.Cleanup(func() { s.Close(); web.Close() })
		p = openWith(t, l.Addr().String(), "/", smallBuffer, headers...)
	default:
		p = openWith(t, serve(t, s), "/", smallBuffer, headers...)
	}
	return p, j.want(t, "open").conn, j
}

// outstanding returns the bytes that wait for c, in the process and in the kernel.
func outstanding(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.has(stDead | stGone) {
		return 0
	}
	n := netpoll.Unacked(int(c.fd))
	if c.out != nil {
		n += c.out.bytes()
	}
	return n
}
