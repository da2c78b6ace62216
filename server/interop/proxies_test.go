package interop

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/stillpool/stillpool/server"
)

// proxyTimeout replaces the timeouts of the page, and pingInterval the default of Options.Keepalive. A ping
// that is late by seven intervals still reaches the proxy in time.
const (
	proxyTimeout = 4 * time.Second
	pingInterval = proxyTimeout / 8
)

// A proxyCase runs a configuration of ../PROXIES.md.
type proxyCase struct {
	name, program string
	block         int    // the number of the code block among those of the page
	listen        string // what the block listens on, which becomes an address of the test
	change        [2]string
	stream        bool // the proxy names the client by the PROXY protocol
	// wrap returns the command line, after it has written the configuration to a directory.
	wrap func(config, dir string) ([]string, error)
	// status is what a page of the same origin gets.
	status int
}

var proxyCases = []proxyCase{
	{name: "nginx", program: "nginx", block: 0, listen: "listen 8000", wrap: nginx, status: 101},
	{name: "nginx without Host", program: "nginx", block: 0, listen: "listen 8000", wrap: nginx, status: 403,
		change: [2]string{"proxy_set_header Host $http_host;", ""}},
	{name: "nginx with X-Forwarded-Host", program: "nginx", block: 0, listen: "listen 8000", wrap: nginx, status: 101,
		change: [2]string{"proxy_set_header Host ", "proxy_set_header X-Forwarded-Host "}},
	{name: "nginx with a Host that has no port", program: "nginx", block: 0, listen: "listen 8000", wrap: nginx, status: 403,
		change: [2]string{"Host $http_host;", "Host $host;"}},
	{name: "haproxy", program: "haproxy", block: 1, listen: "bind :8000", wrap: haproxy, status: 101},
	{name: "haproxy, PROXY protocol 2", program: "haproxy", block: 2, listen: "bind :8000", wrap: haproxy, status: 101, stream: true},
	{name: "haproxy, PROXY protocol 1", program: "haproxy", block: 2, listen: "bind :8000", wrap: haproxy, status: 101, stream: true,
		change: [2]string{"send-proxy-v2", "send-proxy"}},
	{name: "caddy", program: "caddy", block: 3, listen: "http://:8000", wrap: caddy, status: 101},
}

// TestProxies starts each proxy with its configuration of the page, and speaks through it. One connection
// through each is left idle, all at the same time.
func TestProxies(t *testing.T) {
	t.Parallel()
	idle := map[string]chan error{}
	for _, c := range proxyCases {
		t.Run(c.name, func(sub *testing.T) {
			takesPart(sub, c.program)
			all := lasting{sub, t}
			b := serveBehind(all, c.stream)
			at := c.start(all, b.addr)
			checkOrigins(sub, at, c.status)
			if c.status != http.StatusSwitchingProtocols {
				return
			}
			b.checkAddress(sub, at)
			checkMessages(sub, at)
			conn, _ := dialProxy(all, at, nil)
			result := make(chan error, 1)
			idle[c.name] = result
			go func() { result <- stayIdle(conn) }()
		})
	}
	for name, result := range idle {
		if err := <-result; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lasting is a test whose proxies, servers and files last until the end of the whole one.
type lasting struct {
	*testing.T
	whole *testing.T
}

func (l lasting) Cleanup(f func()) { l.whole.Cleanup(f) }
func (l lasting) TempDir() string  { return l.whole.TempDir() }

// behind is a server that trusts proxies on 127.0.0.1.
type behind struct {
	addr  string
	opens chan [2]netip.AddrPort // RemoteAddr and PeerAddr of connections
	ends  chan server.Closing
}

func serveBehind(t testing.TB, stream bool) *behind {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &behind{addr: l.Addr().String(), opens: make(chan [2]netip.AddrPort, 16), ends: make(chan server.Closing, 16)}
	srv := &server.Server{
		Logger:         slog.New(slog.DiscardHandler),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}
	srv.Handle("/echo", server.Options{
		Keepalive: pingInterval,
		OnOpen: func(c *server.Conn, _ *server.Request) {
			b.opens <- [2]netip.AddrPort{addrPort(c.RemoteAddr()), addrPort(c.PeerAddr())}
		},
		OnMessage: func(c *server.Conn, m server.Message) { c.Write(m.Kind, m.Data) },
		OnClose:   func(_ *server.Conn, why server.Closing) { b.ends <- why },
	})
	if stream {
		l = server.ProxyProtocol(l)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != server.ErrServerClosed {
			t.Error(err)
		}
	})
	return b
}

func addrPort(a any) netip.AddrPort {
	switch a := a.(type) {
	case netip.AddrPort:
		return a
	case net.Addr:
		p, _ := netip.ParseAddrPort(a.String())
		return p
	}
	return netip.AddrPort{}
}

// start runs the proxy until the end of the test, and returns its address once it accepts connections.
func (c proxyCase) start(t testing.TB, upstream string) string {
	t.Helper()
	// An address of loopback that no other process chooses, so that a port that is free stays free.
	host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	scheme, _, _ := strings.Cut(c.listen, ":8000")
	scheme, _, _ = strings.Cut(scheme, "8000")
	config := codeBlock(t, c.block)
	for _, r := range [][2]string{c.change, {c.listen, scheme + at}, {"127.0.0.1:8080", upstream}} {
		if !strings.Contains(config, r[0]) {
			t.Fatalf("%q is not in the configuration of the page", r[0])
		}
		if r[0] != "" {
			config = strings.ReplaceAll(config, r[0], r[1])
		}
	}
	config = strings.ReplaceAll(config, "60s", fmt.Sprintf("%.0fs", proxyTimeout.Seconds()))
	dir := t.TempDir()
	args, err := c.wrap(config, dir)
	if err != nil {
		t.Fatal(err)
	}
	runProxy(t, dir, at, args)
	return at
}

// runProxy waits until the proxy accepts connections, and ends it with the test.
func runProxy(t testing.TB, dir, at string, args []string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	patient := time.After(patience)
	for {
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", args[0], err, output.Bytes())
		case <-patient:
			t.Fatalf("%s does not listen", args[0])
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// codeBlock returns one of the page's code blocks.
func codeBlock(t testing.TB, n int) string {
	t.Helper()
	page, err := os.ReadFile("../PROXIES.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "\n```")
	if 2*n+1 >= len(parts) {
		t.Fatalf("the page has no code block %d", n)
	}
	_, block, _ := strings.Cut(parts[2*n+1], "\n")
	return block + "\n"
}

func nginx(config, dir string) ([]string, error) {
	const around = `daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
access_log off;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
%s}
`
	file := filepath.Join(dir, "nginx.conf")
	return []string{"nginx", "-p", dir, "-c", file, "-e", "stderr"}, os.WriteFile(file, fmt.Appendf(nil, around, config), 0o600)
}

func haproxy(config, dir string) ([]string, error) {
	file := filepath.Join(dir, "haproxy.cfg")
	return []string{"haproxy", "-db", "-f", file}, os.WriteFile(file, []byte(config), 0o600)
}

func caddy(config, dir string) ([]string, error) {
	file := filepath.Join(dir, "Caddyfile")
	const before = "{\n\tadmin off\n}\n" // the port of its API is the same for all
	return []string{"caddy", "run", "--config", file, "--adapter", "caddyfile"}, os.WriteFile(file, []byte(before+config), 0o600)
}

// dialProxy connects from an address that is not the proxy's. A refusal has a response, and no connection.
func dialProxy(t testing.TB, at string, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	d := websocket.Dialer{
		NetDial:          (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, 2, 3)}}).Dial,
		HandshakeTimeout: patience,
	}
	conn, resp, err := d.Dial("ws://"+at+"/echo", header)
	if err != nil && !errors.Is(err, websocket.ErrBadHandshake) {
		t.Fatal(err)
	}
	if conn != nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, resp
}

// checkOrigins tries a page of the proxy's own host, which gets the status, and another one.
func checkOrigins(t *testing.T, at string, status int) {
	for origin, want := range map[string]int{"http://" + at: status, "http://elsewhere.example": http.StatusForbidden} {
		if _, resp := dialProxy(t, at, http.Header{"Origin": {origin}}); resp.StatusCode != want {
			t.Errorf("a page from %s gets %d, want %d", origin, resp.StatusCode, want)
		}
	}
}

// checkAddress connects as a client that says it is another one.
func (b *behind) checkAddress(t *testing.T, at string) {
	for len(b.opens) > 0 {
		<-b.opens
	}
	spoofed := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.2"}}
	conn, resp := dialProxy(t, at, spoofed)
	if conn == nil {
		t.Fatalf("status %d", resp.StatusCode)
	}
	got := <-b.opens
	if want := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got[0].Addr() != want {
		t.Errorf("the client is %v for the server, want %v", got[0], want)
	}
	if want := netip.MustParseAddr("127.0.0.1"); got[1].Addr() != want {
		t.Errorf("the proxy is %v for the server, want %v", got[1], want)
	}
}

// checkMessages sends what fits into no buffer of a proxy, both ways, and closes in order.
func checkMessages(t *testing.T, at string) {
	conn, _ := dialProxy(t, at, nil)
	for _, size := range []int{0, 1, 125, 126, 65536, 1 << 20} {
		want := random(size, 1)
		sent := make(chan error, 1)
		go func() { sent <- conn.WriteMessage(websocket.BinaryMessage, want) }()
		if _, got, err := conn.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(3000, "enough"))
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, 3000) {
		t.Errorf("the connection ended with %v", err)
	}
}

// stayIdle answers pings for longer than the proxy allows silence, and then asks for an echo.
func stayIdle(conn *websocket.Conn) error {
	begin, pings := time.Now(), 0
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if pings++; time.Since(begin) > proxyTimeout*5/4 {
			conn.WriteMessage(websocket.TextMessage, []byte("still there"))
		}
		return answer(data)
	})
	conn.SetReadDeadline(begin.Add(patience))
	if _, got, err := conn.ReadMessage(); string(got) != "still there" {
		return fmt.Errorf("after %v and %d pings: %q, %w", time.Since(begin), pings, got, err)
	}
	return nil
}
