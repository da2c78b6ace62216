//go:build linux

package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/netpoll"
)

// This file runs out of descriptors, in a process of its own: the same binary, which finds the variable
// in its environment.
const (
	fewChild = "STILLPOOL_TEST_FEW_DESCRIPTORS"
	fewLimit = 200 // descriptors that it may have
	fewWave  = 400 // clients that come at once
)

// fewLook is what the child tells of itself.
type fewLook struct {
	Looks uint64 // times that it looked for connections to accept
	Free  int    // descriptors
	Stats Stats
}

// TestFewDescriptors: of clients past what the process can hold, each is served or told 503, and none
// waits. While it is full, the server does nothing but turn away who comes; and when there is room again,
// everybody is served.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	if b := os.Getenv(fewChild); b != "" {
		fewServe(t, netpoll.Backend(b))
		return
	}
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		child := fewStart(t, string(b))
		defer child.stop()
		for range 2 {
			early := lifeConnect(t, child.addr)
			child.await("it is accepted", func(l fewLook) bool { return l.Stats.Conns == 1 })
			before := child.look()
			served, turned := child.wave(fewWave)
			full := child.look()
			if n := full.Stats.RefusedBy[RefusedDescriptors] - before.Stats.RefusedBy[RefusedDescriptors]; int(n) != turned || len(served) < fewLimit/2 {
				t.Errorf("%d are served, %d were told 503 and %d are counted as turned away", len(served), turned, n)
			}
			// An event for each at the most, and a look more for each batch.
			if n := full.Looks - before.Looks; n > 2*fewWave {
				t.Errorf("%d looks for connections, of which %d came", n, fewWave)
			}
			for range 50 {
				if late, _ := child.wave(1); len(late) != 0 {
					t.Fatalf("a full server has room for another one")
				}
			}
			if n := child.look().Looks - full.Looks; n > 2*50 {
				t.Errorf("%d looks for connections, of which 50 came", n)
			}
			child.idle()
			early.asked("GET", "/", "", 1<<20) // net/http wants a descriptor more for a moment
			early.Close()
			for _, c := range served {
				c.echo("still here")
				c.bye()
				c.Close()
			}
			child.await("all have left", func(l fewLook) bool { return l.Stats.Conns == 0 })
			again, turned := child.wave(len(served))
			if turned != 0 {
				t.Errorf("there is room for %d, and %d of them are turned away", len(served), turned)
			}
			for _, c := range again {
				c.echo("there")
				c.Close()
			}
			child.await("all have left", func(l fewLook) bool { return l.Stats.Conns == 0 })
		}
	})
}

// TestFewDescriptorsLost: without its reserve the server can't even turn anybody away. Accepting rests,
// without spinning; it goes on at once when the server has closed something, and after a while when
// others have. The listener is not lost.
func TestFewDescriptorsLost(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		child := fewStart(t, string(b))
		defer child.stop()
		served, _ := child.wave(10)
		early := lifeConnect(t, child.addr)
		child.await("it is accepted", func(l fewLook) bool { return l.Stats.Conns == len(served)+1 })
		child.say("lose all but one")
		child.line("lost")
		early.asked("GET", "/", "", 1<<20) // net/http wants a descriptor more for a moment
		early.Close()
		child.await("it has left", func(l fewLook) bool { return l.Stats.Conns == len(served) })
		child.say("lose")
		child.line("lost")
		var waiting []*lifeClient
		for range 30 {
			waiting = append(waiting, child.comes())
		}
		child.await("accepting rests", func(l fewLook) bool { return l.Stats.Rests > 0 })
		child.idle()
		child.say("again") // a rest that ends early leaves nothing behind
		child.line("again")
		child.idle()
		if l := child.look(); l.Stats.RefusedBy[RefusedDescriptors] != 0 || l.Stats.Conns != len(served) {
			t.Errorf("without any descriptor: %+v", l.Stats)
		}
		served[0].bye() // what it had is the reserve's, which then turns the others away
		served[0].Close()
		if in, _ := child.answers(waiting); len(in) != 0 {
			t.Errorf("there is no room for anybody, and %d are served", len(in))
		}
		child.say("lose") // and the other 15 places with it
		child.line("lost")
		late := child.comes()
		child.await("accepting rests again", func(l fewLook) bool { return l.Stats.Rests > 1 })
		child.say("free")
		child.line("freed")
		if in, _ := child.answers([]*lifeClient{late}); len(in) == 1 {
			late.Close()
		}
		child.await("the reserve is whole", func(l fewLook) bool { return l.Free > fewLimit/2 })
		if all, turned := child.wave(50); turned != 0 || len(all) != 50 {
			t.Errorf("of 50 clients %d are served and %d turned away", len(all), turned)
		}
	})
}

// TestAcceptorMissed: who comes to accept while another one finds that accepting rests has it looked again,
// because the rest may have ended in between.
func TestAcceptorMissed(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	l, err := newLoop(s) // which nobody serves
	must(t, err)
	defer l.close()
	a := &acceptor{srv: s, loop: l, done: make(chan struct{})}
	a.paused.Store(true)
	a.missed.Store(true)
	if a.run(l); !a.again.Load() || a.missed.Load() {
		t.Errorf("looks again: %v, still missed: %v", a.again.Load(), a.missed.Load())
	}
	a.again.Store(false)
	if a.run(l); a.again.Load() {
		t.Error("a rest is no rest")
	}
}

// wave lets so many clients come at once, and tells which of them are served and how many are turned
// away.
func (p *fewProcess) wave(n int) (served []*lifeClient, turned int) {
	p.t.Helper()
	var clients []*lifeClient
	for range n {
		clients = append(clients, p.comes())
	}
	return p.answers(clients)
}

// answers tells which of those that came are served, and how many are turned away.
func (p *fewProcess) answers(clients []*lifeClient) (served []*lifeClient, turned int) {
	p.t.Helper()
	type verdict struct {
		c  *lifeClient
		in bool
	}
	verdicts := make(chan verdict, len(clients))
	for _, c := range clients {
		go func() { verdicts <- verdict{c, c.isServed()} }()
	}
	for range clients {
		switch v := lifeGet(p.t, verdicts, "an answer"); {
		case v.in:
			served = append(served, v.c)
		default:
			turned++
			v.c.Close()
		}
	}
	return served, turned
}

// comes connects, which the kernel answers whether the server accepts or not, and asks for an upgrade.
func (p *fewProcess) comes() *lifeClient {
	p.t.Helper()
	c := lifeConnect(p.t, p.addr)
	if _, err := c.Write([]byte(lifeUpgrade("/ws"))); err != nil {
		p.t.Fatalf("write: %v", err)
	}
	return c
}

// isServed reads the answer. Who is not served is told so, and when to come again.
func (c *lifeClient) isServed() bool {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Errorf("no answer: %v", err)
		return false
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	body, err := io.ReadAll(c.r)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !resp.Close || string(body) != errNoDescriptors.body() || err != nil {
		c.t.Errorf("turned away with %v, %q, %v", resp, body, err)
	}
	return false
}

// idle looks that the server does nothing while nobody comes or goes.
func (p *fewProcess) idle() {
	p.t.Helper()
	p.say("idle")
	var looks, rests uint64
	fmt.Sscan(p.line("idle "), &looks, &rests)
	if looks > rests+2 {
		p.t.Errorf("%d looks for connections while nobody comes, in the time of %d rests", looks, rests)
	}
}

// fewServe is the child.
func fewServe(t *testing.T, b netpoll.Backend) {
	srv := &Server{Poller: b, Loops: 1}
	srv.Logger, srv.Handler = slog.New(fewLog{}), lifePlain
	srv.Handle("/ws", Options{OnMessage: lifeEcho})
	l := lifeListen(t)
	lifeServeOn(t, srv, l)
	lifeEventually(t, "it listens", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.acceptors) > 0
	})
	lifeMust(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: fewLimit, Max: fewLimit}))
	fmt.Printf("\nlistening %v\n", l.Addr())
	looks := func() (n uint64) {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		for a := range srv.acceptors {
			n += a.looks.Load()
		}
		return n
	}
	var others []int // descriptors that are not the server's
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		switch asked.Text() {
		case "look":
			text, err := json.Marshal(fewLook{Looks: looks(), Free: fewFree(), Stats: srv.Stats()})
			lifeMust(t, err)
			fmt.Printf("\nlook %s\n", text)
		case "idle":
			before, start := looks(), time.Now()
			time.Sleep(3 * acceptPause)
			fmt.Printf("\nidle %d %d\n", looks()-before, time.Since(start)/acceptPause)
		case "again":
			for range 50 {
				rests := srv.Stats().Rests
				srv.acceptAgain() // as when others are quicker to take what was freed
				lifeEventually(t, "accepting rests again", func() bool { return srv.Stats().Rests > rests })
			}
			fmt.Print("\nagain\n")
		case "lose all but one":
			others = append(others, fewLose(srv, 1)...)
			fmt.Print("\nlost\n")
		case "lose":
			others = append(others, fewLose(srv, 0)...)
			fmt.Print("\nlost\n")
		case "free":
			for _, fd := range others {
				unix.Close(fd)
			}
			fmt.Print("\nfreed\n")
		}
	}
	lifeMust(t, srv.Shutdown(lifeContext(t)))
	fmt.Print("\nended well\n")
}

// fewLose takes all descriptors that are free, and those of the reserve but the last so many that it would
// use.
func fewLose(srv *Server, left int) (taken []int) {
	r := &srv.spares
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range spareCount - left {
		r.vacate((r.next + i) % spareCount)
	}
	for {
		fd, err := netpoll.Spare()
		if err != nil {
			return taken
		}
		taken = append(taken, fd)
	}
}

// fewFree is how many descriptors can be opened.
func fewFree() (n int) {
	for fd := range fewLimit {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			n++
		}
	}
	return n
}

// fewLog prints the warnings.
type fewLog struct{}

func (fewLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (l fewLog) WithAttrs([]slog.Attr) slog.Handler         { return l }
func (l fewLog) WithGroup(string) slog.Handler              { return l }

func (fewLog) Handle(_ context.Context, r slog.Record) error {
	fmt.Printf("\nwarns %s\n", r.Message)
	return nil
}

type fewProcess struct {
	t     *testing.T
	addr  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	start time.Time
	warns atomic.Int64 // lines that do
}

func fewStart(t *testing.T, backend string) *fewProcess {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFewDescriptors$", "-test.count=1", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), fewChild+"="+backend)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	lifeMust(t, err)
	out, err := cmd.StdoutPipe()
	lifeMust(t, err)
	p := &fewProcess{t: t, cmd: cmd, in: in, lines: make(chan string, 10_000), start: time.Now()}
	lifeMust(t, cmd.Start())
	go func() {
		defer close(p.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if strings.HasPrefix(scan.Text(), "warns ") {
				p.warns.Add(1)
			}
			p.lines <- scan.Text()
		}
	}()
	t.Cleanup(func() { // if the test failed
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	p.addr = p.line("listening ")
	return p
}

func (p *fewProcess) say(what string) { io.WriteString(p.in, what+"\n") }

func (p *fewProcess) look() (l fewLook) {
	p.t.Helper()
	p.say("look")
	lifeMust(p.t, json.Unmarshal([]byte(p.line("look ")), &l))
	return l
}

func (p *fewProcess) await(what string, holds func(fewLook) bool) {
	p.t.Helper()
	lifeEventually(p.t, what, func() bool { return holds(p.look()) })
}

// line is the rest of the next line that begins so.
func (p *fewProcess) line(prefix string) string {
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

func (p *fewProcess) stop() {
	p.t.Helper()
	p.in.Close()
	p.line("ended well")
	for range p.lines {
	}
	// Hundreds were turned away, or accepting rested as often: each has a line now and then.
	if n, most := p.warns.Load(), 2*(2+time.Since(p.start)/complainEvery); n == 0 || n > int64(most) {
		p.t.Errorf("the log has %d warnings, want %d at the most", n, most)
	}
	lifeMust(p.t, p.cmd.Wait())
}

// TestTurnedOut: past the connections that are there only to be told, others are told in haste. Still
// their words arrive, however late they say what they came to say.
func TestTurnedOut(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConns = 1
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		one := open(t, addr, "/ws")
		var told []*peer
		for range s.toldMost() + spareCount {
			told = append(told, dial(t, addr))
		}
		for _, p := range told {
			if _, err := p.in.Peek(1); err != nil {
				t.Fatalf("no answer: %v", err)
			}
		}
		if n := s.Stats().Conns; n > 1+int(s.toldMost()) {
			t.Errorf("%d connections are held to be told, want %d at the most", n-1, s.toldMost())
		}
		for _, p := range told {
			p.send(upgradeTo("/ws"))
			p.wantRefusal(errTooManyConns, map[string]string{"Retry-After": "1"})
		}
		wantReasons(t, s, map[RefusalReason]uint64{RefusedFull: uint64(len(told))})
		one.send(frame(ws.OpText, "undisturbed"))
		one.want(ws.OpText, "undisturbed")
	})
}

// TestSpares: what the reserve has lost is taken back with the next descriptor that is freed, and who
// was told long ago makes room by itself.
func TestSpares(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	s.Handle("/ws", Options{})
	p := open(t, serve(t, s), "/ws")
	r := &s.spares
	spare := func() (n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range r.places {
			if p.fd >= 0 && p.told.IsZero() {
				n++
			}
		}
		return n
	}
	r.mu.Lock()
	r.vacate(3)
	r.short.Store(true)
	r.mu.Unlock()
	if n := spare(); n != spareCount-1 {
		t.Fatalf("%d spare descriptors, want all but one", n)
	}
	p.send(closeFrame(1000, ""))
	p.wantClose(1000, "")
	p.wantEnd()
	await(t, "the reserve is whole", func() bool { return spare() == spareCount })

	ours, theirs := socketPair(t)
	r.turnOut(ours, errTooManyConns)
	if n := spare(); n != spareCount-1 {
		t.Fatalf("%d spare descriptors, want all but one", n)
	}
	await(t, "who was told has gone", func() bool { return spare() == spareCount })
	unix.Close(theirs)

	// What somebody said that nobody read must not become a reset, when the place is another's.
	ours, theirs = socketPair(t)
	r.turnOut(ours, errTooManyConns)
	_, err := unix.Write(theirs, bytes.Repeat([]byte("unread "), 10_000))
	must(t, err)
	for range spareCount {
		ours, theirs := socketPair(t)
		r.turnOut(ours, errTooManyConns)
		unix.Close(theirs)
	}
	f := os.NewFile(uintptr(theirs), "socket")
	defer f.Close()
	if said, err := io.ReadAll(f); err != nil || !bytes.HasSuffix(said, []byte(errTooManyConns.body())) {
		t.Errorf("it was told %q, error %v", said, err)
	}
}

// socketPair are two ends of a stream, of which the first is given away.
func socketPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	return fds[0], fds[1]
}

// TestDescriptorFreed: a close ends the rest of accepting, before its time.
func TestDescriptorFreed(t *testing.T) {
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
