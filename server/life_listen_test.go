//go:build linux

package server

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeInherited is what a process gets from its parent: a descriptor and no more.
func lifeInherited(t *testing.T, l net.Listener) net.Listener {
	f, err := l.(interface{ File() (*os.File, error) }).File()
	lifeMust(t, err)
	defer f.Close() // FileListener works on a duplicate
	heir, err := net.FileListener(f)
	lifeMust(t, err)
	t.Cleanup(func() { l.Close() })
	return heir
}

func TestLifeListeners(t *testing.T) {
	t.Parallel()
	listenWith := func(t *testing.T, multipath bool, addr string) net.Listener {
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(multipath)
		l, err := cfg.Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Skip(err)
		}
		return l
	}
	for name, open := range map[string]func(t *testing.T) net.Listener{
		"TCP":            func(t *testing.T) net.Listener { return listenWith(t, false, "127.0.0.1:0") },
		"multipath TCP":  func(t *testing.T) net.Listener { return listenWith(t, true, "127.0.0.1:0") },
		"IPv6":           func(t *testing.T) net.Listener { return listenWith(t, false, "[::1]:0") },
		"unix":           func(t *testing.T) net.Listener { return lifeUnix(t) },
		"inherited TCP":  func(t *testing.T) net.Listener { return lifeInherited(t, lifeListen(t)) },
		"inherited unix": func(t *testing.T) net.Listener { return lifeInherited(t, lifeUnix(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
				handles := make(chan *Conn, 1)
				srv := &Server{Poller: b}
				srv.Handle("/ws", Options{OnMessage: lifeEcho, OnOpen: func(c *Conn, _ *Request) { handles <- c }})
				l := open(t)
				addr := l.Addr().String()
				waiting := lifeConnect(t, addr) // it waits in the kernel before anybody serves
				served := lifeServeOn(t, srv, l)
				waiting.upgraded("/ws")
				waiting.echo("early")
				lifeGet(t, handles, "the open event")
				peer := lifeDial(t, addr, "/ws")
				peer.echo("hello")
				c := lifeGet(t, handles, "the open event")
				want := peer.LocalAddr().String()
				if strings.Contains(addr, "/") {
					want = "invalid AddrPort"
				} else if got := lifeUserTimeout(t, c); got != 0 {
					t.Errorf("TCP_USER_TIMEOUT of the connection is %d ms: it ends peers that do not read", got)
				}
				if c.RemoteAddr().String() != want {
					t.Errorf("the peer is %v, want %v", c.RemoteAddr(), want)
				}
				peer.bye()
				waiting.bye()
				lifeMust(t, srv.Shutdown(lifeContext(t)))
				if err := lifeGet(t, served, "the end of Serve"); err != ErrServerClosed {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

func lifeUserTimeout(t *testing.T, c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	lifeMust(t, err)
	return n
}

// lifeHidden is a listener that shows no descriptor.
type lifeHidden struct{ net.Listener }

func TestLifeListenerWithoutDescriptor(t *testing.T) {
	t.Parallel()
	inner := lifeListen(t)
	defer inner.Close()
	for _, l := range []net.Listener{lifeHidden{inner}, tls.NewListener(inner, &tls.Config{})} {
		srv := new(Server)
		if err := srv.Serve(l); err == nil || !strings.Contains(err.Error(), "no descriptor") {
			t.Errorf("Serve of a %T: %v", l, err)
		}
		lifeMust(t, srv.Shutdown(t.Context()))
	}
	conn, err := net.Dial("tcp", inner.Addr().String()) // it is still the caller's
	lifeMust(t, err)
	conn.Close()
}

func TestLifeListenAndServe(t *testing.T) {
	t.Parallel()
	taken := lifeListen(t)
	defer taken.Close()
	for _, addr := range []string{taken.Addr().String(), "nonsense", "127.0.0.1:http2x"} {
		if err := (&Server{Addr: addr}).ListenAndServe(); err == nil || err == ErrServerClosed {
			t.Errorf("on %s: %v", addr, err)
		}
	}
	if err := (&Server{Addr: "127.0.0.1:0", Poller: "kqueue"}).ListenAndServe(); err == nil || !strings.Contains(err.Error(), "kqueue") {
		t.Errorf("with an unknown poller: %v", err)
	}
	for name, bad := range map[string]*Server{
		"Loops": {Loops: -1}, "Workers": {Workers: -1}, "MaxConns": {MaxConns: -1}, "MaxHeaderBytes": {MaxHeaderBytes: -1},
		"HandshakeTimeout": {HandshakeTimeout: -1}, "CloseTimeout": {CloseTimeout: -1}, "InboundBudget": {InboundBudget: -1},
		"OutboundBudget": {OutboundBudget: -1}, "a long HandshakeTimeout": {HandshakeTimeout: maxTimer + 1},
		"a long CloseTimeout": {CloseTimeout: maxTimer + 1}, "a long UserTimeout": {UserTimeout: maxTimer + 1},
	} {
		if err := bad.Serve(lifeListen(t)); err == nil || err == ErrServerClosed {
			t.Errorf("with a bad %s: %v", name, err)
		}
	}
	for _, reuse := range []bool{false, true} {
		srv := &Server{Addr: "127.0.0.1:0", ReusePort: reuse}
		srv.Handle("/ws", Options{OnMessage: lifeEcho})
		served := make(chan error, 1)
		go func() { served <- srv.ListenAndServe() }()
		var addr string
		lifeEventually(t, "it listens", func() bool {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			for a := range srv.acceptors {
				addr = a.listener.Addr().String()
			}
			return addr != ""
		})
		peer := lifeDial(t, addr, "/ws")
		peer.echo("hello")
		peer.bye()
		lifeMust(t, srv.Shutdown(lifeContext(t)))
		if err := lifeGet(t, served, "the end of ListenAndServe"); err != ErrServerClosed {
			t.Errorf("ListenAndServe: %v", err)
		}
	}
}
