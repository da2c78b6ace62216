//go:build linux

package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// lifePlain answers with what it was asked.
var lifePlain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %q %v from %s", r.Method, r.URL, body, err, r.RemoteAddr)
})

// lifeBoth serves WebSocket and plain HTTP on one port.
func lifeBoth(t *testing.T, b netpoll.Backend) (srv *Server, addr string, ledger *lifeLedger) {
	ledger = newLifeLedger()
	srv = &Server{Poller: b, Handler: lifePlain}
	srv.Handle("/ws", ledger.over(Options{OnMessage: lifeEcho}))
	return srv, lifeServe(t, srv), ledger
}

// asked sends a request, in pieces of any size, and wants the answer to it.
func (c *lifeClient) asked(method, path, body string, piece int) {
	c.t.Helper()
	c.pieces(lifeAsk(method, path, body), piece)
	c.answered(method, path, body)
}

func lifeAsk(method, path, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: stillpool.test\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
}

func (c *lifeClient) pieces(s string, piece int) {
	c.t.Helper()
	for len(s) > 0 {
		n := min(piece, len(s))
		c.raw([]byte(s[:n]))
		s = s[n:]
	}
}

func (c *lifeClient) answered(method, path, body string) {
	c.t.Helper()
	_, got := c.response(http.StatusOK)
	if want := fmt.Sprintf("%s %s %q <nil> from %v", method, path, body, c.LocalAddr()); got != want {
		c.t.Errorf("the answer is %s, want %s", got, want)
	}
}

func TestHTTPPlain(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20_000) // more than is read at once
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		srv, addr, _ := lifeBoth(t, b)
		for name, talk := range map[string]func(c *lifeClient){
			"one request":  func(c *lifeClient) { c.asked("GET", "/", "", 1<<20) },
			"keep-alive":   func(c *lifeClient) { c.asked("GET", "/", "", 1<<20); c.asked("GET", "/other?x=1", "", 1<<20) },
			"a body":       func(c *lifeClient) { c.asked("POST", "/", "hello", 1<<20); c.asked("PUT", "/", "", 1<<20) },
			"a long body":  func(c *lifeClient) { c.asked("POST", "/", long, 1<<20); c.asked("GET", "/", "", 1<<20) },
			"byte by byte": func(c *lifeClient) { c.asked("POST", "/x", "hello", 1); c.asked("POST", "/y", "again", 1) },
			"in pieces":    func(c *lifeClient) { c.asked("POST", "/x", long, 1000) },
			"pipelined": func(c *lifeClient) {
				c.raw([]byte(lifeAsk("POST", "/1", "one") + lifeAsk("GET", "/2", "") + lifeAsk("GET", "/3", "")[:10]))
				c.answered("POST", "/1", "one")
				c.answered("GET", "/2", "")
				c.raw([]byte(lifeAsk("GET", "/3", "")[10:]))
				c.answered("GET", "/3", "")
			},
			"to be closed": func(c *lifeClient) {
				c.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
				c.answered("GET", "/", "")
				c.wantEOF()
			},
			"an old request": func(c *lifeClient) {
				c.raw([]byte("GET /old HTTP/1.0\r\nHost: x\r\n\r\n"))
				c.answered("GET", "/old", "")
				c.wantEOF()
			},
			"a path below an endpoint": func(c *lifeClient) { c.asked("GET", "/ws/below", "", 1<<20) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				talk(lifeConnect(t, addr))
			})
		}
		t.Cleanup(func() {
			if st := srv.Stats(); st.Closed != 0 || st.Handshakes != 0 {
				t.Errorf("plain requests count as connections: %+v", st)
			}
		})
	})
}

// TestHTTPUpgradeLater: a kept-alive connection comes back from net/http, with all that it brought.
func TestHTTPUpgradeLater(t *testing.T) {
	t.Parallel()
	hello, last := lifeFrame(ws.OpText, "hello"), lifeFrame(ws.OpText, strings.Repeat("x", 100_000))
	upgrade := []byte(lifeUpgrade("/ws"))
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		srv, addr, ledger := lifeBoth(t, b)
		for name, segments := range map[string][][]byte{
			"after the answer":               {nil, upgrade, hello},
			"with frames":                    {nil, append(bytes.Clone(upgrade), hello...)},
			"with half a frame":              {nil, append(bytes.Clone(upgrade), hello[:7]...), hello[7:]},
			"with half a header":             {nil, append(bytes.Clone(upgrade), hello[0]), hello[1:]},
			"all at once":                    {bytes.Join([][]byte{upgrade, hello}, nil)},
			"at once with half a frame":      {bytes.Join([][]byte{upgrade, hello[:7]}, nil), hello[7:]},
			"in two halves":                  {upgrade[:30], upgrade[30:], hello},
			"with more than a buffer":        {bytes.Join([][]byte{upgrade, hello, last}, nil)},
			"with two frames, one by itself": {bytes.Join([][]byte{upgrade, hello}, nil), last},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := lifeConnect(t, addr)
				// The first segment goes with the plain request, so that net/http has it buffered.
				c.raw(append([]byte(lifeAsk("POST", "/first", "body")), segments[0]...))
				c.answered("POST", "/first", "body")
				for _, s := range segments[1:] {
					c.raw(s)
				}
				c.response(http.StatusSwitchingProtocols)
				c.want(ws.OpText, "hello")
				if strings.Contains(name, "buffer") || strings.Contains(name, "two frames") {
					c.want(ws.OpText, strings.Repeat("x", 100_000))
				}
				c.ping("it is a connection like any other")
				c.bye()
				if why := lifeGet(t, ledger.ended, "the close event"); why.Cause != PeerClosed {
					t.Errorf("closed by %+v", why)
				}
			})
		}
		t.Cleanup(func() {
			lifeEnd(t, srv)
			ledger.check(t, 9)
			if st := srv.Stats(); st.Accepted != 9 || st.Closed != 9 {
				t.Errorf("9 connections count as %+v", st)
			}
		})
	})
}

// TestHTTPRefusedLater: a handshake that is wrong is told so in the same words as by the way without
// net/http, and the connection ends.
func TestHTTPRefusedLater(t *testing.T) {
	t.Parallel()
	_, addr, _ := lifeBoth(t, netpoll.Epoll)
	for name, x := range map[string]struct {
		head   string
		status int
	}{
		"no upgrade":    {"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusUpgradeRequired},
		"another verb":  {strings.Replace(lifeUpgrade("/ws"), "GET", "PUT", 1), http.StatusMethodNotAllowed},
		"no connection": {strings.Replace(lifeUpgrade("/ws"), "Connection: Upgrade", "Connection: keep-alive", 1), http.StatusBadRequest},
		"version":       {strings.Replace(lifeUpgrade("/ws"), ": 13", ": 12", 1), http.StatusUpgradeRequired},
		"key":           {strings.Replace(lifeUpgrade("/ws"), "ZQ==", "ZQ", 1), http.StatusBadRequest},
		"two keys":      {lifeUpgrade("/ws", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), http.StatusBadRequest},
		"origin":        {lifeUpgrade("/ws", "Origin: https://elsewhere.test\r\n"), http.StatusForbidden},
		"body":          {lifeUpgrade("/ws", "Content-Length: 1\r\n") + "x", http.StatusBadRequest},
		"subprotocol":   {lifeUpgrade("/ws", "Sec-WebSocket-Protocol: a b\r\n"), http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, later := lifeConnect(t, addr), lifeConnect(t, addr)
			direct.raw([]byte(x.head))
			later.asked("GET", "/", "", 1<<20)
			later.raw([]byte(x.head))
			d, words := direct.response(x.status)
			l, laterWords := later.response(x.status)
			if words != laterWords || d.Close != l.Close {
				t.Errorf("one way says %q (close: %v), the other %q (close: %v)", words, d.Close, laterWords, l.Close)
			}
			for _, h := range []string{"Upgrade", "Sec-WebSocket-Version", "Allow", "Content-Type"} {
				if d.Header.Get(h) != l.Header.Get(h) {
					t.Errorf("%s is %q one way, %q the other", h, d.Header.Get(h), l.Header.Get(h))
				}
			}
			direct.wantEOF()
			later.wantEOF()
		})
	}
}

func TestHTTPNoHandler(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	srv.Handle("/ws", Options{})
	addr := lifeServe(t, srv)
	for _, head := range []string{lifeAsk("GET", "/", ""), lifeUpgrade("/other")} {
		c := lifeConnect(t, addr)
		c.raw([]byte(head))
		if _, body := c.response(http.StatusNotFound); body != "no such endpoint\n" {
			t.Errorf("it says %q", body)
		}
		c.wantEOF()
	}
}

// TestHTTPShutdown: connections that net/http keeps alive are no reason to wait, requests are.
func TestHTTPShutdown(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		entered, release := make(chan struct{}), make(chan struct{})
		srv := &Server{Poller: b, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(entered)
				<-release
			}
			io.WriteString(w, "done")
		})}
		ep := srv.Handle("/ws", Options{})
		addr := lifeServe(t, srv)
		idle, busy, upgraded := lifeConnect(t, addr), lifeConnect(t, addr), lifeConnect(t, addr)
		for _, c := range []*lifeClient{idle, upgraded} {
			c.raw([]byte(lifeAsk("GET", "/", "")))
			c.response(http.StatusOK)
		}
		upgraded.upgraded("/ws")
		busy.raw([]byte(lifeAsk("GET", "/slow", "")))
		lifeGet(t, entered, "the slow request")
		done := lifeShut(srv, lifeContext(t))
		idle.wantEOF()
		upgraded.seenOff(CodeGoingAway, lifeGoodbye)
		lifeEventually(t, "the WebSocket side is done", func() bool { return srv.Stats().Conns == 1 && ep.Len() == 0 })
		lifeStillBusy(t, done, "the request")
		close(release)
		if _, body := busy.response(http.StatusOK); body != "done" {
			t.Errorf("the answer is %q", body)
		}
		lifeMust(t, lifeGet(t, done, "Shutdown"))
		if conn, err := lifeDialNet(addr); err == nil {
			conn.Close()
			t.Error("it still takes connections")
		}
	})
}

func TestHTTPClose(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	srv := &Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})}
	c := lifeConnect(t, lifeServe(t, srv))
	c.raw([]byte(lifeAsk("GET", "/", "")))
	lifeGet(t, entered, "the request")
	srv.Close()
	c.wantCut()
	close(release)
}

// TestHTTPHeadTimeout: half a head gets its answer in the end, on a fresh connection from this
// server, and on a kept-alive one from net/http.
func TestHTTPHeadTimeout(t *testing.T) {
	t.Parallel()
	srv := &Server{Handler: lifePlain, HandshakeTimeout: 50 * time.Millisecond}
	addr := lifeServe(t, srv)
	fresh, kept := lifeConnect(t, addr), lifeConnect(t, addr)
	kept.asked("GET", "/", "", 1<<20)
	for _, c := range []*lifeClient{fresh, kept} {
		c.raw([]byte("GET / HTTP/1.1\r\nHo"))
	}
	fresh.response(http.StatusRequestTimeout)
	fresh.wantEOF()
	if _, err := io.Copy(io.Discard, kept.r); errors.Is(err, os.ErrDeadlineExceeded) { // whatever net/http has to say
		t.Error("a kept-alive connection may take for ever")
	}
}

// TestHTTPPanic is net/http's to handle: it logs, through the server's Logger, and goes on.
func TestHTTPPanic(t *testing.T) {
	t.Parallel()
	log := new(lifeLog)
	srv := &Server{Logger: slog.New(log), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic("on purpose")
		}
	})}
	addr := lifeServe(t, srv)
	c := lifeConnect(t, addr)
	c.raw([]byte(lifeAsk("GET", "/bad", "")))
	c.wantCut()
	c = lifeConnect(t, addr)
	c.raw([]byte(lifeAsk("GET", "/good", "")))
	c.response(http.StatusOK)
	if !log.mentions("on purpose") {
		t.Error("the panic was not logged by the server's Logger")
	}
}

// TestHTTPClients: the standard library's client, over one connection and over many.
func TestHTTPClients(t *testing.T) {
	t.Parallel()
	_, addr, _ := lifeBoth(t, netpoll.Epoll)
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: lifeBound}
	done := make(chan error, 4)
	for range 4 {
		go func() {
			for i := range 25 {
				resp, err := client.Post("http://"+addr+"/x", "text/plain", strings.NewReader(fmt.Sprint(i)))
				if err != nil {
					done <- err
					return
				}
				body, err := io.ReadAll(resp.Body)
				if resp.Body.Close(); err != nil || !strings.HasPrefix(string(body), fmt.Sprintf("POST /x %q <nil>", fmt.Sprint(i))) {
					done <- fmt.Errorf("%s: %w", body, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		lifeMust(t, lifeGet(t, done, "a client"))
	}
}

// TestHTTPBehindHandler: an endpoint may be mounted behind the server's own Handler too, where its
// path is the Handler's business.
func TestHTTPBehindHandler(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		mux := http.NewServeMux()
		srv := &Server{Poller: b, Handler: mux}
		mux.Handle("/also/{name}", srv.Handle("/ws", Options{OnMessage: lifeEcho}))
		addr := lifeServe(t, srv)
		for _, path := range []string{"/ws", "/also/this", "/also/that"} {
			c := lifeConnect(t, addr)
			c.upgraded(path, lifeFrame(ws.OpText, "hello"))
			c.want(ws.OpText, "hello")
			c.bye()
		}
	})
}
