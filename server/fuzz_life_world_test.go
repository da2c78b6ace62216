//go:build linux

package server

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeWorld is a server that many tapes are played on, one after another.
type lifeWorld struct {
	srv        *Server
	tcp, local unix.Sockaddr
	pooled     []*Endpoint // those whose handlers run on the pool
	lives      sync.Map    // by the query that they open with
	dialed     int
	sockets    int // that were open after the first tape
}

const (
	lifeLimit = 4096 // of a message
	// lifeBuffer is the least that TCP goes on with from one read of the peer's to the next, without
	// waiting for a timer of its own.
	lifeBuffer = 16 << 10
)

func newLifeWorld(f *testing.F, b netpoll.Backend) *lifeWorld {
	w := &lifeWorld{srv: &Server{Poller: b, Logger: quiet, Loops: 1}}
	for setting := range byte(tapeDrop << 1) {
		if setting&(tapeEasyGo|tapeUnix) == 0 {
			w.handle(setting)
		}
	}
	w.tcp = &unix.SockaddrInet4{Port: int(netip.MustParseAddrPort(serve(f, w.srv)).Port()), Addr: [4]byte{127, 0, 0, 1}}
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "socket"))
	must(f, err)
	w.local = &unix.SockaddrUnix{Name: l.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- w.srv.Serve(l) }()
	await(f, "both listeners are served", func() bool { return len(w.acceptors()) == 2 })
	f.Cleanup(func() { w.srv.Close(); receive(f, "the end of Serve", served) })
	return w
}

func (w *lifeWorld) handle(setting byte) {
	o := Options{MaxMessage: lifeLimit, WriteTimeout: -1, OnOpen: w.opened,
		OnMessage: func(c *Conn, m Message) { c.Value().(*life).handle(m) },
		OnTick:    func(c *Conn) { c.Value().(*life).ticked() },
		OnClose:   func(c *Conn, why Closing) { c.Value().(*life).over(why) }}
	if setting&tapeTight != 0 {
		o.SendBuffer, o.Backlog = lifeBuffer, 4*lifeBuffer
	}
	if setting&tapeDrop != 0 {
		o.Overflow = Refuse
	}
	ep := w.srv.Handle(fmt.Sprint("/", setting), o)
	if setting&tapePool != 0 {
		w.pooled = append(w.pooled, ep)
	}
}

// play runs a tape, and checks what must hold after it.
func (w *lifeWorld) play(t *testing.T, tape []byte) {
	for _, ep := range w.pooled {
		ep.slow.mark(w.srv.now(), slowFor)
	}
	setting, tape := tape[0], tape[1:]
	lives := []*life{w.begin(t, setting)}
	if setting&tapeTwo != 0 {
		lives = append(lives, w.begin(t, setting))
	}
	for len(tape) >= 2 {
		l := lives[int(tape[0]/ofSecond)%2%len(lives)]
		l.do(t, tape[0]%opCount, int(tape[1]))
		if tape[0]&waited != 0 {
			w.settle(t)
		}
		tape = tape[2:]
	}
	for i, l := range lives {
		ending := 0
		if len(tape) > 0 {
			ending = int(tape[0]) >> (2 * i)
		}
		l.finish(t, ending%4)
	}
	w.nothingLeft(t, lives)
	for _, l := range lives {
		l.check(t)
	}
}

// nothingLeft waits until the connections are gone, and looks for what they may have left behind.
func (w *lifeWorld) nothingLeft(t *testing.T, lives []*life) {
	s := w.srv
	soon(t, "all connections are gone", func() bool { return w.accepted() && s.conns.Load() == 0 })
	for _, l := range lives {
		w.lives.Delete(l.id)
	}
	if in, out := s.inbound.used.Load(), s.outbound.used.Load(); in != 0 || out != 0 {
		t.Fatalf("left: %d B inbound, %d B outbound", in, out)
	}
	l := s.loops()[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.table.n != 0 || l.wheel.Len() != 0 {
		t.Fatalf("left: %d connections in the table, %d places in the wheel", l.table.n, l.wheel.Len())
	}
	for path, ep := range *s.endpoints.Load() {
		if ep.Len() != 0 {
			t.Fatalf("left: %d connections of %s", ep.Len(), path)
		}
	}
	if open := openSockets(); w.sockets == 0 {
		w.sockets = len(open)
	} else if len(open) != w.sockets {
		t.Fatalf("%d sockets are open, %d were: %q", len(open), w.sockets, open)
	}
}

// openSockets are the links of the descriptors that are open on sockets.
func openSockets() (on []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if link, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(link, "socket:") {
			on = append(on, link)
		}
	}
	return on
}

// soon is await for something that takes microseconds, and of which there is much.
func soon(t *testing.T, what string, holds func() bool) {
	for start := time.Now(); !holds(); time.Sleep(20 * time.Microsecond) {
		if time.Since(start) > bound {
			t.Fatalf("%s: did not come to hold\n%s", what, strings.Join(allStacks(), "\n\n"))
		}
	}
}

// accepted tells whether all that were dialed are in the server's books, or were. It looks while
// nobody accepts, so that none is half accepted; whoever comes to accept meanwhile is told to come
// again.
func (w *lifeWorld) accepted() bool {
	for _, a := range w.acceptors() {
		a.mu.Lock()
		defer func() {
			a.mu.Unlock()
			if a.missed.Swap(false) {
				a.again.Store(true)
				a.loop.rouse()
			}
		}()
	}
	return int(w.srv.ids.Load()) == w.dialed
}

func (w *lifeWorld) acceptors() []*acceptor {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	return slices.Collect(maps.Keys(w.srv.acceptors))
}

// settle waits until the server has done everything that there is to do.
func (w *lifeWorld) settle(t *testing.T) {
	soon(t, "nothing is to be done", func() bool {
		quiet := w.accepted()
		w.srv.everyConn(func(c *Conn) { quiet = quiet && lifeQuiet(c) })
		return quiet
	})
}

// lifeQuiet tells whether nobody has anything to do for c. One whose handler is held is quiet.
func lifeQuiet(c *Conn) bool {
	if c.ext != nil {
		if l, ok := c.ext.value.(*life); ok && l.held.Load() {
			return true
		}
	}
	if c.state.has(stTurn | stQueued | stParked | stJob | stTickOwed | stEnding | stDead | stGone) {
		return false
	}
	n, err := unix.IoctlGetInt(int(c.fd), unix.SIOCINQ)
	return err != nil || n == 0 || c.congested() || c.withheld()
}

// dial connects a peer. Each has an address of its own, or the ports that wait for their last segments
// (RFC 9293 section 3.6.1) would run out.
func (w *lifeWorld) dial(t *testing.T, setting byte) int {
	family, to := unix.AF_INET, w.tcp
	if setting&tapeUnix != 0 {
		family, to = unix.AF_UNIX, w.local
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	if setting&tapeTight != 0 {
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, lifeBuffer))
	}
	w.dialed++
	if family == unix.AF_INET {
		from := &unix.SockaddrInet4{Addr: [4]byte{127, 1}}
		binary.BigEndian.PutUint16(from.Addr[2:], uint16(w.dialed))
		must(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		must(t, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
		must(t, unix.Bind(fd, from))
	}
	must(t, unix.Connect(fd, to))
	return fd
}
