//go:build linux

package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPlain: an endpoint with a plain handler serves pages and sockets at one path, whether a connection
// comes for the first or for both, by each of the doors, and with or without Server.Handler.
func TestPlain(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		ep := s.Handle("/both", Options{Plain: lifePlain, OnMessage: echo, Compression: Compression{Enabled: true}})
		s.Handle("/socket", Options{OnMessage: echo})
		addr := serve(t, s)
		mounted, unix := lifeListen(t), lifeUnix(t)
		lifeHTTPServer(t, ep, mounted)
		lifeServeOn(t, s, unix)
		with := &Server{Poller: s.Poller, Handler: http.NotFoundHandler()}
		with.Handle("/both", Options{Plain: lifePlain, OnMessage: echo})
		with.Handle("/socket", Options{OnMessage: echo})
		for door, addr := range map[string]string{"accepted": addr, "mounted": mounted.Addr().String(), "unix": unix.Addr().String(), "beside a Handler": lifeServe(t, with)} {
			for _, c := range []struct {
				line, headers, body string
				status              int
				want                string // in the body
			}{
				{"GET /both?x=1 HTTP/1.1", "", "", http.StatusOK, `GET /both?x=1 ""`},
				{"HEAD /both HTTP/1.1", "", "", http.StatusOK, ""},
				{"POST /both HTTP/1.1", "Content-Length: 5\r\n", "hello", http.StatusOK, `POST /both "hello"`},
				{"POST /both HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", http.StatusOK, `POST /both "hello"`},
				{"OPTIONS /both HTTP/1.1", "", "", http.StatusOK, "OPTIONS /both"},
				{"GET /both HTTP/1.0", "", "", http.StatusOK, "GET /both"},
				{"GET /both HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: \r\n", "", http.StatusOK, "GET /both"},
				{"GET /both HTTP/1.1", "Connection: Upgrade\r\n", "", http.StatusOK, "GET /both"},
				{"GET /both HTTP/1.1", "Sec-WebSocket-Version: 13\r\n", "", http.StatusOK, "GET /both"},
				// These ask for a WebSocket, and learn what is wrong with that.
				{"GET /both HTTP/1.1", "Upgrade: websocket\r\n", "", http.StatusBadRequest, errNoConnection.reason},
				{"POST /both HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n", "", http.StatusMethodNotAllowed, errMethod.reason},
				{"GET /both HTTP/1.1", "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n", "", http.StatusUpgradeRequired, errVersion.reason},
			} {
				conn := lifeConnect(t, addr)
				conn.raw([]byte(c.line + "\r\nHost: a\r\n" + c.headers + "\r\n" + c.body))
				method, _, _ := strings.Cut(c.line, " ")
				answer, err := http.ReadResponse(conn.r, &http.Request{Method: method})
				must(t, err)
				body, err := io.ReadAll(answer.Body)
				must(t, err)
				if answer.StatusCode != c.status || !strings.Contains(string(body), c.want) {
					t.Errorf("%s, %s with %q: %d %q, want %d with %q", door, c.line, c.headers, answer.StatusCode, body, c.status, c.want)
				}
				if c.status != http.StatusOK || strings.HasSuffix(c.line, "1.0") {
					continue
				}
				conn.upgraded("/both")
				conn.echo("now a socket")
				conn.bye()
			}
			conn := lifeConnect(t, addr)
			conn.upgraded("/both")
			conn.echo("at once a socket")
			if door == "mounted" {
				continue
			}
			conn = lifeConnect(t, addr)
			conn.asked("GET", "/both", "", 1<<20)
			conn.raw([]byte("GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n"))
			conn.response(http.StatusNotFound)
			conn = lifeConnect(t, addr)
			conn.raw([]byte("GET /socket HTTP/1.1\r\nHost: a\r\n\r\n"))
			conn.response(http.StatusUpgradeRequired)
		}
	})
}

// TestPlainHTTP2: mounted under TLS and HTTP/2, an endpoint has its plain handler, and no sockets.
func TestPlainHTTP2(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	defer s.Close()
	h := httptest.NewUnstartedServer(s.Handle("/both", Options{Plain: lifePlain}))
	h.EnableHTTP2 = true
	h.StartTLS()
	defer h.Close()
	answer, err := h.Client().Get(h.URL + "/both")
	must(t, err)
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "GET /both") {
		t.Errorf("%s %d %q", answer.Proto, answer.StatusCode, body)
	}
}
