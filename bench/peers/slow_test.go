package main

import (
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// TestSlowMembersAreClosed: where the queue of a member is bounded, one that does not read is closed
// and the others go on.
func TestSlowMembersAreClosed(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"gorilla", nil},
		{"coder", nil},
		{"easygo", []string{"--io-timeout", "1s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.name, c.flags...)
			good, slow := dial(t, s.addr, "/broadcast"), dial(t, s.addr, "/broadcast")
			slow.SetReadBuffer(4 << 10)
			await(t, func() (bool, string) {
				n := s.tables()["members"]
				return n == 2, fmt.Sprintf("%d members", n)
			})
			message := make([]byte, 128<<10)
			const most = 2 * (memberQueue + 100) // the kernel takes a few MiB, too
			for i := 0; s.tables()["members"] == 2; i++ {
				if i == most {
					t.Fatalf("a member that does not read is still there after %d messages", i)
				}
				good.send(ws.OpBinary, message)
				good.want(ws.OpBinary, message)
			}
			good.send(ws.OpText, []byte("still here"))
			good.want(ws.OpText, []byte("still here"))
		})
	}
}
