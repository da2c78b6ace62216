//go:build linux

package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeMount serves an endpoint from somebody else's http.Server, and returns its address.
func lifeMount(t testing.TB, srv *Server, path string, ep *Endpoint, l net.Listener) string {
	t.Helper()
	if srv.Logger == nil {
		srv.Logger = slog.New(new(lifeLog))
	}
	mux := http.NewServeMux()
	mux.Handle(path, ep)
	lifeHTTPServer(t, mux, l)
	t.Cleanup(func() { lifeEnd(t, srv) })
	return l.Addr().String()
}

// lifeHTTPServer is an http.Server as anybody has it.
func lifeHTTPServer(t testing.TB, h http.Handler, l net.Listener) *http.Server {
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(new(lifeLog), slog.LevelError)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		lifeGet(t, done, "the end of the http.Server")
	})
	return srv
}

// TestHTTPMounted: an endpoint in an http.Server that is not ours.
func TestHTTPMounted(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for name, listen := range map[string]func(testing.TB) net.Listener{"TCP": lifeListen, "unix": lifeUnix} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ledger := newLifeLedger()
				srv := &Server{Poller: b}
				ep := srv.Handle("/ws", ledger.over(Options{OnMessage: lifeEcho, Every: time.Millisecond}))
				addr := lifeMount(t, srv, "/any/{path}", ep, listen(t))
				plain := lifeConnect(t, addr)
				plain.raw([]byte(lifeAsk("GET", "/any/path", "")))
				plain.response(http.StatusUpgradeRequired)
				c := lifeDial(t, addr, "/any/path")
				c.echo("hello")
				c.echo(strings.Repeat("x", 100_000))
				c.ping("ping")
				early := lifeConnect(t, addr)
				early.upgraded("/any/other", lifeFrame(ws.OpText, "first"), lifeFrame(ws.OpText, strings.Repeat("x", 100_000)), lifeFrame(ws.OpText, "third"))
				early.want(ws.OpText, "first")
				early.want(ws.OpText, strings.Repeat("x", 100_000))
				early.want(ws.OpText, "third")
				if n := ep.Len(); n != 2 {
					t.Errorf("%d connections are open", n)
				}
				c.bye()
				if why := lifeGet(t, ledger.ended, "the close event"); why.Cause != PeerClosed {
					t.Errorf("closed by %+v", why)
				}
				done := lifeShut(srv, lifeContext(t))
				early.seenOff(CodeGoingAway, lifeGoodbye)
				lifeMust(t, lifeGet(t, done, "Shutdown"))
				ledger.check(t, 2)
				late := lifeConnect(t, addr)
				late.raw([]byte(lifeUpgrade("/any/path")))
				late.response(http.StatusServiceUnavailable)
			})
		}
	})
}

// TestHTTPMountedOutlives: a connection that was taken over is no longer the http.Server's.
func TestHTTPMountedOutlives(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	mux := http.NewServeMux()
	mux.Handle("/ws", srv.Handle("/ws", Options{OnMessage: lifeEcho}))
	l := lifeListen(t)
	web := lifeHTTPServer(t, mux, l)
	t.Cleanup(func() { lifeEnd(t, srv) })
	c := lifeDial(t, l.Addr().String(), "/ws")
	c.echo("before")
	lifeMust(t, web.Shutdown(lifeContext(t)))
	web.Close()
	c.echo("after")
	c.bye()
}

// TestHTTPMountedRequest: the open event says the same of a handshake by either way.
func TestHTTPMountedRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	srv := new(Server)
	ep := srv.Handle("/ws", Options{Subprotocols: []string{"chat"}, OnOpen: func(c *Conn, r *Request) {
		if c.Subprotocol() != r.Subprotocol() || c.RemoteAddr() != r.RemoteAddr() {
			t.Errorf("the connection is from %v with %q, its request from %v with %q",
				c.RemoteAddr(), c.Subprotocol(), r.RemoteAddr(), r.Subprotocol())
		}
		got <- lifeDescribe(r)
	}})
	addr := lifeMount(t, srv, "/", ep, lifeListen(t))
	peer := lifeConnect(t, addr)
	peer.raw([]byte(lifeRequest))
	resp, _ := peer.response(http.StatusSwitchingProtocols)
	if sub := resp.Header.Get("Sec-WebSocket-Protocol"); sub != "chat" {
		t.Errorf("subprotocol %q", sub)
	}
	if s, want := lifeGet(t, got, "the open event"), lifeDescription(peer.LocalAddr().String(), addr); s != want {
		t.Errorf("the request is\n%s, want\n%s", s, want)
	}
}

// lifeWrapped is a connection that somebody has put something around.
type lifeWrapped struct{ *net.TCPConn }

type lifeWrapper struct{ net.Listener }

func (l lifeWrapper) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lifeWrapped{c.(*net.TCPConn)}, nil
}

func TestHTTPMountedWrapped(t *testing.T) {
	t.Parallel()
	log := new(lifeLog)
	srv := &Server{Logger: slog.New(log)}
	addr := lifeMount(t, srv, "/ws", srv.Handle("/ws", Options{}), lifeWrapper{lifeListen(t)})
	c := lifeConnect(t, addr)
	c.raw([]byte(lifeUpgrade("/ws")))
	if _, body := c.response(http.StatusNotImplemented); body != errWrap.reason+"\n" {
		t.Errorf("it says %q", body)
	}
	c.wantEOF()
	logged := log.find("upgrade failed")
	if len(logged) != 1 || !strings.Contains(logged[0]["error"], ErrTakeover.Error()) ||
		!strings.Contains(logged[0]["error"], "lifeWrapped") || logged[0]["path"] != "/ws" {
		t.Errorf("logged: %v", logged)
	}
}

// TestHTTPMountedTLS: under TLS the bytes are not the socket's, over HTTP/2 there is no connection
// to be had. Both are told so.
func TestHTTPMountedTLS(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		http2  bool
		status int
		reason string
	}{
		{false, http.StatusNotImplemented, errTLS.reason},
		{true, http.StatusHTTPVersionNotSupported, errHTTP2.reason},
	} {
		srv := new(Server)
		web := httptest.NewUnstartedServer(srv.Handle("/ws", Options{}))
		web.EnableHTTP2 = x.http2
		web.Config.ErrorLog = slog.NewLogLogger(new(lifeLog), slog.LevelError)
		web.StartTLS()
		t.Cleanup(func() {
			web.Close()
			lifeEnd(t, srv)
		})
		if x.http2 {
			resp, err := web.Client().Get(web.URL + "/ws")
			lifeMust(t, err)
			body, err := io.ReadAll(resp.Body)
			lifeMust(t, err)
			resp.Body.Close()
			if resp.ProtoMajor != 2 || resp.StatusCode != x.status || string(body) != x.reason+"\n" {
				t.Errorf("%s %d: %s", resp.Proto, resp.StatusCode, body)
			}
			continue
		}
		conn, err := tls.Dial("tcp", web.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		lifeMust(t, err)
		c := newLifeClient(t, conn)
		c.raw([]byte(lifeUpgrade("/ws")))
		if _, body := c.response(x.status); body != x.reason+"\n" {
			t.Errorf("it says %q", body)
		}
		c.wantEOF()
	}
}

// TestHTTPMountedNoHijack: not every ResponseWriter has a connection behind it.
func TestHTTPMountedNoHijack(t *testing.T) {
	t.Parallel()
	srv := &Server{Logger: slog.New(new(lifeLog))}
	ep := srv.Handle("/ws", Options{})
	t.Cleanup(func() { lifeEnd(t, srv) })
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(lifeUpgrade("/ws"))))
	lifeMust(t, err)
	w := httptest.NewRecorder()
	ep.ServeHTTP(w, r)
	if w.Code != http.StatusNotImplemented || ep.Len() != 0 || srv.Stats().Conns != 0 {
		t.Errorf("status %d, %d connections", w.Code, srv.Stats().Conns)
	}
}

// TestHTTPMountedNoRoom: what the server has no room for is told 503, not that it was wrong.
func TestHTTPMountedNoRoom(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	addr := lifeMount(t, srv, "/ws", srv.Handle("/ws", Options{}), lifeListen(t))
	lifeMust(t, srv.start())
	for _, l := range srv.loops() {
		l.close() // as if the kernel did not let anything be registered
	}
	c := lifeConnect(t, addr)
	c.raw([]byte(lifeUpgrade("/ws")))
	c.response(http.StatusServiceUnavailable)
	c.wantEOF()
	if st := srv.Stats(); st.Conns != 0 {
		t.Errorf("%d connections are left in the books", st.Conns)
	}
}

// TestHTTPMaxConns: one too many gets 503, and its words arrive though it has said more than was
// read. When another one closes there is room again.
func TestHTTPMaxConns(t *testing.T) {
	t.Parallel()
	const most = 3
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for name, setUp := range map[string]func(t *testing.T, srv *Server, ep *Endpoint) string{
			"accepted": func(t *testing.T, srv *Server, _ *Endpoint) string { return lifeServe(t, srv) },
			"mounted": func(t *testing.T, srv *Server, ep *Endpoint) string {
				return lifeMount(t, srv, "/ws", ep, lifeListen(t))
			},
			"accepted, with a Handler": func(t *testing.T, srv *Server, _ *Endpoint) string {
				srv.Handler = lifePlain
				return lifeServe(t, srv)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				log := new(lifeLog)
				srv := &Server{Poller: b, MaxConns: most, Logger: slog.New(log)}
				ep := srv.Handle("/ws", Options{OnMessage: lifeEcho})
				addr := setUp(t, srv, ep)
				var open []*lifeClient
				for range most {
					open = append(open, lifeDial(t, addr, "/ws"))
				}
				for range 3 {
					c := lifeConnect(t, addr)
					c.raw([]byte(lifeUpgrade("/ws", "X-Long: "+strings.Repeat("x", 2000)+"\r\n") + strings.Repeat("x", 50_000)))
					if _, body := c.response(http.StatusServiceUnavailable); body != errTooManyConns.reason+"\n" {
						t.Errorf("it says %q", body)
					}
					if name != "mounted" { // there the end is net/http's business
						c.wantEOF()
					}
					c.Close()
				}
				open[0].bye()
				lifeEventually(t, "there is room", func() bool { return srv.Stats().Conns == most-1 })
				if srv.Handler != nil {
					plain := lifeConnect(t, addr)
					plain.asked("GET", "/", "", 1<<20)
					full := lifeConnect(t, addr) // the plain one counts
					full.raw([]byte(lifeUpgrade("/ws")))
					full.response(http.StatusServiceUnavailable)
					full.wantEOF()
					full.Close()
					lifeEventually(t, "it is gone", func() bool { return srv.Stats().Conns == most })
					plain.upgraded("/ws", lifeFrame(ws.OpText, "again")) // and keeps its place
					plain.want(ws.OpText, "again")
				} else {
					lifeDial(t, addr, "/ws").echo("again")
				}
				for _, c := range open[1:] {
					c.echo("still")
				}
				if log.mentions("upgrade failed") {
					t.Error("a full server is no error")
				}
			})
		}
	})
}

// TestHTTPMaxConnsAtOnce: the bound holds when everybody comes at the same time.
func TestHTTPMaxConnsAtOnce(t *testing.T) {
	t.Parallel()
	const most, clients = 5, 40
	srv := &Server{MaxConns: most}
	ep := srv.Handle("/ws", Options{})
	// All of them are past the first look before any of them is taken over.
	var together sync.WaitGroup
	together.Add(clients)
	l := lifeListen(t)
	lifeHTTPServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ep.ServeHTTP(lifeLateHijack{w, func() { together.Done(); together.Wait() }}, r)
	}), l)
	srv.Logger = slog.New(new(lifeLog))
	t.Cleanup(func() { lifeEnd(t, srv) })
	statuses := make(chan int, clients)
	for range clients {
		c := lifeConnect(t, l.Addr().String())
		c.raw([]byte(lifeUpgrade("/ws")))
		go func() {
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Errorf("no answer: %v", err)
				resp = new(http.Response)
			}
			statuses <- resp.StatusCode
		}()
	}
	count := map[int]int{}
	for range clients {
		count[lifeGet(t, statuses, "an answer")]++
	}
	if count[101] != most || count[503] != clients-most {
		t.Errorf("the answers are %v", count)
	}
	lifeEventually(t, "as many are open as were let in", func() bool { return ep.Len() == most })
}

// lifeLateHijack calls something before a hijack.
type lifeLateHijack struct {
	http.ResponseWriter
	before func()
}

func (w lifeLateHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.before()
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// TestHTTPMountedCosts is not parallel, because it counts what the whole process has. The clients
// are bare descriptors, so that they are not in the count.
func TestHTTPMountedCosts(t *testing.T) {
	const n = 2000
	var cost [2]float64
	for i, mounted := range []bool{false, true} {
		srv := &Server{Loops: 1}
		ep := srv.Handle("/ws", Options{Every: time.Hour, OnTick: func(*Conn) {}})
		var addr string
		if mounted {
			addr = lifeMount(t, srv, "/ws", ep, lifeListen(t))
		} else {
			addr = lifeServe(t, srv)
		}
		lifeBareUpgrades(t, addr, 50) // pools and tables are warm
		lifeEventually(t, "all are open", func() bool { return ep.Len() == 50 })
		goroutines, memory := runtime.NumGoroutine(), lifeMemory()
		lifeBareUpgrades(t, addr, n)
		lifeEventually(t, "all are open", func() bool { return ep.Len() == 50+n })
		lifeEventually(t, "no goroutine is left of the handshakes", func() bool {
			return runtime.NumGoroutine() <= goroutines+5
		})
		cost[i] = float64(int64(lifeMemory()-memory)) / n
		srv.Close()
		lifeEventually(t, "all are closed", func() bool { return ep.Len() == 0 })
	}
	t.Logf("%.0f B of an accepted connection, %.0f B of one taken over", cost[0], cost[1])
	if cost[1] > 2*cost[0]+200 {
		t.Errorf("a connection costs %.0f B when accepted and %.0f B when taken over", cost[0], cost[1])
	}
}

// lifeMemory is what the heap and the stacks of this process hold.
func lifeMemory() uint64 {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// lifeBareUpgrades opens connections that are nothing but descriptors on this side.
func lifeBareUpgrades(t *testing.T, addr string, n int) {
	t.Helper()
	to := netip.MustParseAddrPort(addr)
	sa := &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	request, answer := []byte(lifeUpgrade("/ws")), make([]byte, 1024)
	var open []int
	t.Cleanup(func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	})
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		lifeMust(t, err)
		open = append(open, fd)
		patience := unix.NsecToTimeval(lifeBound.Nanoseconds())
		lifeMust(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
		lifeMust(t, unix.Connect(fd, sa))
		_, err = unix.Write(fd, request)
		lifeMust(t, err)
		got, err := unix.Read(fd, answer)
		if err == syscall.EINTR {
			got, err = unix.Read(fd, answer)
		}
		if err != nil || !strings.HasPrefix(string(answer[:got]), "HTTP/1.1 101 ") {
			t.Fatalf("handshake: %v, %q", err, answer[:got])
		}
	}
}

// TestHTTPMountedTooLate: a connection that is on its way when the last other one is gone and the
// loops end is not put on a loop that nobody serves.
func TestHTTPMountedTooLate(t *testing.T) {
	t.Parallel()
	srv := &Server{Logger: slog.New(new(lifeLog))}
	ep := srv.Handle("/ws", Options{})
	held, release := make(chan struct{}), sync.OnceFunc(srv.mu.Unlock)
	l := lifeListen(t)
	lifeHTTPServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ep.ServeHTTP(lifeLateHijack{w, func() {
			srv.mu.Lock() // as maybeIdle has it, and has found nobody
			srv.stopping.Store(true)
			srv.sealed.Store(true)
			close(held)
		}}, r)
	}), l)
	t.Cleanup(func() { lifeEnd(t, srv) })
	c := lifeConnect(t, l.Addr().String())
	c.raw([]byte(lifeUpgrade("/ws")))
	lifeGet(t, held, "the hijack")
	defer release()
	answered := make(chan struct{})
	go func() { c.r.Peek(1); close(answered) }()
	lifeEventually(t, "it is answered, or waits", func() bool {
		return isClosed(answered) || strings.Contains(lifeStacks(), "(*Server).come")
	})
	for _, loop := range srv.loops() {
		loop.close()
	}
	release()
	lifeGet(t, answered, "the answer")
	c.response(http.StatusServiceUnavailable)
	c.wantEOF()
}

// TestHTTPMountedWhileShutDown: Shutdown and takeovers at once. Each connection is seen off, cut or
// refused, and none is forgotten.
func TestHTTPMountedWhileShutDown(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for range 20 {
			ledger := newLifeLedger()
			srv := &Server{Poller: b, Logger: slog.New(new(lifeLog))}
			ep := srv.Handle("/ws", ledger.over(Options{}))
			l := lifeListen(t)
			web := lifeHTTPServer(t, ep, l)
			var done sync.WaitGroup
			first := make(chan struct{}, 4)
			for range 4 {
				done.Go(func() {
					if err := lifeComeAndStay(l.Addr().String(), first); err != nil {
						t.Error(err)
					}
				})
			}
			lifeGet(t, first, "the first connection")
			lifeMust(t, srv.Shutdown(lifeContext(t)))
			done.Wait()
			web.Close()
			lifeEnd(t, srv)
			ledger.check(t, len(ledger.events))
			if ep.Len() != 0 {
				t.Errorf("%d connections are left", ep.Len())
			}
		}
	})
}

// lifeComeAndStay upgrades and answers the server's close frame.
func lifeComeAndStay(addr string, opened chan<- struct{}) error {
	d := ws.Dialer{Timeout: lifeBound}
	conn, r, _, err := d.Dial(context.Background(), "ws://"+addr+"/ws")
	var status ws.StatusError
	if errors.As(err, &status) {
		opened <- struct{}{}
		if status != 503 {
			return fmt.Errorf("refused with %d", status)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	opened <- struct{}{}
	conn.SetDeadline(time.Now().Add(lifeBound))
	if r == nil {
		r = bufio.NewReader(conn)
	}
	if f, err := lifeReadFrame(r); err != nil || f.Header.OpCode != ws.OpClose {
		return fmt.Errorf("got %v and %w", f.Header.OpCode, err)
	}
	conn.Write(lifeFrame(ws.OpClose, "\x03\xe9"))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}
