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

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// lifeOp is an operation of a tape. It has a byte for itself, of which the high bits say whose
// connection it is about and whether it is waited for, and one for its argument.
type lifeOp byte

const (
	opText     lifeOp = iota // the peer says a text: argument%8 is what the handler is to do
	opBinary                 // the peer says a binary message of 20 times the argument
	opFragment               // the peer goes on with a message, to its end if the argument is odd
	opPing
	opPong
	opSayClose // the peer says one of lifeCloses
	opGarbage  // the peer says the argument
	opHalt     // the peer says only so many bytes more, until opFlow
	opFlow
	opRead      // the peer reads some
	opSend      // the server sends a prepared message of 40 times the argument
	opWrite     // the server writes one
	opCloseWith // the server closes with one of lifeCodes
	opClose     // the server closes at once
	opTick      // a tick comes, or, if the argument is odd, a handler that was held may go on
	opEnd       // the peer ends the stream, or, if the argument is odd, resets the connection
	opCount

	ofSecond = 0x10 // the operation is about the second connection, if there is one
	waited   = 0x20 // whatever comes of the operation comes before the next one
)

// What the first byte of a tape chooses.
const (
	tapeEasyGo = 1 << iota // the poller
	tapeUnix               // the kind of socket
	tapePool               // handlers run on the pool
	tapeTight              // buffers and backlog are small
	tapeDrop               // what a full backlog refuses is dropped, and the connection stays
	tapeTwo                // there are two connections
	tapeLost               // the path is no endpoint's
)

// lifeCommands are what handlers do about a text that begins with the letter.
const lifeCommands = "eeicbkph"

var lifeCloses = []string{"\x03\xe8", "", "\x0f\xa0bye", "\x03\xed", "\x03", "\x03\xe9\xff", "\x03\xf3€"}

var lifeCodes = []Code{1000, 4000, 1001, CodeNone, 3000, 1015}

// FuzzLife runs tapes of operations, of the peer's and of the server's side, against a real server,
// and holds what became of each connection against a model of its life.
func FuzzLife(f *testing.F) {
	worlds := []*lifeWorld{newLifeWorld(f, netpoll.Epoll), newLifeWorld(f, netpoll.EasyGo)}
	for _, tape := range lifeSeeds() {
		for _, setting := range []byte{0, tapeUnix, tapeTight, tapeTight | tapeUnix | tapeDrop, tapePool | tapeTight, tapePool | tapeEasyGo | tapeUnix} {
			f.Add(append([]byte{setting}, tape...))
		}
	}
	f.Fuzz(func(t *testing.T, tape []byte) {
		if len(tape) > 0 {
			worlds[tape[0]&tapeEasyGo].play(t, tape[:min(len(tape), 200)])
		}
	})
}

// lifeSeeds are tapes without their first byte. The last byte of each is how the peers end.
func lifeSeeds() [][]byte {
	const w = waited
	op := func(ops ...any) (tape []byte) {
		for _, o := range ops {
			switch o := o.(type) {
			case lifeOp:
				tape = append(tape, byte(o))
			case int:
				tape = append(tape, byte(o))
			}
		}
		return tape
	}
	return [][]byte{
		op(opText, 0, opText, 8, opPing, 5, 0),
		op(opHalt, 100, opText|w, 0, opFlow|w, 0, opHalt, 3, opText|w, 0, opFlow, 0, 1),
		op(opBinary|w, 60, opFragment, 20, opPing|w, 0, opFragment|w, 8, opFragment, 21, opSayClose, 2, 0),
		op(opText|w, 0, opSend, 20, opWrite, 3, opCloseWith, 1, opSend, 1, opText, 0, 0),
		op(opText|w, 0, opSend, 250, opSend, 250, opWrite, 250, opRead, 255, opPing|w, 1, opSend, 200, opSayClose, 0, 0),
		op(opText|w, 3, opText, 0, 0), op(opText, 4, opText, 4, opText, 4, opRead, 90, opText|w, 4, 0),
		op(opText|w, 5, opText, 0, 1), op(opText|w, 6, opText, 0, 0),
		op(opText|w, 7, opText|w, 0, opSend, 9, opTick, 1, opText, 0, 0),
		op(opText|w, 0, opTick, 0, opTick, 0, opClose, 0, 0),
		op(opText, 0, opGarbage, 0xc1, opText, 0, 0), op(opBinary, 255, opText, 0, 0),
		op(opSayClose|w, 3, 0), op(opSayClose, 4, opText, 0, 1), op(opSayClose, 0, opText, 0, opGarbage, 9, 0),
		op(opText|w, 0, opEnd|w, 0, opSend, 1, 1), op(opText, 0, opEnd, 1, opSend, 1, 0), op(opEnd, 0, 0), op(opHalt, 0, opEnd|w, 1, 0),
		op(opHalt, 40, opText|w, 0, opEnd, 0, 0), op(opFragment, 3, opText, 0, 2), op(opSend|w, 200, opSend, 200, opEnd|w, 0, 3),
	}
}

// lifeWorld is a server that many tapes are played on, one after another.
type lifeWorld struct {
	srv         *Server
	tcp, local  unix.Sockaddr
	pooled      []*Endpoint // those whose handlers run on the pool
	lives       sync.Map    // by the query that they open with
	dialed      int
	descriptors int // that were open after the first tape
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
	f.Cleanup(func() { w.srv.Close(); receive(f, "the end of Serve", served) })
	return w
}

func (w *lifeWorld) handle(setting byte) {
	o := Options{MaxMessage: lifeLimit, WriteTimeout: -1, OnOpen: w.opened,
		OnMessage: func(c *Conn, m Message) { c.Value().(*life).handle(m) },
		OnTick:    func(c *Conn) { c.Value().(*life).ticked() },
		OnClose:   func(c *Conn, why Closing) { c.Value().(*life).over(why) }}
	if setting&tapeTight != 0 {
		o.SendBuffer, o.Backlog = lifeBuffer, 3000
	}
	if setting&tapeDrop != 0 {
		o.Overflow = DropMessage
	}
	ep := w.srv.Handle(fmt.Sprint("/", setting), o)
	if setting&tapePool != 0 {
		w.pooled = append(w.pooled, ep)
	}
}

// play runs a tape, and checks what must hold after it.
func (w *lifeWorld) play(t *testing.T, tape []byte) {
	for _, ep := range w.pooled {
		ep.slow.mark(w.srv.now())
	}
	setting, tape := tape[0], tape[1:]
	lives := []*life{w.begin(t, setting)}
	if setting&tapeTwo != 0 {
		lives = append(lives, w.begin(t, setting))
	}
	for len(tape) >= 2 {
		l := lives[int(tape[0]/ofSecond)%2%len(lives)]
		l.do(t, lifeOp(tape[0])%opCount, int(tape[1]))
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
	if n := countDescriptors(); w.descriptors == 0 {
		w.descriptors = n
	} else if n != w.descriptors {
		t.Fatalf("%d descriptors are open, %d were", n, w.descriptors)
	}
}

func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
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
	w.srv.mu.Lock()
	acceptors := slices.Collect(maps.Keys(w.srv.acceptors))
	w.srv.mu.Unlock()
	for _, a := range acceptors {
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
	return err != nil || n == 0 || c.congested()
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

// begin is a peer that is about to send its handshake.
func (w *lifeWorld) begin(t *testing.T, setting byte) *life {
	l := &life{w: w, fd: w.dial(t, setting), window: -1, closed: make(chan struct{}), release: make(chan struct{}, 1), finished: make(chan struct{})}
	l.id = fmt.Sprint(w.dialed)
	l.tight, l.drop = setting&tapeTight != 0, setting&tapeDrop != 0
	l.lost = setting&tapeLost != 0
	path := fmt.Sprintf("/%d?%s", setting&(tapePool|tapeTight|tapeDrop), l.id)
	if l.lost {
		path = "/lost"
	}
	l.head = upgradeTo(path)
	l.queue = l.head
	w.lives.Store(l.id, l)
	return l
}

// do runs an operation.
func (l *life) do(t *testing.T, op lifeOp, arg int) {
	switch op {
	case opText:
		l.say(frame(ws.OpText, l.message(string(lifeCommands[arg%8]), 20*(arg/8))))
		l.midMessage = false // if it was in one, this breaks the protocol
	case opBinary:
		l.say(frame(ws.OpBinary, l.message("b", 20*arg)))
	case opFragment:
		op := ws.OpContinuation
		if !l.midMessage {
			op = ws.OpBinary
		}
		l.midMessage = arg%2 == 0
		l.say(fragment(op, !l.midMessage, l.message("f", 4*arg)))
	case opPing:
		l.say(frame(ws.OpPing, l.message("p", arg%100)))
	case opPong:
		l.say(frame(ws.OpPong, l.message("p", arg%100)))
	case opSayClose:
		l.say(frame(ws.OpClose, lifeCloses[arg%len(lifeCloses)]))
	case opGarbage:
		l.say([]byte{byte(arg)})
	case opHalt:
		l.window = arg
	case opFlow:
		l.window = -1
		l.say(nil)
	case opRead:
		l.read(1 + 50*arg)
	case opSend, opWrite:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sends(op == opSend, []byte(l.message("s", 40*arg)))
	case opCloseWith:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closesWith(lifeCodes[arg%len(lifeCodes)], "enough")
	case opClose:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closes()
	case opTick:
		if arg%2 == 0 {
			l.awaitTick(t)
		} else {
			l.letGo()
		}
	case opEnd:
		if arg%2 == 0 {
			l.endStream()
		} else {
			l.leave(true)
		}
	}
}

// message is one that says which it is, and begins with what the handler is to do about it.
func (l *life) message(command string, more int) string {
	n := l.serial.Add(1)
	return fmt.Sprintf("%s%d%s", command, n, strings.Repeat("-", more))
}
