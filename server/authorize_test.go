//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestAuthorize: what Authorize returns decides, by each of the doors, and what it refuses with is
// what the peer is told.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	const secret = "the password is wrong"
	login := &Rejection{Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {"Basic"}}, Body: "who are you?"}
	injected := &Rejection{Status: 418, Body: "no", Header: http.Header{
		"X-Evil": {"a\r\nSet-Cookie: b", "\x00c\n", "\td\x7f"}, "X\r\nSet-Cookie": {"e"}, "": {"f"}, "X Y": {"g"},
		"connection": {"keep-alive"}, "Content-Length": {"1"}, "transfer-encoding": {"chunked"}, "Upgrade": {"websocket"}, "Trailer": {"X"}, "Date": {"never"},
	}}
	for name, c := range map[string]struct {
		authorize func(*http.Request) (Grant, error)
		want      *refusal // nil lets it in
		headers   map[string]string
	}{
		"allowed":               {func(r *http.Request) (Grant, error) { return Grant{Value: "whoever"}, nil }, nil, nil},
		"denied":                {func(*http.Request) (Grant, error) { return Grant{}, errors.New(secret) }, errDenied, nil},
		"denied by a Rejection": {func(*http.Request) (Grant, error) { return Grant{}, login }, refused(401, "who are you?"), map[string]string{"Www-Authenticate": "Basic"}},
		"denied by a wrapped Rejection": {func(*http.Request) (Grant, error) { return Grant{}, fmt.Errorf("%s: %w", secret, login) }, refused(401, "who are you?"),
			map[string]string{"Www-Authenticate": "Basic"}},
		"denied by nothing": {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{} }, errDenied, nil},
		"denied by less":    {func(*http.Request) (Grant, error) { return Grant{}, (*Rejection)(nil) }, errDenied, nil},
		"RFC 6455 4.2.2 redirect": {func(*http.Request) (Grant, error) {
			return Grant{}, &Rejection{Status: 302, Header: http.Header{"Location": {"/"}}, Body: "there"}
		}, refused(302, "there"), map[string]string{"Location": "/"}},
		"a status of 101":         {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{Status: 101, Body: "no"} }, refused(403, "no"), nil},
		"a status of 200":         {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{Status: 200, Body: "no"} }, refused(403, "no"), nil},
		"a status without a body": {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{Status: 304, Body: "no"} }, refused(403, "no"), nil},
		"a status of 600":         {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{Status: 600, Body: "no"} }, refused(403, "no"), nil},
		"a status of nobody":      {func(*http.Request) (Grant, error) { return Grant{}, &Rejection{Status: 599, Body: "no"} }, refused(599, "no"), nil},
		"another type of body": {func(*http.Request) (Grant, error) {
			return Grant{}, &Rejection{Header: http.Header{"content-type": {"application/json"}}, Body: "{}"}
		}, refused(403, "{}"), map[string]string{"Content-Type": "application/json"}},
		"headers that are none": {func(*http.Request) (Grant, error) { return Grant{}, injected }, refused(418, "no"),
			map[string]string{"X-Evil": "a  Set-Cookie: b", "Set-Cookie": "", "Trailer": "", "Content-Type": "text/plain; charset=utf-8"}},
		"panic":  {func(*http.Request) (Grant, error) { panic(secret) }, errFailed, nil},
		"Goexit": {func(*http.Request) (Grant, error) { runtime.Goexit(); return Grant{}, nil }, errFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				log := new(lifeLog)
				s.Logger = slog.New(log)
				s.Handler = lifePlain
				values := make(chan any, 1)
				ep := s.Handle("/ws", Options{Authorize: c.authorize, OnMessage: echo, OnOpen: func(c *Conn, _ *Request) { values <- c.Value() }})
				addr := serve(t, s)
				mounted := lifeListen(t)
				lifeHTTPServer(t, ep, mounted)
				for _, door := range []struct {
					addr  string
					later bool
				}{{addr, false}, {addr, true}, {mounted.Addr().String(), false}} {
					p := dialBoth(t, door.addr, door.later)
					if c.want != nil {
						p.send(upgradeTo("/ws"))
						p.refusal(http.MethodGet, c.want, c.headers)
						continue
					}
					p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
					p.upgraded()
					p.want(ws.OpText, "early")
					if v := receive(t, "the open event", values); v != "whoever" {
						t.Errorf("the connection has %v", v)
					}
				}
				denied, failed := log.find("handshake not authorized"), log.find("handler panicked")
				quiet := map[*refusal]int{errDenied: 3}[c.want]
				if name == "denied by nothing" {
					quiet = 0
				}
				loud := map[*refusal]int{errFailed: 3}[c.want]
				if len(denied) != quiet || len(failed) != loud || s.Stats().Panics != uint64(loud) {
					t.Errorf("logged: %v and %v; %d panics are counted", denied, failed, s.Stats().Panics)
				}
				for _, r := range failed {
					if cause := map[string]string{"panic": secret, "Goexit": "runtime.Goexit"}[name]; r["panic"] != cause || r["handler"] != "Authorize" {
						t.Errorf("logged: %v", r)
					}
				}
			})
		})
	}
}

// TestAuthorizeRequest: Authorize sees what net/http would give a handler.
func TestAuthorizeRequest(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handler = lifePlain
		s.HandshakeTimeout = time.Hour
		seen := make(chan error, 1)
		s.Handle("/a b", Options{Authorize: func(r *http.Request) (Grant, error) {
			cookie, err := r.Cookie("session")
			deadline, ends := r.Context().Deadline()
			switch {
			case err != nil || cookie.Value != "1234" || r.Host != "example.com" || r.URL.Path != "/a b" || r.URL.Query().Get("x") != "1" ||
				r.RequestURI != "/a%20b?x=1" || r.Method != "GET" || r.Proto != "HTTP/1.1" || r.Body != http.NoBody || r.Header.Get("Upgrade") != "websocket":
				err = fmt.Errorf("cookie %v, %w, of %+v", cookie, err, r)
			case !strings.HasPrefix(r.RemoteAddr, "127.0.0.1:"):
				err = fmt.Errorf("from %q", r.RemoteAddr)
			case r.Header.Get("X") == "direct" && (!ends || time.Until(deadline).Round(time.Hour) != time.Hour):
				err = fmt.Errorf("the context ends at %v", deadline)
			}
			seen <- err
			return Grant{}, nil
		}})
		addr := serve(t, s)
		for _, later := range []bool{false, true} {
			p := dialBoth(t, addr, later)
			p.send(upgradeTo("/a%20b?x=1", "Cookie: a=b; session=1234", map[bool]string{false: "X: direct", true: "X: later"}[later]))
			p.upgraded()
			must(t, receive(t, "the question", seen))
		}
	})
}

// gate is an Authorize that blocks until it is let go of, and does not care about its context.
type gate struct{ entered, leave chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 1<<10), make(chan struct{})} }

// guards is serve with a gate that is open at the latest when the server is seen off.
func (g *gate) guards(t *testing.T, s *Server) (addr string) {
	addr = serve(t, s)
	t.Cleanup(g.open)
	return addr
}

func (g *gate) open() {
	if !isClosed(g.leave) {
		close(g.leave)
	}
}

func (g *gate) authorize(*http.Request) (Grant, error) {
	g.entered <- struct{}{}
	<-g.leave
	return Grant{}, nil
}

// TestAuthorizeKeeps: what comes behind the head while Authorize has not answered is kept within the
// budget, and served in order then. The loop is nobody's to block.
func TestAuthorizeKeeps(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 1
		g := newGate()
		s.Handle("/ws", Options{OnMessage: echo, Authorize: g.authorize})
		s.Handle("/free", Options{OnMessage: echo})
		addr := g.guards(t, s)
		head := upgradeTo("/ws", "X: "+strings.Repeat("x", 1000))
		whole, halves := dial(t, addr), dial(t, addr)
		whole.send(head, frame(ws.OpText, "one"), fragment(ws.OpText, false, "t"))
		halves.send(head[:500])
		await(t, "half a head is kept", func() bool { return s.Stats().InboundHeld >= 500 })
		halves.send(head[500:], frame(ws.OpText, "one"), fragment(ws.OpText, false, "t"))
		receive(t, "the question", g.entered)
		receive(t, "the other question", g.entered)
		if held := s.Stats().InboundHeld; held < int64(2*len(head)) {
			t.Errorf("%d bytes are held of two heads of %d", held, len(head))
		}
		for _, p := range []*peer{whole, halves} {
			p.send(cont(true, "wo"), frame(ws.OpPing, "ping"))
		}
		free := open(t, addr, "/free")
		free.send(frame(ws.OpText, "free"))
		free.want(ws.OpText, "free")
		g.open()
		for _, p := range []*peer{whole, halves} {
			p.upgraded()
			p.want(ws.OpText, "one")
			p.want(ws.OpText, "two")
			p.want(ws.OpPong, "ping")
		}
		await(t, "all is given back", func() bool { return s.Stats().InboundHeld == 0 })
		if st := s.Stats(); st.Deposed != 0 {
			t.Errorf("%d times a loop was held up", st.Deposed)
		}
	})
}

// TestAuthorizeNoRoom: a handshake that can't be kept is refused before anybody is asked.
func TestAuthorizeNoRoom(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.InboundBudget = 1000
		s.Handle("/ws", Options{Authorize: func(*http.Request) (Grant, error) { t.Error("it is asked"); return Grant{}, nil }})
		p := dial(t, serve(t, s))
		p.send(upgradeTo("/ws", "X: "+strings.Repeat("x", 1000)))
		p.wantRefusal(errNoRoom, nil)
	})
}

// TestAuthorizeSlow: at the end of the handshake's time the peer is told so, be it that Authorize
// gives up with its context, that it does not care, or that nobody is free to ask. What it says
// later counts for nothing, and the one who was not asked about needs nobody to go.
func TestAuthorizeSlow(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.HandshakeTimeout = 30 * time.Millisecond
		s.Workers = 1
		g := newGate()
		never := func(*Conn, *Request) { t.Error("it is opened") }
		s.Handle("/patient", Options{OnOpen: never, Authorize: func(r *http.Request) (Grant, error) { <-r.Context().Done(); return Grant{}, context.Cause(r.Context()) }})
		s.Handle("/late", Options{OnOpen: never, Authorize: func(r *http.Request) (Grant, error) { <-r.Context().Done(); return Grant{}, nil }})
		s.Handle("/stubborn", Options{OnOpen: never, Authorize: g.authorize})
		addr := g.guards(t, s)
		for _, path := range []string{"/patient", "/late", "/stubborn"} {
			p := dial(t, addr)
			p.send(upgradeTo(path), frame(ws.OpText, "early"))
			p.wantRefusal(errAuthorizeSlow, nil)
			must(t, p.conn.Close())
		}
		receive(t, "the question", g.entered)
		for range 3 {
			p := dial(t, addr)
			p.send(upgradeTo("/late"))
			p.wantRefusal(errAuthorizeSlow, nil)
			must(t, p.conn.Close())
		}
		await(t, "only the one that is asked about is left", func() bool { return s.Stats().Conns == 1 })
		g.open()
		await(t, "none is left", func() bool { return s.Stats().Conns == 0 })
	})
}

// TestAuthorizePeerGone: a peer that goes away meanwhile leaves nothing behind, whatever the answer
// is. Either it was opened and closed, or neither.
func TestAuthorizePeerGone(t *testing.T) {
	for name, answer := range map[string]error{"allowed": nil, "denied": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				g := newGate()
				j := newJournal()
				s.Handle("/ws", j.keep(Options{Authorize: func(r *http.Request) (Grant, error) { g.authorize(r); return Grant{}, answer }}))
				addr := g.guards(t, s)
				for i := range 6 {
					p := dial(t, addr)
					p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
					receive(t, "the question", g.entered)
					if i%2 == 0 {
						must(t, p.conn.SetLinger(0)) // with a reset
					}
					must(t, p.conn.Close())
				}
				g.open()
				await(t, "none is left", func() bool { return s.Stats().Conns == 0 })
				events := map[*Conn]string{}
				for len(j) > 0 {
					e := <-j
					events[e.conn] += e.what + " "
				}
				for _, e := range events {
					if e != "open message close " && e != "open close " {
						t.Errorf("events: %s", e)
					}
				}
				if answer != nil && len(events) > 0 {
					t.Errorf("events of connections that were denied: %v", events)
				}
			})
		})
	}
}

// TestAuthorizeClientLeaves: the end of the client's stream, in order or by a reset, ends the context of Authorize by each of the doors, and
// whatever Authorize answers then, the connection is never opened.
func TestAuthorizeClientLeaves(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"granted": nil, "rejected": errors.New("no")} {
		for reset, end := range map[bool]string{false: "in order", true: "by a reset"} {
			for behind, bytes := range map[string][]byte{"nothing": nil, "frames": cat(frame(ws.OpText, "early"), fragment(ws.OpText, false, "half"))} {
				t.Run(name+", "+end+", behind the head "+behind, func(t *testing.T) {
					onPollers(t, func(t *testing.T, s *Server) {
						s.HandshakeTimeout = time.Hour
						j := newJournal()
						entered, ended := make(chan bool, 1), make(chan error, 1)
						ep := s.Handle("/ws", j.keep(Options{Authorize: func(r *http.Request) (Grant, error) {
							entered <- true
							<-r.Context().Done()
							ended <- r.Context().Err()
							return Grant{Value: 1, Header: http.Header{"X": {"y"}}}, answer
						}}))
						for _, d := range doorsTo(t, s, ep) {
							p := d.dial(t)
							p.send(upgradeTo("/ws"), bytes)
							receive(t, d.name+": the question", entered)
							p.hangUp(reset)
							if err := receive(t, d.name+": the end of the context", ended); err != context.Canceled {
								t.Errorf("%s: the context ended by %v", d.name, err)
							}
							await(t, d.name+": the connection is gone", func() bool { return s.Stats().Conns == 0 })
						}
						if st := s.Stats(); len(j) > 0 || st.Handshakes > 0 || st.Closed > 0 {
							t.Errorf("%d events, %d refused, %d closed", len(j), st.Handshakes, st.Closed)
						}
					})
				})
			}
		}
	}
}

// TestAuthorizeHalfClose: a client that ends its side behind the head, in the same segment or another, is one that left.
func TestAuthorizeHalfClose(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.HandshakeTimeout = time.Hour
		j := newJournal()
		s.Handle("/ws", j.keep(Options{Authorize: func(r *http.Request) (Grant, error) { <-r.Context().Done(); return Grant{}, nil }}))
		addr := serve(t, s)
		for range 20 {
			p := dial(t, addr)
			p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
			must(t, p.conn.CloseWrite())
			p.wantEnd()
		}
		await(t, "none is left", func() bool { return s.Stats().Conns == 0 })
		if st := s.Stats(); len(j) > 0 || st.Abandoned != 20 {
			t.Errorf("%d events, %d abandoned", len(j), st.Abandoned)
		}
	})
}

// TestAuthorizeFreesPlaces: clients that leave, while they are asked about or wait for it, make room at once for one that stays.
func TestAuthorizeFreesPlaces(t *testing.T) {
	t.Parallel()
	for reset, end := range map[bool]string{false: "in order", true: "by a reset"} {
		t.Run(end, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				const many = 40
				s.Workers, s.MaxHandshakes, s.HandshakeTimeout = 4, many+1, time.Hour
				j := newJournal()
				entered := make(chan bool, many)
				s.Handle("/ws", j.keep(Options{OnMessage: echo, Authorize: func(r *http.Request) (Grant, error) {
					if r.URL.RawQuery == "stays" {
						return Grant{}, nil
					}
					entered <- true
					<-r.Context().Done()
					return Grant{}, nil
				}}))
				addr := serve(t, s)
				var leave []*peer
				for range many {
					p := dial(t, addr)
					p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
					leave = append(leave, p)
				}
				await(t, "all wait", func() bool {
					st := s.Stats()
					return st.Authorizing.Running == 4 && st.Authorizing.Waiting == many-4
				})
				stays := dial(t, addr)
				stays.send(upgradeTo("/ws?stays"), frame(ws.OpText, "early"))
				await(t, "it waits too", func() bool { return s.Stats().Authorizing.Waiting == many-3 })
				for _, p := range leave {
					p.hangUp(reset)
				}
				stays.upgraded()
				stays.want(ws.OpText, "early")
				await(t, "the others are gone", func() bool { st := s.Stats(); return st.Conns == 1 && st.Handshaking == 0 })
				j.want(t, "open")
				j.want(t, "message")
				if len(j) > 0 {
					t.Errorf("%d more events", len(j))
				}
			})
		})
	}
}

// TestAuthorizeStubborn: one that does not heed its context keeps its worker, and its connection is not opened either.
func TestAuthorizeStubborn(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.HandshakeTimeout = time.Hour
		g := newGate()
		j := newJournal()
		s.Handle("/ws", j.keep(Options{Authorize: g.authorize}))
		addr := g.guards(t, s)
		for _, reset := range []bool{false, true} {
			p := dial(t, addr)
			p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
			receive(t, "the question", g.entered)
			p.hangUp(reset)
		}
		await(t, "their places among the handshakes are free", func() bool { return s.Stats().Handshaking == 0 })
		g.open()
		await(t, "none is left", func() bool { return s.Stats().Conns == 0 })
		if len(j) > 0 {
			t.Errorf("%d events", len(j))
		}
	})
}

// TestAuthorizeShutdown: Shutdown tells those who wait, and their Authorize by its context. Close
// tells nobody.
func TestAuthorizeShutdown(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		t.Run(fmt.Sprintf("orderly %v", orderly), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				s.Workers, s.HandshakeTimeout = 1, time.Hour // so the second one waits in the lane, and neither for that time
				entered := make(chan struct{}, 2)
				s.Handle("/ws", Options{
					OnOpen:    func(*Conn, *Request) { t.Error("it is opened") },
					Authorize: func(r *http.Request) (Grant, error) { entered <- struct{}{}; <-r.Context().Done(); return Grant{}, nil },
				})
				addr := serve(t, s)
				one, two := dial(t, addr), dial(t, addr)
				one.send(upgradeTo("/ws"))
				receive(t, "the question", entered)
				two.send(upgradeTo("/ws"))
				await(t, "the other waits", func() bool { return s.Stats().Authorizing.Waiting == 1 })
				if !orderly {
					must(t, s.Close())
					await(t, "none is left", func() bool { return s.Stats().Conns == 0 })
					if _, err := one.in.ReadByte(); err == nil {
						t.Error("it is answered")
					}
					return
				}
				done := lifeShut(s, lifeContext(t))
				for _, p := range []*peer{one, two} {
					p.wantRefusal(errShuttingDown, map[string]string{"Retry-After": "1"})
					must(t, p.conn.Close())
				}
				must(t, receive(t, "the end of Shutdown", done))
				if len(entered) > 0 {
					t.Error("the other is asked about")
				}
			})
		})
	}
}

// TestAuthorizeShutdownInside: Authorize may call Shutdown, which does not wait for it.
func TestAuthorizeShutdownInside(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		done := make(chan error, 1)
		s.Handle("/ws", Options{Authorize: func(r *http.Request) (Grant, error) { done <- s.Shutdown(context.Background()); return Grant{}, nil }})
		p := dial(t, serve(t, s))
		p.send(upgradeTo("/ws"))
		must(t, receive(t, "the end of Shutdown", done))
		p.wantRefusal(errShuttingDown, map[string]string{"Retry-After": "1"})
	})
}

// TestInvariant6Authorize: as many as like may block in Authorize. They cost nobody else's messages,
// ticks, handshakes or closes anything, and are asked about one after the other.
func TestInvariant6Authorize(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const workers, many = 8, 100
		s.Workers = workers
		g := newGate()
		ticks, enough, closes := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
		s.Handle("/ws", Options{OnMessage: echo, Authorize: g.authorize})
		slow := s.Handle("/free", Options{
			OnMessage: echo, OnClose: func(*Conn, Closing) { closes <- struct{}{} },
			Every: time.Millisecond, OnTick: func(*Conn) { // one that blocks has to have a lane
				select {
				case ticks <- struct{}{}:
				case <-enough:
				}
			},
		})
		addr := g.guards(t, s)
		var blocked []*peer
		for range many {
			p := dial(t, addr)
			p.send(upgradeTo("/ws"), frame(ws.OpText, "early"))
			blocked = append(blocked, p)
		}
		await(t, "all wait", func() bool {
			st := s.Stats()
			return st.Authorizing.Running == workers && st.Authorizing.Waiting == many-workers
		})
		free := open(t, addr, "/free")
		for range 20 {
			receive(t, "a tick", ticks)
		}
		close(enough)
		slow.slow.mark(s.now(), slowFor) // its handlers have a lane of their own
		free.send(frame(ws.OpText, "free"))
		free.want(ws.OpText, "free")
		free.send(closeFrame(1000, ""))
		receive(t, "the close event", closes)
		if len(g.entered) != workers {
			t.Errorf("%d are asked about at once, want %d", len(g.entered), workers)
		}
		g.open()
		for _, p := range blocked {
			p.upgraded()
			p.want(ws.OpText, "early")
		}
	})
}

// TestAuthorizeForgets: handshakes whose time is over while all workers are held up leave nothing in the
// queue behind them, however many they are.
func TestAuthorizeForgets(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Workers, s.HandshakeTimeout = 1, 50*time.Millisecond
		leave := make(chan struct{})
		defer close(leave)
		s.Handle("/", Options{Authorize: func(*http.Request) (Grant, error) { <-leave; return Grant{}, nil }})
		addr := serve(t, s)
		asked := false
		for !asked {
			var peers []*peer
			for range 400 {
				p := dial(t, addr)
				p.send(upgradeTo("/"))
				peers = append(peers, p)
			}
			for _, p := range peers {
				// It is 408 for those whose head nobody read in time.
				asked = strings.HasPrefix(p.answer(), "HTTP/1.1 503 ") || asked
				p.conn.Close()
			}
		}
		await(t, "all but one have left", func() bool { return s.Stats().Conns == 1 })
		l := &s.pool.questions
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := l.queue.len(); n > forgetFrom {
			t.Errorf("%d wait, and nobody is there", n)
		}
	})
}
