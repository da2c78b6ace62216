//go:build linux

package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// door is one of the ways by which a handshake reaches an endpoint.
type door struct {
	name string
	// std: net/http reads the request.
	std  bool
	dial func(t testing.TB) *peer
}

// doorsTo opens an endpoint of s to all doors: the server's own listeners, its Handler, which has kept the
// connection alive, and another http.Server.
func doorsTo(t *testing.T, s *Server, ep *Endpoint) []door {
	t.Helper()
	s.Handler = lifePlain
	own, ownUnix, mounted, mountedUnix := serve(t, s), lifeUnix(t), lifeListen(t), lifeUnix(t)
	go s.Serve(ownUnix) // ends with the other one
	lifeHTTPServer(t, ep, mounted)
	lifeHTTPServer(t, ep, mountedUnix)
	unix := func(l net.Listener) func(testing.TB) *peer {
		return func(t testing.TB) *peer { return dialUnix(t, l.Addr().String()) }
	}
	return []door{
		{"own listener", false, func(t testing.TB) *peer { return dial(t, own) }},
		{"own unix socket", false, unix(ownUnix)},
		{"kept alive by Handler", true, func(t testing.TB) *peer { return dialBoth(t, own, true) }},
		{"mounted", true, func(t testing.TB) *peer { return dial(t, mounted.Addr().String()) }},
		{"mounted on a unix socket", true, unix(mountedUnix)},
	}
}

// dialUnix is dial to a unix socket. Such a peer has no conn.
func dialUnix(t testing.TB, path string) *peer {
	t.Helper()
	conn, err := net.Dial("unix", path)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	return &peer{t: t, in: bufio.NewReader(conn), to: conn}
}

// hangUp ends the peer's side for good: in order, or with a reset where there is one.
func (p *peer) hangUp(reset bool) {
	p.t.Helper()
	if reset && p.conn != nil {
		must(p.t, p.conn.SetLinger(0))
	}
	must(p.t, p.to.(net.Conn).Close())
}

// doorCase is a request, and the status and some headers of its answer.
type doorCase struct {
	name   string
	head   []byte
	status int
	has    map[string]string
}

// TestDoors has requests that are answered alike by each of the doors, with compression and without.
func TestDoors(t *testing.T) {
	t.Parallel()
	const get = "GET /ws HTTP/1.1"
	with := func(line string, headers ...string) []byte {
		return headOf(line, append(handshakeLines("example.com"), headers...)...)
	}
	old := map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}
	none := map[string]string{"Sec-Websocket-Extensions": "", "Sec-Websocket-Protocol": ""}
	for _, c := range []doorCase{
		{"the key of RFC 6455 section 4.1", headOf(get, append(handshakeLines("a")[:4], "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==")...), 101,
			map[string]string{"Sec-Websocket-Accept": "OfS0wDaT5NoxF2gqm7Zj2YtetzM="}},
		{"a key of 17 bytes", headOf(get, append(handshakeLines("a")[:4], "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PECE=")...), 400, nil},
		{"an empty list of extensions", with(get, "Sec-WebSocket-Extensions:"), 101, none},
		{"two empty lists of extensions", with(get, "Sec-WebSocket-Extensions:", "Sec-WebSocket-Extensions: ,"), 101, none},
		{"an empty list of subprotocols", with(get, "Sec-WebSocket-Protocol:"), 101, none},
		{"the origin said as wss", with(get, "Origin: wss://example.com"), 101, nil},
		{"the origin said as ws", with(get, "Origin: ws://example.com:80"), 101, nil},
		{"another origin said as wss", with(get, "Origin: wss://example.org"), 403, nil},
		{"a file's origin", with(get, "Origin: file://"), 101, nil},
		{"an app's origin", with(get, "Origin: app://."), 101, nil},
		{"another app's origin", with(get, "Origin: app://.."), 403, nil},
		{"an extension's origin", with(get, "Origin: chrome-extension://abcdefghijklmnopabcdefghijklmnop"), 101, nil},
		{"HTTP/1.0", with("GET /ws HTTP/1.0"), 426, old},
		{"HTTP/1.0 that is to be kept alive", headOf("GET /ws HTTP/1.0", "Host: a", "Upgrade: websocket", "Connection: Upgrade, keep-alive"), 426, old},
		{"HTTP/1.0 without a Host", headOf("GET /ws HTTP/1.0"), 426, old},
		{"no handshake", headOf(get, "Host: a"), 426, old},
		{"another version", headOf(get, append(handshakeLines("a")[:3], "Sec-WebSocket-Version: 8", handshakeLines("a")[4])...), 426, old},
		{"a target of http", with("GET http://example.com/ws HTTP/1.1"), 101, nil},
		{"a target of ws", with("GET ws://example.com/ws HTTP/1.1"), 101, nil},
		{"a target of wss", with("GET wss://example.com/ws HTTP/1.1", "Origin: https://example.com"), 101, nil},
		{"a target of ws, whose host counts", with("GET ws://example.org/ws HTTP/1.1", "Origin: http://example.com"), 403, nil},
		{"a long cookie", with(get, "Cookie: a="+strings.Repeat("x", 15<<10)), 101, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, compression := range map[string]Compression{"plain": {}, "compressed": {Enabled: true, ContextTakeover: true}} {
				t.Run(name, func(t *testing.T) {
					onPollers(t, func(t *testing.T, s *Server) {
						ep := s.Handle("/ws", Options{OnMessage: echo, Compression: compression, Subprotocols: []string{"chat"},
							Origins: []string{"file://", "app://.", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"}})
						for _, d := range doorsTo(t, s, ep) {
							c.knock(t, d)
						}
					})
				})
			}
		})
	}
}

// knock sends the request and holds the answer against the row.
func (c *doorCase) knock(t *testing.T, d door) {
	t.Helper()
	p := d.dial(t)
	p.send(c.head)
	if c.status == 101 {
		p.send(frame(ws.OpText, "early"))
	}
	head := p.answer()
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), nil)
	must(t, err)
	if answer.StatusCode != c.status || answer.Close != (c.status != 101) {
		t.Errorf("%s: %s, to be closed %v; want %d", d.name, answer.Status, answer.Close, c.status)
		return
	}
	for name, want := range c.has {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", d.name, name, got, want)
		}
	}
	var tokens []string
	for line := range strings.Lines(head) {
		if value, ok := strings.CutPrefix(line, "Connection: "); ok {
			tokens = append(tokens, strings.Split(strings.TrimSpace(value), ", ")...)
		}
	}
	if slices.Sort(tokens); c.status == 426 && !slices.Equal(tokens, []string{"Upgrade", "close"}) {
		t.Errorf("%s: Connection is %q", d.name, tokens)
	}
	if c.status == 101 {
		p.want(ws.OpText, "early")
	} else if _, err := io.ReadAll(p.in); err != nil {
		t.Errorf("%s: instead of the end: %v", d.name, err)
	}
}

// TestDoorsRoot: a target of a scheme and a host only is the path "/", by each of the doors that know paths.
func TestDoorsRoot(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handler = lifePlain
		s.Handle("/", Options{})
		s.Handle("/other", Options{})
		addr := serve(t, s)
		for _, target := range []string{"ws://example.com", "http://example.com", "wss://example.com?x"} {
			for _, later := range []bool{false, true} {
				p := dial(t, addr)
				if later { // what has no endpoint is Handler's
					p.send(headOf("HEAD /plain HTTP/1.1", "Host: a"))
					p.answer()
				}
				p.send(upgradeTo(target))
				p.upgraded()
			}
		}
	})
}

// TestHeaderLimit: 16 KiB of head are taken by default, as by Node, and no byte more; Server.MaxHeaderBytes changes it.
func TestHeaderLimit(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/ws", Options{})
		serveOther := &Server{Poller: s.Poller, Logger: quiet, MaxHeaderBytes: 64 << 10}
		serveOther.Handle("/ws", Options{})
		for addr, most := range map[string]int{serve(t, s): 16 << 10, serve(t, serveOther): 64 << 10} {
			rest := most - len(upgradeTo("/ws", "Cookie: "))
			whole := upgradeTo("/ws", "Cookie: "+strings.Repeat("x", rest))
			p := dial(t, addr)
			p.send(whole)
			p.upgraded()
			p = dial(t, addr)
			for chunk := range slices.Chunk(whole, 1000) {
				p.send(chunk)
			}
			p.upgraded()
			p = dial(t, addr)
			p.send(upgradeTo("/ws", "Cookie: "+strings.Repeat("x", rest+1)))
			p.wantRefusal(errHeadTooLarge, nil)
		}
	})
}
