package main

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// leaverCount is how many leave in each way. All together are more than easygo's workers, which stay.
const leaverCount = 40

// leavers open a connection and say how it ends.
var leavers = map[string]func(t *testing.T, addr, path string) func(){
	"reset": func(t *testing.T, addr, path string) func() {
		return dial(t, addr, path).reset
	},
	"no close frame": func(t *testing.T, addr, path string) func() {
		c := dial(t, addr, path)
		return func() { c.Close() }
	},
	"close frame": func(t *testing.T, addr, path string) func() {
		c := dial(t, addr, path)
		return func() {
			c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, ""))
			c.Close()
		}
	},
	"close frame and reset": func(t *testing.T, addr, path string) func() {
		c := dial(t, addr, path)
		return func() {
			c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, ""))
			c.reset()
		}
	},
	"half a frame": func(t *testing.T, addr, path string) func() {
		c := dial(t, addr, path)
		c.write(clientFrame(ws.OpBinary, true, make([]byte, 1000))[:500])
		return c.reset
	},
}

// rude are those that don't wait for the answer to their request.
var rude = map[string]func(t *testing.T, addr, path string) func(){
	"no request": func(t *testing.T, addr, path string) func() {
		return connect(t, addr).reset
	},
	"half a request": func(t *testing.T, addr, path string) func() {
		c := connect(t, addr)
		c.write([]byte(request(path))[:40])
		return c.reset
	},
	"request and reset": func(t *testing.T, addr, path string) func() {
		c := connect(t, addr)
		c.write([]byte(request(path)))
		return c.reset
	},
}

// TestLeaversLeaveNothing: neither the peer's own tables nor the library keep anything of those that
// have left, whichever way they went.
func TestLeaversLeaveNothing(t *testing.T) {
	for _, p := range measured {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, p.name)
			kinds, paths := maps.Clone(leavers), []string{"/ws", "/echo", "/broadcast"}
			if p.noEcho {
				paths = paths[:1]
			} else {
				maps.Copy(kinds, rude)
				echoOnce(t, s) // so that what is started for the first message is there
			}
			goroutines, descriptors := s.goroutines(), s.descriptors()
			if p.name == "easygo" {
				goroutines += easyGoWorkers
			}
			for _, name := range slices.Sorted(maps.Keys(kinds)) {
				for _, path := range paths {
					leave(t, s, path, kinds[name], leavers[name] != nil)
				}
			}
			await(t, func() (bool, string) {
				g, d, tables := s.goroutines(), s.descriptors(), s.tables()
				return g <= goroutines && d <= descriptors && sum(tables) == 0,
					fmt.Sprintf("%d goroutines for %d, %d descriptors for %d, %v", g, goroutines, d, descriptors, tables)
			})
		})
	}
}

func echoOnce(t *testing.T, s *served) {
	c := dial(t, s.addr, "/echo")
	c.send(ws.OpText, []byte("once"))
	c.want(ws.OpText, []byte("once"))
	c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	c.wantClosed(ws.StatusNormalClosure)
}

// leave opens connections and ends them. If the peer has a table for the path, those that are upgraded
// are all in it before, and none afterwards.
func leave(t *testing.T, s *served, path string, open func(t *testing.T, addr, path string) func(), upgraded bool) {
	t.Helper()
	var ends []func()
	for range leaverCount {
		ends = append(ends, open(t, s.addr, path))
	}
	table := map[string]string{"/ws": "ticked", "/broadcast": "members"}[path]
	awaitTable := func(want int) {
		t.Helper()
		await(t, func() (bool, string) {
			n, has := s.tables()[table]
			return n == want || !has || !upgraded, fmt.Sprintf("%d are in the table, not %d", n, want)
		})
	}
	awaitTable(leaverCount)
	for _, end := range ends {
		end()
	}
	awaitTable(0)
}

func sum(tables map[string]int) (n int) {
	for _, length := range tables {
		n += length
	}
	return n
}
