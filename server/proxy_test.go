//go:build linux

package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// seen is who a connection is from.
type seen struct{ remote, peer, asked, authorized string }

// sees are the options of an endpoint that tells who its connections are from.
func sees(who chan<- seen) Options {
	return Options{
		Authorize: func(r *http.Request) (Grant, error) { return Grant{Value: r.RemoteAddr}, nil },
		OnOpen: func(c *Conn, r *Request) {
			who <- seen{c.RemoteAddr().String(), c.PeerAddr().String(), r.RemoteAddr().String(), c.Value().(string)}
		},
		OnMessage: echo,
	}
}

// from is a connection from client, by peer.
func from(client string, peer net.Addr) seen { return seen{client, peer.String(), client, client} }

// TestTrustedProxy: by each of the doors, what a trusted proxy says of its client is believed, and what
// anybody else says is not.
func TestTrustedProxy(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
		s.Handler = lifePlain
		who := make(chan seen, 1)
		ep := s.Handle("/ws", sees(who))
		addr := serve(t, s)
		mounted := lifeListen(t)
		lifeHTTPServer(t, ep, mounted)
		for _, door := range []struct {
			name, addr string
			later      bool
		}{{"accepted", addr, false}, {"upgraded later", addr, true}, {"mounted", mounted.Addr().String(), false}} {
			for _, c := range []struct {
				headers []string
				want    string // or it is refused with why
				why     *refusal
			}{
				{[]string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0", nil},
				{[]string{"x-forwarded-for: 10.0.0.1, 192.0.2.1:4711", "X-FORWARDED-FOR: 10.0.0.2"}, "192.0.2.1:4711", nil},
				{[]string{`Forwarded: for="[2001:db8::1]:80";proto=https`}, "[2001:db8::1]:80", nil},
				{[]string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0", nil},
				{nil, "", nil},
				{[]string{"X-Forwarded-For: fe80::1%eth0"}, "[fe80::1]:0", nil},
				{[]string{"X-Forwarded-For: unknown"}, hidden, nil},
				{[]string{"X-Forwarded-For: unix:"}, hidden, nil},
				{[]string{"X-Forwarded-For: 10.0.0.9, unix:, 10.0.0.1"}, hidden, nil},
				{[]string{"Forwarded: for=_hidden"}, hidden, nil},
				{[]string{"Forwarded: proto=https"}, hidden, nil},
				{[]string{`Forwarded: for="192.0.2.1`}, "", errForwarded},
				{[]string{"Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.2"}, "", errDiffering},
			} {
				p := dialBoth(t, door.addr, door.later)
				p.send(upgradeTo("/ws", c.headers...))
				if c.why != nil {
					p.refusal(http.MethodGet, c.why, nil)
					continue
				}
				want := from(c.want, p.conn.LocalAddr())
				switch c.want {
				case "":
					want = from(p.conn.LocalAddr().String(), p.conn.LocalAddr())
				case hidden:
					want = seen{"invalid AddrPort", p.conn.LocalAddr().String(), "invalid AddrPort", ""}
				}
				p.upgraded()
				if got := receive(t, "the open event", who); got != want {
					t.Errorf("%s, %q: %v, want %v", door.name, c.headers, got, want)
				}
			}
			stranger := dialFrom(t, door.addr, "127.0.0.2")
			stranger.send(upgradeTo("/ws", "X-Forwarded-For: 192.0.2.1", "Forwarded: garbage"))
			stranger.upgraded()
			if got, want := receive(t, "the open event", who), from(stranger.conn.LocalAddr().String(), stranger.conn.LocalAddr()); got != want {
				t.Errorf("%s, a stranger: %v, want %v", door.name, got, want)
			}
		}
	})
}

// TestTrustedLinkLocal: an endpoint that is mounted believes a proxy on the same link, whose address has the
// name of an interface there.
func TestTrustedLinkLocal(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}
	must(t, s.start())
	defer s.Close()
	for _, addr := range []string{"[fe80::1]:80", "[fe80::1%eth0]:80"} {
		r := &http.Request{RemoteAddr: addr, Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}
		if client, _, err := s.believeStd(r); client.Addr().String() != "192.0.2.1" || err != nil {
			t.Errorf("through %s: %v, %v", addr, client, err)
		}
	}
}

// TestTrustedUnix: the peers of a unix socket may be trusted too.
func TestTrustedUnix(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		who := make(chan seen, 1)
		s := &Server{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		want := seen{"invalid AddrPort", "invalid AddrPort", "invalid AddrPort", ""}
		if trusted {
			s.TrustedProxies = append(s.TrustedProxies, netip.Prefix{})
			want = seen{"192.0.2.1:0", "invalid AddrPort", "192.0.2.1:0", "192.0.2.1:0"}
		}
		s.Handle("/ws", sees(who))
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
		must(t, err)
		lifeServeOn(t, s, l)
		c := lifeConnect(t, l.Addr().String())
		c.raw(upgradeTo("/ws", "X-Forwarded-For: 192.0.2.1"))
		c.response(http.StatusSwitchingProtocols)
		if got := receive(t, "the open event", who); got != want {
			t.Errorf("trusted %v: %v, want %v", trusted, got, want)
		}
	}
}

// TestHiddenClients: a client whose address its proxy hides has none, and so no limit by it. It counts neither
// for the proxy nor as a peer of a unix socket, whose headers may be trusted.
func TestHiddenClients(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), {}}
		s.MaxConnsPerAddress, s.Handler = 1, lifePlain
		who := make(chan seen, 1)
		ep := s.Handle("/ws", sees(who))
		proxied := serveProxied(t, s)
		plain := lifeListen(t)
		lifeServeOn(t, s, plain)
		mounted := lifeListen(t)
		lifeHTTPServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = r.Header.Get("X-Real-Ip") // as a program may have it done, also for who sends none
			ep.ServeHTTP(w, r)
		}), mounted)
		unspecified := string(binaryPreface(proxy, 0x00))
		unix := string(binaryPreface(proxy, 0x31, strings.Repeat("\x00", 216)))
		for _, c := range []struct {
			name, addr, before string
			later              bool
			headers            []string
		}{
			{"nginx's unix:", plain.Addr().String(), "", false, []string{"X-Forwarded-For: unix:"}},
			{"nginx's unix:, later", plain.Addr().String(), "", true, []string{"X-Forwarded-For: unix:"}},
			{"unspecified", proxied, unspecified, false, nil},
			{"unspecified, and says itself who it is", proxied, unspecified, false, []string{"X-Forwarded-For: 10.0.0.1"}},
			{"unspecified, the same later", proxied, unspecified, true, []string{"X-Forwarded-For: 10.0.0.1"}},
			{"unix, and says itself who it is", proxied, unix, false, []string{"X-Forwarded-For: 10.0.0.1"}},
		} {
			for range 2 { // one more than an address may have
				p := dial(t, c.addr)
				p.send([]byte(c.before))
				if c.later {
					p.send(headOf("HEAD / HTTP/1.1", "Host: a"))
					p.answer()
				}
				p.send(upgradeTo("/ws", c.headers...))
				p.upgraded()
				got := receive(t, "the open event", who)
				if got.authorized = ""; got != (seen{"invalid AddrPort", p.conn.LocalAddr().String(), "invalid AddrPort", ""}) {
					t.Errorf("%s: %v", c.name, got)
				}
			}
		}
		socket := lifeUnix(t) // whose peers are trusted, and those are not that a header on it does not name
		served := make(chan error, 1)
		go func() { served <- s.Serve(ProxyProtocol(socket)) }()
		for _, later := range []bool{false, true} {
			c := lifeConnect(t, socket.Addr().String())
			c.raw([]byte(unspecified))
			if later {
				c.raw([]byte(lifeAsk("GET", "/", "")))
				c.response(http.StatusOK)
			}
			c.raw(upgradeTo("/ws", "X-Forwarded-For: 10.0.0.1"))
			c.response(http.StatusSwitchingProtocols)
			if got := receive(t, "the open event", who); got.remote != "invalid AddrPort" {
				t.Errorf("unspecified on a unix socket, later %v: %v", later, got)
			}
		}
		p := dial(t, mounted.Addr().String())
		p.send(upgradeTo("/ws", "X-Forwarded-For: 10.0.0.1"))
		p.upgraded()
		if got := receive(t, "the open event", who); got.remote != p.conn.LocalAddr().String() {
			t.Errorf("mounted, without an address: %v", got)
		}
	})
}

// TestForwardedHostOrigin: behind a proxy that changes Host, the same origin is that of the host which the
// trusted proxy was asked for, by each of the doors. Rejections are in the log, a few of them.
func TestForwardedHostOrigin(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		log := new(lifeLog)
		s.Logger = slog.New(log)
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), {}}
		s.Handler = lifePlain
		ep := s.Handle("/ws", Options{})
		addr := serve(t, s)
		mounted, unix := lifeListen(t), lifeUnix(t)
		lifeHTTPServer(t, ep, mounted)
		lifeServeOn(t, s, unix)
		rejected := uint64(0)
		for _, door := range []struct {
			name, addr string
			later      bool
		}{{"accepted", addr, false}, {"upgraded later", addr, true}, {"mounted", mounted.Addr().String(), false}, {"unix", unix.Addr().String(), false}} {
			for _, c := range []struct {
				origin  string
				headers []string
				allowed bool
			}{
				{"https://app.example", nil, false}, // the Host is example.com
				{"https://example.com", nil, true},
				{"https://app.example", []string{"X-Forwarded-Host: app.example"}, true},
				{"https://app.example:8443", []string{"X-Forwarded-Host: app.example:8443"}, true},
				{"https://app.example:8443", []string{"X-Forwarded-Host: app.example"}, false},
				{"https://app.example", []string{"X-Forwarded-Host: a.example, app.example"}, true},
				{"https://app.example", []string{"X-Forwarded-Host: a.example", "X-Forwarded-Host: app.example"}, true},
				{"https://a.example", []string{"X-Forwarded-Host: a.example, app.example"}, false},
				{"https://example.com", []string{"X-Forwarded-Host: app.example"}, false},
				{"https://app.example", []string{"Forwarded: for=192.0.2.1;host=app.example;proto=https"}, true},
				{"https://app.example", []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: host=app.example"}, true},
				{"https://app.example", []string{"Forwarded: for=192.0.2.1;host=app.example", "X-Forwarded-Host: a.example"}, false},
				{"null", []string{"X-Forwarded-Host: null"}, false},
				{"https://app.example", []string{"X-Forwarded-Host: https://app.example"}, false},
			} {
				conn := lifeConnect(t, door.addr)
				if door.later {
					conn.raw([]byte(lifeAsk("GET", "/", "")))
					conn.response(http.StatusOK)
				}
				conn.raw(upgradeTo("/ws", append(c.headers, "Origin: "+c.origin)...))
				want := http.StatusSwitchingProtocols
				if !c.allowed {
					want, rejected = http.StatusForbidden, rejected+1
				}
				got, err := http.ReadResponse(conn.r, nil)
				if must(t, err); got.StatusCode != want {
					t.Errorf("%s, %s, %q: %d, want %d", door.name, c.origin, c.headers, got.StatusCode, want)
				}
			}
			if log.find("handshakes rejected by origin") == nil {
				t.Errorf("%s: the log says nothing", door.name) // of the first door, or it was sampled
			}
			if !strings.HasPrefix(door.addr, "/") {
				stranger := dialFrom(t, door.addr, "127.0.0.2")
				stranger.send(upgradeTo("/ws", "Origin: https://app.example", "X-Forwarded-Host: app.example", "Forwarded: host=app.example"))
				stranger.refusal(http.MethodGet, errOrigin, nil)
				rejected++
			}
		}
		wantReasons(t, s, map[RefusalReason]uint64{RefusedOrigin: rejected})
		lines := log.find("handshakes rejected by origin")
		if len(lines) == 0 || len(lines) > 6 {
			t.Fatalf("the log has %d lines of %d rejections", len(lines), rejected)
		}
		if l := lines[0]; l["origin"] != "https://app.example" || l["host"] != "example.com" || l["path"] != "/ws" || l["count"] != "1" {
			t.Errorf("the log says %v", l)
		}
	})
}

// TestTrustedLimits: behind a trusted proxy the limit by address is the client's, by each of the doors,
// and the proxy itself has none.
func TestTrustedLimits(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		s.MaxConnsPerAddress, s.Handler = 2, lifePlain
		ep := s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		mounted := lifeListen(t)
		lifeHTTPServer(t, ep, mounted)
		comes := func(door int, client string) *peer {
			p := dialBoth(t, []string{addr, addr, mounted.Addr().String()}[door], door == 1)
			p.send(upgradeTo("/ws", "X-Forwarded-For: "+client))
			return p
		}
		for range 3 {
			open(t, addr, "/ws")
		}
		one := comes(0, "192.0.2.1")
		one.upgraded()
		comes(1, "192.0.2.1").upgraded()
		for door := range 3 {
			comes(door, "192.0.2.1").refusal(http.MethodGet, errAddressFull, map[string]string{"Retry-After": "1"})
		}
		comes(2, "192.0.2.2").upgraded()
		if n := s.addresses.len(); n != 2 {
			t.Errorf("%d addresses are counted, of two", n)
		}
		one.send(closeFrame(1000, ""))
		one.wantClose(1000, "")
		one.wantEnd()
		before := s.inUse()
		must(t, one.conn.Close())
		await(t, "it has gone", func() bool { return s.inUse() < before })
		comes(2, "192.0.2.1").upgraded()
		wantReasons(t, s, map[RefusalReason]uint64{RefusedAddress: 3})
	})
}

// serveProxied is serve with a listener of the PROXY protocol.
func serveProxied(t *testing.T, s *Server) (addr string) {
	t.Helper()
	serve(t, s) // and sees to the end
	l := lifeListen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ProxyProtocol(l)) }()
	await(t, "both are served", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.acceptors) == 2
	})
	return l.Addr().String()
}

// TestProxyProtocol: what the header says is who the connection is from, in whatever pieces it comes, for
// WebSocket and for plain HTTP, and for who upgrades later.
func TestProxyProtocol(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handler = lifePlain
		who := make(chan seen, 1)
		s.Handle("/ws", sees(who))
		addr := serveProxied(t, s)
		v2 := string(binaryPreface(proxy, 0x21, six, vector(4, "padding")))
		for _, c := range []struct {
			name, header string
			want         string // empty is the connection's own
		}{
			{"TCP4", "PROXY TCP4 192.0.2.1 192.0.2.2 4660 443\r\n", "192.0.2.1:4660"},
			{"binary", v2, "[2001:db8::1]:4660"},
			{"UNKNOWN", "PROXY UNKNOWN\r\n", ""},
			{"LOCAL", string(binaryPreface(local, 0x00)), ""},
			{"unix", string(binaryPreface(proxy, 0x31, strings.Repeat("\x00", 216))), "invalid AddrPort"},
			{"unspecified", string(binaryPreface(proxy, 0x00)), "invalid AddrPort"},
		} {
			for _, piece := range []int{1, 7, len(c.header), 1 << 20} {
				p := dial(t, addr)
				want := from(c.want, p.conn.LocalAddr())
				plain := c.want
				if c.want == "" {
					plain = p.conn.LocalAddr().String()
					want = from(plain, p.conn.LocalAddr())
				}
				nameless := c.want == "invalid AddrPort"
				if nameless {
					want.authorized, plain = "", "@"
				}
				for _, chunk := range cutBy([]byte(c.header+string(upgradeTo("/ws"))), []byte{byte(min(piece, 256) - 1)}) {
					p.send(chunk)
				}
				p.upgraded()
				if got := receive(t, "the open event", who); got != want {
					t.Errorf("%s in pieces of %d: %v, want %v", c.name, piece, got, want)
				}
				p.send(frame(ws.OpText, "hello"))
				p.want(ws.OpText, "hello")

				p = dial(t, addr)
				if c.want == "" {
					plain = p.conn.LocalAddr().String()
					want = from(plain, p.conn.LocalAddr())
				}
				want.peer = p.conn.LocalAddr().String()
				p.send([]byte(c.header), headOf("GET / HTTP/1.1", "Host: a"))
				answer, err := http.ReadResponse(p.in, nil)
				must(t, err)
				body, err := io.ReadAll(answer.Body)
				if must(t, err); !strings.HasSuffix(string(body), " from "+plain) {
					t.Errorf("%s, plain: %q, want from %s", c.name, body, plain)
				}
				p.send(upgradeTo("/ws"))
				p.upgraded()
				if nameless {
					want.authorized = "@" // as net/http has it
				}
				if got := receive(t, "the open event", who); got != want {
					t.Errorf("%s, upgraded later: %v, want %v", c.name, got, want)
				}
			}
		}
	})
}

// TestProxyProtocolWrong: who does not begin with a header is closed without a word, and counted; be it
// that it is wrong, or from a stranger, or not whole in time.
func TestProxyProtocolWrong(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		log := new(lifeLog)
		s.Logger = slog.New(log)
		s.HandshakeTimeout = time.Second
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		s.Handle("/ws", Options{})
		addr := serveProxied(t, s)
		closed := func(p *peer) {
			t.Helper()
			if said, _ := io.ReadAll(p.in); len(said) > 0 {
				t.Errorf("it is told %q", said)
			}
		}
		n := uint64(0)
		for _, c := range prefaceCases {
			if c.err != nil && c.err != errPrefaceLong {
				p := dial(t, addr)
				p.send(c.raw)
				closed(p)
				n++
			}
		}
		p := dial(t, addr)
		p.send(upgradeTo("/ws"))
		closed(p)
		stranger := dialFrom(t, addr, "127.0.0.2")
		stranger.conn.Write(cat("PROXY UNKNOWN\r\n", upgradeTo("/ws"))) // or it is closed before
		closed(stranger)
		for _, half := range []string{"", "PROXY TCP4", prefaceSignature + "\x21"} {
			p := dial(t, addr)
			p.send([]byte(half))
			closed(p)
		}
		n += 5
		wantReasons(t, s, map[RefusalReason]uint64{RefusedPreface: n})
		await(t, "all are gone", func() bool { return s.Stats().Conns == 0 })
		if st := s.Stats(); st.Abandoned != 0 {
			t.Errorf("%d are counted as abandoned too", st.Abandoned)
		}
		if lines := log.find("connections turned away"); len(lines) == 0 || len(lines) > 2 || lines[0]["bound"] != "PROXY header" || lines[0]["error"] == "" {
			t.Errorf("the log says %v", lines)
		}
		whole := dial(t, addr) // what is behind the header has its answers
		whole.send([]byte("PROXY UNKNOWN\r\n"))
		whole.wantRefusal(errHeadTooSlow, nil)
	})
}

// TestProxyProtocolBounds: half a header costs the budget of its own connection, and no more than a head.
func TestProxyProtocolBounds(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxHeaderBytes = 1000
		who := make(chan seen, 1)
		s.Handle("/ws", sees(who))
		addr := serveProxied(t, s)
		header := binaryPreface(proxy, 0x11, four, vector(4, strings.Repeat("x", 900)))
		half := dial(t, addr)
		half.send(header[:800])
		await(t, "it is kept aside", func() bool { held := s.Stats().InboundHeld; return held >= 800 && held <= 2000 })
		longer := dial(t, addr)
		longer.send(binaryPreface(proxy, 0x11, four, vector(4, strings.Repeat("x", 1000))))
		if said, _ := io.ReadAll(longer.in); len(said) > 0 {
			t.Errorf("it is told %q", said)
		}
		if n := s.Stats().RefusedBy[RefusedPreface]; n != 1 {
			t.Errorf("%d headers are wrong", n)
		}
		// The head that follows has a bound of its own.
		half.send(header[800:], upgradeTo("/ws", "X: "+strings.Repeat("x", 700)))
		half.upgraded()
		if got := receive(t, "the open event", who); got.remote != "192.0.2.1:4660" {
			t.Errorf("it is from %v", got)
		}
		await(t, "all is given back", func() bool { return s.Stats().InboundHeld == 0 })
	})
}

// TestProxyProtocolLimits: the limit by address is that of the client whom the header names, or of one
// that a proxy behind it names; and a connection without either counts for who it is from.
func TestProxyProtocolLimits(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConnsPerAddress = 1
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
		who := make(chan seen, 1)
		s.Handle("/ws", sees(who))
		addr := serveProxied(t, s)
		comes := func(source string, headers ...string) *peer {
			p := dial(t, addr)
			p.send([]byte("PROXY TCP4 "+source+" 192.0.2.2 1 1\r\n"), upgradeTo("/ws", headers...))
			return p
		}
		is := func(p *peer, remote string) {
			t.Helper()
			p.upgraded()
			if got := receive(t, "the open event", who); got.remote != remote || got.peer != p.conn.LocalAddr().String() {
				t.Errorf("%v, want %s", got, remote)
			}
		}
		is(comes("192.0.2.1", "X-Forwarded-For: 203.0.113.9"), "192.0.2.1:1") // which is no proxy
		comes("192.0.2.1").wantRefusal(errAddressFull, nil)
		is(comes("192.0.2.3"), "192.0.2.3:1")
		is(comes("10.0.0.1"), "10.0.0.1:1")
		is(comes("10.0.0.1"), "10.0.0.1:1") // a proxy
		is(comes("10.0.0.1", "X-Forwarded-For: 203.0.113.9"), "203.0.113.9:0")
		comes("10.0.0.2", "X-Forwarded-For: 203.0.113.9").wantRefusal(errAddressFull, nil)
		wantReasons(t, s, map[RefusalReason]uint64{RefusedAddress: 2})
	})
	t.Run("everybody is believed", func(t *testing.T) {
		s := &Server{Logger: quiet, MaxConnsPerAddress: 1}
		s.Handle("/ws", Options{})
		addr := serveProxied(t, s)
		comes := func(header string) *peer {
			p := dial(t, addr)
			p.send([]byte(header), upgradeTo("/ws"))
			return p
		}
		comes("PROXY UNKNOWN\r\n").upgraded()
		comes("PROXY UNKNOWN\r\n").wantRefusal(errAddressFull, nil)
		comes("PROXY TCP4 192.0.2.1 192.0.2.2 1 1\r\n").upgraded()
	})
}

// TestProxyProtocolListener: nobody else may accept from it, because nobody else reads the header.
func TestProxyProtocolListener(t *testing.T) {
	t.Parallel()
	l := ProxyProtocol(lifeListen(t))
	defer l.Close()
	if _, err := l.Accept(); err == nil {
		t.Error("its connections can be had without their header being read")
	}
	if err := (&Server{TrustedProxies: []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), -1)}}).Serve(l); err == nil || err == ErrServerClosed {
		t.Errorf("with a proxy that is none: %v", err)
	}
}
