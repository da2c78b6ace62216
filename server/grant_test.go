//go:build linux

package server

import (
	"bufio"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// grantCase is what Authorize grants to a client with some headers, and what both sides have of it.
type grantCase struct {
	name  string
	grant Grant
	ours  []string // Options.Subprotocols
	asks  []string // the client's headers
	has   http.Header
	sub   string
	err   error // 500, and this in the log
}

func grantCases() []grantCase {
	const offer = "Sec-WebSocket-Protocol: "
	sub := func(s string) Grant { return Grant{Subprotocol: s} }
	header := func(pairs ...string) (g Grant) {
		g.Header = http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			g.Header[pairs[i]] = append(g.Header[pairs[i]], pairs[i+1])
		}
		return g
	}
	return []grantCase{
		{name: "nothing"},
		{name: "a value", grant: Grant{Value: "Ada"}},
		{name: "a cookie", grant: header("Set-Cookie", "node=7; HttpOnly"), has: http.Header{"Set-Cookie": {"node=7; HttpOnly"}}},
		{name: "two cookies, and another header", grant: header("Set-Cookie", "a=1", "Set-Cookie", "b=2", "X-Request-Id", "\t9 "),
			has: http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Request-Id": {"9"}}},
		{name: "a header of another spelling", grant: header("x-node", "7"), has: http.Header{"X-Node": {"7"}}},
		{name: "a header with bytes beyond ASCII", grant: header("X-Name", "é"), has: http.Header{"X-Name": {"é"}}},
		{name: "a long header", grant: header("X-Long", strings.Repeat("x", 100_000)), has: http.Header{"X-Long": {strings.Repeat("x", 100_000)}}},
		{name: "a header without a value", grant: header("X-Empty", ""), has: http.Header{"X-Empty": {""}}},
		{name: "headers of the handshake", grant: header("Upgrade", "h2c", "connection", "close", "Content-Length", "5", "transfer-encoding", "chunked", "Date", "never",
			"Keep-Alive", "timeout=5", "Trailer", "X", "Sec-WebSocket-Accept", "no", "sec-websocket-protocol", "no", "Sec-Websocket-Extensions", "permessage-deflate", "X", "y"),
			has: http.Header{"X": {"y"}}},
		{name: "a trailer", grant: header(http.TrailerPrefix+"X", "y")},
		{name: "CR LF in a value", grant: header("X", "a\r\nSet-Cookie: b"), err: ErrInvalidHeader},
		{name: "LF in a value", grant: header("X", "a\nSet-Cookie: b"), err: ErrInvalidHeader},
		{name: "CR at the end of a value", grant: header("X", "a\r"), err: ErrInvalidHeader},
		{name: "NUL in a value", grant: header("X", "a\x00"), err: ErrInvalidHeader},
		{name: "CR LF in a name", grant: header("X: a\r\nY", "b"), err: ErrInvalidHeader},
		{name: "a blank in a name", grant: header("X Y", "b"), err: ErrInvalidHeader},
		{name: "no name", grant: header("", "b"), err: ErrInvalidHeader},

		{name: "a subprotocol", grant: sub("b"), asks: []string{offer + "a, b"}, sub: "b"},
		{name: "a subprotocol of several lines", grant: sub("c"), asks: []string{offer + "a", offer + "b,\tc "}, sub: "c"},
		{name: "a subprotocol that the endpoint has, and not the best", grant: sub("b"), ours: []string{"a", "b"}, asks: []string{offer + "b, a"}, sub: "b"},
		{name: "a subprotocol that the endpoint does not have", grant: sub("v2.chat"), ours: []string{"a"}, asks: []string{offer + "a, v2.chat"}, sub: "v2.chat"},
		{name: "no subprotocol, and the endpoint has one", ours: []string{"a", "b"}, asks: []string{offer + "b"}, sub: "b"},
		{name: "no subprotocol, and the client offers some", asks: []string{offer + "a, b"}},
		{name: "a subprotocol that the client does not offer", grant: sub("c"), asks: []string{offer + "a, b"}, err: ErrSubprotocolNotOffered},
		{name: "a subprotocol, and the client offers none", grant: sub("a"), err: ErrSubprotocolNotOffered},
		{name: "a subprotocol that the endpoint has and the client does not offer", grant: sub("a"), ours: []string{"a"}, asks: []string{offer + "b"}, err: ErrSubprotocolNotOffered},
		{name: "a subprotocol in another case", grant: sub("A"), asks: []string{offer + "a"}, err: ErrSubprotocolNotOffered},
		{name: "two subprotocols", grant: sub("a, b"), asks: []string{offer + "a, b"}, err: ErrSubprotocolNotOffered},
		{name: "a subprotocol with CR LF", grant: sub("a\r\nX: y"), asks: []string{offer + "a"}, err: ErrSubprotocolNotOffered},
	}
}

// TestGrant: what Authorize grants arrives by each of the doors, with compression and without, and what can't be granted is
// answered with 500 and logged with its name.
func TestGrant(t *testing.T) {
	t.Parallel()
	for _, c := range grantCases() {
		t.Run(c.name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				log := new(lifeLog)
				s.Logger = slog.New(log)
				opened := make(chan *Conn, 1)
				ep := s.Handle("/ws", Options{
					Subprotocols: c.ours, OnMessage: echo, Compression: Compression{Enabled: true},
					// What becomes of the request afterwards does not count.
					Authorize: func(r *http.Request) (Grant, error) { clear(r.Header); return c.grant, nil },
					OnOpen: func(conn *Conn, r *Request) {
						if r.Subprotocol() != c.sub || conn.Subprotocol() != c.sub || conn.Value() != c.grant.Value {
							t.Errorf("opened with %q, %q and %v", r.Subprotocol(), conn.Subprotocol(), conn.Value())
						}
						opened <- conn
					},
				})
				doors := doorsTo(t, s, ep)
				for _, d := range doors {
					for _, more := range [][]string{nil, {"Sec-WebSocket-Extensions: permessage-deflate"}} {
						p := d.dial(t)
						p.send(upgradeTo("/ws", append(slices.Clone(c.asks), more...)...))
						if c.err != nil {
							p.refusal(http.MethodGet, errFailed, nil)
							continue
						}
						c.answered(t, d.name, p.answer(), more != nil)
						if conn := receive(t, "the open event", opened); conn.Endpoint() != ep {
							t.Errorf("%s: opened on another endpoint", d.name)
						}
						p.send(frame(ws.OpText, "in frames"))
						if more == nil {
							p.want(ws.OpText, "in frames")
						}
					}
				}
				if logged := log.find("handshake grant invalid"); c.err != nil && (len(logged) != 2*len(doors) || !strings.Contains(logged[0]["error"], c.err.Error())) || c.err == nil && len(logged) > 0 {
					t.Errorf("logged: %v", logged)
				}
				if got := s.Stats().RefusedBy[RefusedFailed]; c.err != nil && got != uint64(2*len(doors)) {
					t.Errorf("%d are counted", got)
				}
			})
		})
	}
}

// answered holds an answer against the row: it has these headers, those of the handshake, and no more.
func (c *grantCase) answered(t *testing.T, door, head string, compressed bool) {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), nil)
	must(t, err)
	want := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}}
	if c.sub != "" {
		want["Sec-Websocket-Protocol"] = []string{c.sub}
	}
	if compressed {
		want["Sec-Websocket-Extensions"] = []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}
	}
	for name, values := range c.has {
		want[name] = values
	}
	if answer.StatusCode != 101 || len(answer.Header) != len(want) {
		t.Fatalf("%s: answered %.500q", door, head)
	}
	for name, values := range want {
		if !slices.Equal(answer.Header[name], values) {
			t.Errorf("%s: %s is %.100q, want %.100q", door, name, answer.Header[name], values)
		}
	}
}

// TestMountedHeaders: the headers that a ResponseWriter has go out with the 101, before those of a grant and by the same rules; with a
// rejection they go out as ever.
func TestMountedHeaders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before http.Header
		grantCase
	}{
		"one": {http.Header{"Set-Cookie": {"a=1"}}, grantCase{has: http.Header{"Set-Cookie": {"a=1"}}}},
		"one beside a grant's": {http.Header{"Set-Cookie": {"a=1"}, "X": {"y"}}, grantCase{grant: Grant{Header: http.Header{"Set-Cookie": {"b=2"}}},
			has: http.Header{"Set-Cookie": {"a=1", "b=2"}, "X": {"y"}}}},
		"those of the handshake": {http.Header{"Content-Length": {"3"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Connection": {"close"}, "Date": {"never"},
			"Sec-Websocket-Protocol": {"x"}, "Sec-Websocket-Accept": {"no"}, http.TrailerPrefix + "X": {"y"}}, grantCase{}},
		"one that is suppressed":     {http.Header{"Date": nil, "X": nil}, grantCase{}},
		"one with CR LF":             {http.Header{"X": {"a\r\nSet-Cookie: b"}}, grantCase{err: ErrInvalidHeader}},
		"one with CR LF in its name": {http.Header{"X: a\r\nY": {"b"}}, grantCase{err: ErrInvalidHeader}},
	} {
		for _, authorize := range []bool{false, true} {
			if c.grant.Header != nil && !authorize {
				continue
			}
			t.Run(name, func(t *testing.T) {
				onPollers(t, func(t *testing.T, s *Server) {
					log := new(lifeLog)
					s.Logger = slog.New(log)
					o := Options{OnMessage: echo}
					if authorize {
						o.Authorize = func(*http.Request) (Grant, error) { return c.grant, nil }
					}
					ep := s.Handle("/ws", o)
					serve(t, s)
					mounted := lifeListen(t)
					lifeHTTPServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						for name, values := range c.before {
							w.Header()[name] = values
						}
						ep.ServeHTTP(w, r)
					}), mounted)
					p := dial(t, mounted.Addr().String())
					p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
					if c.err != nil {
						if answer := p.answer(); !strings.HasPrefix(answer, "HTTP/1.1 500 ") {
							t.Errorf("answered %q", answer)
						}
						if logged := log.find("handshake grant invalid"); len(logged) != 1 || !strings.Contains(logged[0]["error"], c.err.Error()) {
							t.Errorf("logged: %v", logged)
						}
						return
					}
					c.answered(t, "mounted", p.answer(), false)
					p.want(ws.OpText, "early")
				})
			})
		}
	}
}

// TestRejectionIsAnError: a Rejection says what it is, wrapped or not.
func TestRejectionIsAnError(t *testing.T) {
	t.Parallel()
	var r *Rejection
	err := errors.Join(errors.New("no"), &Rejection{Status: 404, Body: "gone"})
	if !errors.As(err, &r) || r.Error() != "server: rejected with 404: gone" {
		t.Errorf("it is %v", r)
	}
}
