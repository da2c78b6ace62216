//go:build linux

package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
				srv := &Server{Poller: b, UserTimeout: 12345 * time.Millisecond}
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
				} else if got := lifeUserTimeout(t, c); got != 12345 {
					t.Errorf("TCP_USER_TIMEOUT of the connection is %d ms", got)
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

// What follows runs out of descriptors, in a process of its own: the same binary, which finds the
// variable in its environment.
const (
	lifeChild = "STILLPOOL_TEST_FEW_DESCRIPTORS"
	// lifeFew is how many descriptors the server may have beside those that it has when it listens.
	lifeFew = 20
)

// TestLifeFewDescriptors: clients past what the process can hold wait in the kernel, and are served
// when others leave. Accepting rests meanwhile: it does not spin, and the listener is not lost.
func TestLifeFewDescriptors(t *testing.T) {
	t.Parallel()
	if b := os.Getenv(lifeChild); b != "" {
		lifeServeFew(t, netpoll.Backend(b))
		return
	}
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		child := lifeStartChild(t, string(b))
		addr := child.line("listening ")
		const clients = 3 * lifeFew
		served, stay := make(chan struct{}, clients), make(chan struct{})
		for range clients {
			peer := lifeConnect(t, addr) // the kernel answers, whether the server accepts or not
			go func() {
				if _, err := peer.Write([]byte(lifeUpgrade("/ws"))); err == nil {
					if _, err := peer.r.ReadString('\n'); err == nil {
						served <- struct{}{}
						<-stay
					}
				}
				peer.Close()
			}()
		}
		for range lifeFew - 5 {
			lifeGet(t, served, "a connection within the limit")
		}
		// While nothing changes, one rest comes after the other, and each costs the loop a look.
		child.line("rests")
		io.WriteString(child.in, "look\n")
		var batches, rests int
		fmt.Sscan(child.line("batches and rests "), &batches, &rests)
		if batches > 4*(rests+2) {
			t.Errorf("%d batches in the time of %d rests: accepting spins", batches, rests)
		}
		for range clients - (lifeFew - 5) {
			stay <- struct{}{} // one leaves, another one comes
			lifeGet(t, served, "a connection that waited")
		}
		close(stay)
		child.stop(t)
	})
}

// TestLifeDescriptorFreed: a close ends the rest of accepting, before its time.
func TestLifeDescriptorFreed(t *testing.T) {
	t.Parallel()
	srv := new(Server)
	srv.Handle("/ws", Options{})
	peer := lifeDial(t, lifeServe(t, srv), "/ws")
	srv.mu.Lock()
	for a := range srv.acceptors {
		a.paused.Store(true) // and no timer runs
	}
	srv.mu.Unlock()
	srv.exhausted.Store(true)
	peer.bye()
	lifeEventually(t, "accepting goes on", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		for a := range srv.acceptors {
			return !a.paused.Load() && !a.again.Load() && !srv.exhausted.Load()
		}
		return false
	})
}

// lifeServeFew is the child.
func lifeServeFew(t *testing.T, b netpoll.Backend) {
	srv := &Server{Poller: b, Loops: 1}
	srv.Logger = slog.New(lifeRests{})
	srv.Handle("/ws", Options{})
	l := lifeListen(t)
	lifeServeOn(t, srv, l)
	lifeEventually(t, "it listens", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.acceptors) > 0
	})
	limit := lifeNumberAfter(lifeFew)
	lifeMust(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}))
	fmt.Printf("\nlistening %v\n", l.Addr())
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); { // until the parent has seen enough
		batches := func() uint64 { return srv.loops()[0].watch.shift.Load().next.word.Load() >> batchShift }
		before, start := batches(), time.Now()
		lifeEventually(t, "accepting is tried again by itself", func() bool { return batches() > before })
		time.Sleep(3 * acceptPause)
		fmt.Printf("\nbatches and rests %d %d\n", batches()-before, time.Since(start)/acceptPause)
	}
	if srv.Stats().AcceptPauses == 0 {
		t.Error("no rest of accepting was counted")
	}
	lifeMust(t, srv.Shutdown(lifeContext(t)))
	fmt.Print("\nended well\n")
}

// lifeNumberAfter is the descriptor below which so many more can be opened. Those that are open need
// not be the lowest: the parent's other tests may have had some that are passed on.
func lifeNumberAfter(free int) (n uint64) {
	for ; free > 0; n++ {
		if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err != nil {
			free--
		}
	}
	return n
}

// lifeRests says when the log warns that accepting rests.
type lifeRests struct{}

func (lifeRests) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (l lifeRests) WithAttrs([]slog.Attr) slog.Handler         { return l }
func (l lifeRests) WithGroup(string) slog.Handler              { return l }

func (lifeRests) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "accepting rests" && r.Level >= slog.LevelWarn {
		fmt.Print("\nrests\n")
	}
	return nil
}

type lifeProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	start time.Time
	rests atomic.Int64 // lines that say so
}

func lifeStartChild(t *testing.T, backend string) *lifeProcess {
	cmd := exec.Command(os.Args[0], "-test.run=^TestLifeFewDescriptors$", "-test.count=1", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), lifeChild+"="+backend)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	lifeMust(t, err)
	out, err := cmd.StdoutPipe()
	lifeMust(t, err)
	p := &lifeProcess{t: t, cmd: cmd, in: in, lines: make(chan string, 10_000), start: time.Now()}
	lifeMust(t, cmd.Start())
	go func() {
		defer close(p.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if scan.Text() == "rests" {
				p.rests.Add(1)
			}
			p.lines <- scan.Text()
		}
	}()
	t.Cleanup(func() { // if the test failed
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

// line is the rest of the next line that begins so.
func (p *lifeProcess) line(prefix string) string {
	p.t.Helper()
	for {
		line := lifeGet(p.t, p.lines, "a line "+prefix)
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return rest
		}
		if strings.Contains(line, "FAIL") || strings.Contains(line, "_test.go") {
			p.t.Fatalf("the child: %s", line)
		}
	}
}

func (p *lifeProcess) stop(t *testing.T) {
	p.in.Close()
	p.line("ended well")
	for range p.lines {
	}
	// Peers came and went all the time, and it rested as often.
	if n, most := p.rests.Load(), 1+time.Since(p.start)/complainEvery; n > int64(most) {
		t.Errorf("the log warns %d times that accepting rests, want %d at the most", n, most)
	}
	lifeMust(t, p.cmd.Wait())
}
