//go:build linux

package server

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
)

// TestBound: a peer that does its worst, in each way there is, makes the server hold no more than
// Options.Bound says.
func TestBound(t *testing.T) {
	const limit, backlog = 200 << 10, 300 << 10
	plain := Options{MaxMessage: limit, Backlog: backlog, SendBuffer: smallBuffer}
	squeezed := plain
	squeezed.Compression = Compression{Enabled: true, ContextTakeover: true}
	text, random := string(prose(limit)), string(noise(limit))
	almost := func(f []byte) []byte { return f[:len(f)-1] }
	for _, c := range []struct {
		name string
		o    Options
		// worst is what the peer sends, again and again until nobody reads it.
		worst func(p *deflating) []byte
	}{
		{"a message but for its last byte", plain, func(*deflating) []byte { return almost(frame(ws.OpBinary, random)) }},
		{"fragments without an end", plain, func(*deflating) []byte {
			return cat(fragment(ws.OpBinary, false, random[1:]), cont(false, ""))
		}},
		{"answers that are not read", plain, func(*deflating) []byte { return frame(ws.OpBinary, random) }},
		{"small answers that are not read", plain, func(*deflating) []byte {
			return []byte(strings.Repeat(string(frame(ws.OpText, "x")), 1000))
		}},
		{"pings", plain, func(*deflating) []byte { return []byte(strings.Repeat(string(frame(ws.OpPing, random[:125])), 1000)) }},
		{"compressed, and not read", squeezed, func(p *deflating) []byte { return p.compressed(Text, text) }},
		{"compressed to more, and not read", squeezed, func(p *deflating) []byte { return p.compressed(Binary, random) }},
		{"a bomb", squeezed, func(p *deflating) []byte { return p.compressed(Binary, strings.Repeat("\x00", 2*limit)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				s.Loops = 1
				var over, most atomic.Int64
				look := func() {
					st := s.Stats()
					held := st.InboundHeld + st.OutboundHeld + st.WindowsHeld
					if most.Store(max(most.Load(), held)); held > c.o.Bound() {
						over.Store(held)
					}
				}
				o := c.o
				o.OnMessage = func(c *Conn, m Message) { look(); c.Forward(m); look() }
				s.Handle("/", o)
				addr := serve(t, s)
				p := &deflating{peer: openWith(t, addr, "/", smallBuffer), window: 1 << maxWindowBits}
				if c.o.Compression.Enabled {
					p = openDeflating(t, addr, "/")
				}
				stuck := make(chan bool)
				go func() {
					defer close(stuck)
					for range 200 {
						if _, err := p.conn.Write(c.worst(p)); err != nil {
							return
						}
						look()
					}
				}()
				await(t, "nobody reads it any more", func() bool {
					look()
					select {
					case <-stuck:
						return true
					default:
						return s.Stats().OutboundHeld > backlog/2
					}
				})
				must(t, p.conn.Close())
				receive(t, "the end of writing", stuck)
				if n := over.Load(); n > 0 {
					t.Errorf("%d bytes were held, over the bound of %d", n, c.o.Bound())
				}
				t.Logf("most %d of %d", most.Load(), c.o.Bound())
			})
		})
	}
}
