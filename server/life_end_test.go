//go:build linux

package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

const lifeGoodbye = "server is shutting down"

// lifeUnix is a listener on a unix socket. Its path is short, because such paths have to be.
func lifeUnix(t testing.TB) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "stillpool")
	lifeMust(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	lifeMust(t, err)
	return l
}

// lifeShut runs Shutdown on a goroutine and gives its error.
func lifeShut(srv *Server, ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(ctx) }()
	return done
}

func lifeStillBusy(t testing.TB, done <-chan error, until string) {
	t.Helper()
	select {
	case err := <-done:
		t.Errorf("it did not wait for %s: %v", until, err)
	default:
	}
}

// TestLifeShutdown is the whole of it: every listener, and a connection in each stage.
func TestLifeShutdown(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		ledger := newLifeLedger()
		srv := &Server{Poller: b, Loops: 2}
		ep := srv.Handle("/ws", ledger.over(Options{OnMessage: lifeEcho}))
		tcp, second, local := lifeListen(t), lifeListen(t), lifeUnix(t)
		var serving []<-chan error
		for _, l := range []net.Listener{tcp, second, local} {
			serving = append(serving, lifeServeOn(t, srv, l))
		}
		var open, half []*lifeClient
		for _, l := range []net.Listener{tcp, second, local} {
			for range 3 {
				c := lifeDial(t, l.Addr().String(), "/ws")
				c.echo("here")
				open = append(open, c)
			}
			c := lifeConnect(t, l.Addr().String())
			c.raw([]byte(lifeUpgrade("/ws")[:50]))
			half = append(half, c, lifeConnect(t, l.Addr().String()))
		}
		lifeEventually(t, "all are accepted", func() bool { return srv.Stats().Conns == len(open)+len(half) })

		done := lifeShut(srv, lifeContext(t))
		for _, c := range open {
			c.wantClose(CodeGoingAway, lifeGoodbye)
		}
		for _, c := range half {
			if _, body := c.response(http.StatusServiceUnavailable); body != lifeGoodbye+"\n" {
				t.Errorf("the refusal says %q", body)
			}
			c.wantEOF()
			c.Close()
		}
		for i, l := range []net.Listener{tcp, second, local} {
			if err := lifeGet(t, serving[i], "the end of Serve"); err != ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
			if conn, err := lifeDialNet(l.Addr().String()); err == nil {
				conn.Close()
				t.Errorf("%v still takes connections", l.Addr())
			}
		}
		if _, err := os.Stat(local.Addr().String()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the path of the unix socket is left: %v", err)
		}
		if n := ep.Len(); n != len(open) {
			t.Errorf("%d connections are left before their peers have answered, want %d", n, len(open))
		}
		for _, c := range open {
			lifeStillBusy(t, done, "the peers' answers")
			c.sayClose(CodeGoingAway, "")
			c.wantEOF()
		}
		lifeMust(t, lifeGet(t, done, "the end of Shutdown"))
		for range open {
			if why := <-ledger.ended; why != goingAway { // the events were, or Shutdown did not wait for them
				t.Errorf("closed by %+v", why)
			}
		}
		ledger.check(t, len(open))
		for _, l := range srv.loops() {
			if _, err := l.poll.Wait(nil, 0); err != netpoll.ErrClosed {
				t.Errorf("a poller is left open: %v", err)
			}
		}
		lifeMust(t, srv.Shutdown(t.Context())) // again
		if err := srv.Serve(lifeListen(t)); err != ErrServerClosed {
			t.Errorf("Serve after Shutdown: %v", err)
		}
	})
}

// TestLifeNothingLeft is not parallel, so that whatever is left is its server's.
func TestLifeNothingLeft(t *testing.T) {
	for _, b := range []netpoll.Backend{netpoll.Epoll, netpoll.EasyGo} {
		for _, end := range []string{"Shutdown", "Close"} {
			before := census()
			ended := make(chan struct{}, 1)
			srv := &Server{Poller: b, Loops: 2, Handler: http.NotFoundHandler()}
			srv.Handle("/ws", Options{OnMessage: lifeEcho, Every: time.Millisecond, OnTick: func(*Conn) {},
				OnClose: func(*Conn, Closing) { ended <- struct{}{} }})
			l := lifeListen(t)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			c, plain := lifeDial(t, l.Addr().String(), "/ws"), lifeConnect(t, l.Addr().String())
			c.echo("here")
			plain.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			plain.response(http.StatusNotFound)
			if end == "Shutdown" {
				done := lifeShut(srv, lifeContext(t))
				c.seenOff(CodeGoingAway, lifeGoodbye)
				lifeMust(t, lifeGet(t, done, "Shutdown"))
			} else {
				srv.Close()
			}
			c.Close()
			plain.Close()
			lifeGet(t, ended, "the close event")
			lifeGet(t, served, "the end of Serve")
			if left := leftBehind(before); left != "" {
				t.Errorf("%s on %s leaves behind:\n%s", end, b, left)
			}
		}
	}
}

func TestLifeShutdownCutsOff(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		ledger := newLifeLedger()
		srv := &Server{Poller: b, CloseTimeout: time.Hour}
		srv.Handle("/ws", ledger.over(Options{}))
		addr := lifeServe(t, srv)
		ctx, cancel := context.WithCancel(t.Context())
		clients := []*lifeClient{lifeDial(t, addr, "/ws"), lifeDial(t, addr, "/ws"), lifeDial(t, addr, "/ws")}
		done := lifeShut(srv, ctx)
		for _, c := range clients {
			c.wantClose(CodeGoingAway, lifeGoodbye)
		}
		lifeStillBusy(t, done, "the peers' answers")
		cancel()
		err := lifeGet(t, done, "the end of Shutdown")
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "3 connections") {
			t.Errorf("the error is %v", err)
		}
		for _, c := range clients {
			c.wantCut()
			if why := lifeGet(t, ledger.ended, "a close event"); why.Cause != ShutDown || why.Code != CodeGoingAway {
				t.Errorf("closed by %+v", why)
			}
		}
		lifeEnd(t, srv)
		ledger.check(t, len(clients))
	})
}

// TestLifeShutdownEnds: a time that is over stays over, whatever still runs.
func TestLifeShutdownEnds(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	t.Run("nobody is there", func(t *testing.T) {
		t.Parallel()
		for range 20 { // both its reasons to return are there, and either may be looked at first
			srv := new(Server)
			lifeServe(t, srv)
			lifeMust(t, lifeGet(t, lifeShut(srv, canceled), "Shutdown"))
		}
	})
	t.Run("a handler that blocks", func(t *testing.T) {
		t.Parallel()
		inside, release := make(chan struct{}), make(chan struct{})
		ledger := newLifeLedger()
		srv := new(Server)
		srv.Handle("/ws", ledger.over(Options{OnMessage: func(*Conn, Message) { inside <- struct{}{}; <-release }}))
		c := lifeDial(t, lifeServe(t, srv), "/ws")
		c.text("block")
		lifeGet(t, inside, "the handler")
		if err := lifeGet(t, lifeShut(srv, canceled), "Shutdown"); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if n := len(ledger.ended); n != 0 {
			t.Errorf("%d close events while the message handler runs", n)
		}
		close(release)
		lifeGet(t, ledger.ended, "the close event")
		lifeEnd(t, srv)
		ledger.check(t, 1)
	})
	t.Run("a handler that called it and goes on", func(t *testing.T) {
		t.Parallel()
		within, release := make(chan error), make(chan struct{})
		srv := new(Server)
		srv.Handle("/ws", Options{OnMessage: func(*Conn, Message) {
			within <- srv.Shutdown(context.Background())
			<-release
		}})
		c := lifeDial(t, lifeServe(t, srv), "/ws")
		c.text("shut down")
		lifeMust(t, lifeGet(t, within, "Shutdown inside"))
		if err := lifeGet(t, lifeShut(srv, canceled), "Shutdown outside"); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, but a connection is open", err)
		}
		close(release)
	})
	t.Run("a request of plain HTTP", func(t *testing.T) {
		t.Parallel()
		inside, release := make(chan struct{}), make(chan struct{})
		srv := &Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-release })}
		c := lifeConnect(t, lifeServe(t, srv))
		c.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		lifeGet(t, inside, "the handler")
		if err := lifeGet(t, lifeShut(srv, canceled), "Shutdown"); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		c.wantCut()
		close(release)
	})
}

// TestLifeShutdownInside calls Shutdown from each kind of handler: it waits for all others, and not
// for the handler that it is called from.
func TestLifeShutdownInside(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]func(*Options, func(*Conn)){
		"OnOpen": func(o *Options, f func(*Conn)) { o.OnOpen = func(c *Conn, _ *Request) { f(c) } },
		"OnMessage": func(o *Options, f func(*Conn)) {
			o.OnMessage = func(c *Conn, _ Message) { f(c) }
		},
		"OnTick":  func(o *Options, f func(*Conn)) { o.Every, o.OnTick = time.Millisecond, f },
		"OnClose": func(o *Options, f func(*Conn)) { o.OnClose = func(c *Conn, _ Closing) { f(c) } },
		"deep in OnMessage": func(o *Options, f func(*Conn)) {
			o.OnMessage = func(c *Conn, _ Message) { lifeDeep(1000, func() { f(c) }) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
				within := make(chan error, 1)
				gone := make(chan struct{})
				srv := &Server{Poller: b}
				other := srv.Handle("/other", Options{OnMessage: lifeEcho, OnClose: func(*Conn, Closing) { close(gone) }})
				var o Options
				once := make(chan struct{}, 1)
				trigger(&o, func(*Conn) {
					select {
					case once <- struct{}{}:
					default:
						return // a tick handler is called again
					}
					err := srv.Shutdown(lifeContext(t))
					if err == nil && other.Len() > 0 {
						err = errors.New("it did not wait for the other connection")
					}
					within <- err
				})
				srv.Handle("/ws", o)
				addr := lifeServe(t, srv)
				bystander := lifeDial(t, addr, "/other")
				bystander.echo("here")
				c := lifeDial(t, addr, "/ws")
				switch {
				case o.OnMessage != nil:
					c.text("now")
				case o.OnClose != nil:
					c.sayClose(CodeNormal, "")
				}
				bystander.wantClose(CodeGoingAway, lifeGoodbye)
				select {
				case err := <-within:
					t.Errorf("it did not wait for the other's answer: %v", err)
				case <-gone:
					t.Error("the other is gone before it answered")
				default:
				}
				bystander.sayClose(CodeGoingAway, "")
				lifeMust(t, lifeGet(t, within, "Shutdown inside the handler"))
				lifeGet(t, gone, "the other's close event")
				if o.OnClose == nil {
					c.seenOff(CodeGoingAway, lifeGoodbye)
				}
				lifeMust(t, srv.Shutdown(lifeContext(t)))
			})
		})
	}
}

// TestLifeShutdownOfAnother: a handler of one server that ends another one is none of that one's
// handlers, and waits for all of its connections.
func TestLifeShutdownOfAnother(t *testing.T) {
	t.Parallel()
	other := new(Server)
	ep := other.Handle("/ws", Options{})
	peer := lifeDial(t, lifeServe(t, other), "/ws")
	within := make(chan error, 1)
	srv := new(Server)
	srv.Handle("/ws", Options{OnMessage: func(*Conn, Message) {
		err := other.Shutdown(lifeContext(t))
		if err == nil && ep.Len() > 0 {
			err = errors.New("it did not wait")
		}
		within <- err
	}})
	c := lifeDial(t, lifeServe(t, srv), "/ws")
	c.text("end the other")
	peer.wantClose(CodeGoingAway, lifeGoodbye)
	lifeStillBusy(t, within, "the peer's answer")
	peer.sayClose(CodeGoingAway, "")
	peer.wantEOF()
	lifeMust(t, lifeGet(t, within, "Shutdown"))
	c.bye()
}

// lifeDeep calls f under n more frames.
func lifeDeep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	lifeDeep(n-1, f)
}

// TestLifeShutdownTwice: each of several callers waits to the end.
func TestLifeShutdownTwice(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	srv.Handle("/ws", Options{})
	c := lifeDial(t, lifeServe(t, srv), "/ws")
	first, second := lifeShut(srv, lifeContext(t)), lifeShut(srv, lifeContext(t))
	c.wantClose(CodeGoingAway, lifeGoodbye)
	lifeStillBusy(t, first, "the peer's answer")
	lifeStillBusy(t, second, "the peer's answer")
	c.sayClose(CodeGoingAway, "")
	c.wantEOF()
	lifeMust(t, lifeGet(t, first, "the first Shutdown"))
	lifeMust(t, lifeGet(t, second, "the second Shutdown"))
}

func TestLifeEndBeforeBegin(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Server) error{
		"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) },
		"Close":    (*Server).Close,
	} {
		srv := &Server{Addr: "127.0.0.1:0"}
		ep := srv.Handle("/ws", Options{})
		if err := end(srv); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		l := lifeListen(t)
		if err := srv.Serve(l); err != ErrServerClosed {
			t.Errorf("Serve after %s: %v", name, err)
		}
		l.(*net.TCPListener).SetDeadline(time.Now())
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve after %s left the listener open: %v", name, err)
		}
		if err := srv.ListenAndServe(); err != ErrServerClosed {
			t.Errorf("ListenAndServe after %s: %v", name, err)
		}
		w := httptest.NewRecorder()
		ep.ServeHTTP(w, httptest.NewRequest("GET", "/ws", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("ServeHTTP after %s: status %d", name, w.Code)
		}
		if st := srv.Stats(); st.Conns != 0 || ep.Len() != 0 {
			t.Errorf("after %s there are connections: %+v", name, st)
		}
	}
}

// TestLifeClose: nobody is waited for, and nothing is said.
func TestLifeClose(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		ledger := newLifeLedger()
		srv := &Server{Poller: b, Loops: 2}
		srv.Handle("/ws", ledger.over(Options{OnMessage: lifeEcho}))
		l := lifeUnix(t)
		served := lifeServeOn(t, srv, l)
		addr := l.Addr().String()
		var clients []*lifeClient
		for range 5 {
			c := lifeDial(t, addr, "/ws")
			c.echo("here")
			clients = append(clients, c)
		}
		silent := lifeConnect(t, addr)
		lifeMust(t, srv.Close())
		lifeMust(t, srv.Close())
		if err := lifeGet(t, served, "the end of Serve"); err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		if _, err := lifeDialNet(addr); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("the unix socket is still there: %v", err)
		}
		silent.wantCut()
		for _, c := range clients {
			c.wantCut()
			if why := lifeGet(t, ledger.ended, "a close event"); why != (Closing{Cause: ShutDown, Code: CodeAbnormal}) {
				t.Errorf("closed by %+v", why)
			}
		}
		lifeEnd(t, srv)
		ledger.check(t, len(clients))
		lifeMust(t, srv.Shutdown(t.Context())) // nothing is left to wait for
	})
}

// TestLifeCloseDuringShutdown: somebody who loses patience.
func TestLifeCloseDuringShutdown(t *testing.T) {
	t.Parallel()
	srv := &Server{CloseTimeout: time.Hour}
	srv.Handle("/ws", Options{})
	c := lifeDial(t, lifeServe(t, srv), "/ws")
	done := lifeShut(srv, lifeContext(t))
	c.wantClose(CodeGoingAway, lifeGoodbye)
	srv.Close()
	lifeMust(t, lifeGet(t, done, "Shutdown"))
	c.wantCut()
}

// TestLifeShutdownWhileTheyCome: a connection that opens just then is seen off like the others, or
// was never let in.
func TestLifeShutdownWhileTheyCome(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		ledger := newLifeLedger()
		srv := &Server{Poller: b, Loops: 2}
		srv.Handle("/ws", ledger.over(Options{}))
		addr := lifeServe(t, srv)
		opened := make(chan struct{}, 1000)
		come := make(chan int)
		for range 4 {
			go func() {
				n := 0
				for {
					c, err := lifeTryDial(t, addr, "/ws")
					if err != nil {
						come <- n
						return
					}
					n++
					opened <- struct{}{}
					go func() {
						c.r.WriteTo(discardUntilClose{c})
						c.Close()
					}()
				}
			}()
		}
		for range 20 {
			lifeGet(t, opened, "connections")
		}
		lifeMust(t, srv.Shutdown(lifeContext(t)))
		n := 0
		for range 4 {
			n += lifeGet(t, come, "the end of a client")
		}
		// One whose answer was lost in the end had its events too, so n is only the least.
		if st := srv.Stats(); st.Conns != 0 || int(st.Closed) < n {
			t.Errorf("%d clients were let in: %+v", n, st)
		}
		ledger.check(t, len(ledger.events))
	})
}

// TestLifeShutdownWhileAccepting: the last connection may leave while a listener is still at it, and
// then the loops are still needed.
func TestLifeShutdownWhileAccepting(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	srv.Handle("/ws", Options{OnMessage: lifeEcho})
	addr := lifeServe(t, srv)
	leaving := lifeDial(t, addr, "/ws")
	leaving.echo("here") // a connection that opens in the end is seen off at once
	var accepting *acceptor
	srv.mu.Lock()
	for a := range srv.acceptors {
		accepting = a
	}
	srv.mu.Unlock()
	accepting.mu.Lock() // as it is while it accepts
	release := sync.OnceFunc(accepting.mu.Unlock)
	defer release()
	done := lifeShut(srv, lifeContext(t))
	lifeEventually(t, "the end has begun", srv.stopping.Load)
	leaving.bye()
	lifeEventually(t, "nobody is there", func() bool { return srv.Stats().Conns == 0 })
	coming := lifeConnect(t, addr)
	var fd int
	lifeEventually(t, "somebody comes", func() bool {
		var err error
		fd, _, err = netpoll.Accept(accepting.listener.FD)
		return err == nil
	})
	accepting.loop.stats.accepted.Add(1)
	srv.admit(fd, netip.AddrPort{}, false)
	release()
	coming.response(http.StatusServiceUnavailable)
	coming.wantEOF()
	coming.Close()
	lifeMust(t, lifeGet(t, done, "Shutdown"))
}

// discardUntilClose answers the server's close frame.
type discardUntilClose struct{ c *lifeClient }

func (d discardUntilClose) Write(p []byte) (int, error) {
	d.c.Write(lifeFrame(8, "\x03\xe9"))
	return len(p), nil
}
