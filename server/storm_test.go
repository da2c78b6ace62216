//go:build linux

package server

import (
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestStorm: clients that are all dropped at once and all come back at once, some of them before the server
// has seen that they were gone, all get in, storm after storm. Who stayed is not harmed, and nothing is left
// of those who were dropped.
func TestStorm(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const clients, storms = 1000, 3
		ep := s.Handle("/", Options{OnMessage: echo})
		addr := serve(t, s)
		stayed := open(t, addr, "/")
		var came []net.Conn
		t.Cleanup(func() { reset(came) })
		for storm := range storms {
			reset(came)
			came = stormIn(t, addr, clients)
			await(t, "those who were dropped are gone, and the others there", func() bool {
				return s.Stats().Conns == 1+clients && ep.Len() == 1+clients
			})
			st := s.Stats()
			if st.Handshakes != 0 || st.Rests != 0 || st.Accepted != uint64(1+clients*(storm+1)) {
				t.Fatalf("storm %d: %d refused, %d rests, %d accepted", storm, st.Handshakes, st.Rests, st.Accepted)
			}
			if st.Handshaking != 0 || st.Closing != 0 || st.Closed != uint64(clients*storm) || st.AcceptQueue != 0 {
				t.Fatalf("storm %d: %d handshakes, %d closing, %d closed, %d to be accepted", storm, st.Handshaking, st.Closing, st.Closed, st.AcceptQueue)
			}
			stayed.send(frame(ws.OpText, "here"))
			stayed.want(ws.OpText, "here")
		}
		if st := s.Stats(); st.AcceptQueueLimit == 0 {
			t.Error("it is not told how many connections may wait to be accepted")
		}
		reset(came)
		await(t, "all are gone", func() bool { return s.Stats().Conns == 1 && ep.Len() == 1 })
	})
}

// stormIn has so many clients connect, all before the first of them says anything, and then upgrade.
func stormIn(t *testing.T, addr string, clients int) (all []net.Conn) {
	t.Helper()
	for range clients {
		c, err := net.DialTimeout("tcp", addr, bound)
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(bound)))
		all = append(all, c)
	}
	for _, c := range all {
		_, err := c.Write(upgradeTo("/"))
		must(t, err)
	}
	for _, c := range all {
		var b [512]byte
		n, err := c.Read(b[:])
		if err != nil || n < 12 || string(b[:12]) != "HTTP/1.1 101" {
			t.Fatalf("it came back, and the answer is %q, %v", b[:n], err)
		}
	}
	return all
}

// reset ends connections without any more ado; one may be ended by now.
func reset(all []net.Conn) {
	for _, c := range all {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}
