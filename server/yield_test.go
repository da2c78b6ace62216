//go:build linux

package server

import (
	"bytes"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
)

// TestLongWorkLetsLoopsRun has a single processor of Go's do long work of the server's own, and a
// message of somebody else's come before it. Others are served in its midst, and not after it.
func TestLongWorkLetsLoopsRun(t *testing.T) {
	text := bytes.Repeat([]byte("Stillpool "), 20<<10)
	work := map[string]func(*testing.T, func()){
		"deflate": func(t *testing.T, pause func()) {
			if _, fits := squeeze(make([]byte, len(text)), text, nil, maxWindowBits, 1, pause); !fits {
				t.Fatal("the text did not shrink")
			}
		},
		"inflate": func(t *testing.T, pause func()) {
			deflated, _ := squeeze(make([]byte, len(text)), text, nil, maxWindowBits, 1, nil)
			i := inflation{src: cat(deflated, inflateTail), dst: make([]byte, 0, len(text)+1), pause: pause}
			if whole, err := i.run(); err != nil || !whole {
				t.Fatal(whole, err)
			}
		},
	}
	for name, run := range work {
		t.Run(name, func(t *testing.T) {
			var count atomic.Int32
			s := &Server{}
			s.Handle("/", Options{OnMessage: func(c *Conn, m Message) {
				count.Add(1)
				echo(c, m)
			}})
			p := open(t, serve(t, s), "/")
			p.send(frame(ws.OpText, "before"))
			p.want(ws.OpText, "before")

			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			p.send(frame(ws.OpText, "meanwhile"))
			paused, served := 0, false
			run(t, func() {
				paused++
				s.yield()
				served = served || count.Load() == 2
			})
			if paused == 0 || !served {
				t.Errorf("after %d pauses the message was not served", paused)
			}
		})
	}
}
