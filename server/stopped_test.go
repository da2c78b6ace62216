//go:build linux

package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// This file stops a server's process, as SIGSTOP and the suspension of a machine do, while a deadline of each kind
// runs. The server is this test binary, run again.

const (
	stoppedPoller  = "STILLPOOL_TEST_STOPPED_POLLER"
	stoppedTimeout = "STILLPOOL_TEST_STOPPED_TIMEOUT"
	stoppedTick    = 50 * time.Millisecond
)

// TestStoppedServer is the process that is stopped. It says on its output where it listens and how connections
// ended, and goes on until its input ends.
func TestStoppedServer(t *testing.T) {
	timeout, err := time.ParseDuration(os.Getenv(stoppedTimeout))
	if err != nil {
		t.Skip("it is run by TestStopped")
	}
	s := &Server{Poller: netpoll.Backend(os.Getenv(stoppedPoller)), Logger: quiet,
		HandshakeTimeout: timeout, CloseTimeout: timeout, DrainTime: timeout}
	handle := func(path string, o Options) {
		o.OnClose = func(c *Conn, why Closing) { fmt.Printf("%s ended: %v, %v\n", path, why.Cause, why.Err) }
		s.Handle(path, o)
	}
	done := make(chan bool)
	handle("/message", Options{MessageTimeout: timeout, OnMessage: echo})
	handle("/idle", Options{IdleTimeout: timeout, OnMessage: echo})
	handle("/pong", Options{Keepalive: timeout / 8, PongTimeout: timeout, OnMessage: echo})
	handle("/write", Options{WriteTimeout: timeout, SendBuffer: smallBuffer, OnMessage: func(c *Conn, m Message) {
		c.Write(Binary, make([]byte, 200_000))
	}})
	handle("/close", Options{OnMessage: func(c *Conn, m Message) { c.CloseWith(CodeNormal, "") }})
	handle("/authorize", Options{OnMessage: echo, Authorize: func(r *http.Request) (Grant, error) {
		select {
		case <-done:
		case <-r.Context().Done():
		}
		return Grant{}, r.Context().Err()
	}})
	handle("/tick", Options{Every: stoppedTick, OnTick: func(c *Conn) { c.WriteText("tick") }})
	handle("/drained", Options{OnMessage: echo})
	handle("/control", Options{OnMessage: func(c *Conn, m Message) {
		if string(m.Data) == "drain" {
			go s.Shutdown(context.Background())
		} else {
			close(done)
		}
		c.Write(m.Kind, m.Data)
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go s.Serve(l)
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// stoppable is that process.
type stoppable struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.Closer
	addr    string
	endings chan string
}

func startStoppable(t *testing.T, b netpoll.Backend, timeout time.Duration) *stoppable {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStoppedServer$")
	cmd.Env = append(os.Environ(), stoppedPoller+"="+string(b), stoppedTimeout+"="+timeout.String())
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	p := &stoppable{t: t, cmd: cmd, in: in, endings: make(chan string, 100)}
	addr := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "127.") {
				addr <- lines.Text()
			} else {
				p.endings <- lines.Text()
			}
		}
	}()
	p.addr = receive(t, "the address of the process", addr)
	return p
}

func (p *stoppable) signal(s syscall.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(s))
}

// stop stops the process, does what its peers do meanwhile, and has it go on after d.
func (p *stoppable) stop(d time.Duration, meanwhile ...func()) (resumed time.Time) {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for _, do := range meanwhile {
		do()
	}
	time.Sleep(d) // what is tested is that time passes
	p.signal(syscall.SIGCONT)
	return time.Now()
}

func (p *stoppable) end() {
	p.in.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// TestStopped: time in which the process did not run is not held against peers, by no deadline, and ticks and
// goodbyes that were due in it do not come all at once.
func TestStopped(t *testing.T) {
	for name, scene := range map[string]func(t *testing.T, p *stoppable, timeout time.Duration) (intime bool){
		"deadlines": stoppedDeadlines, "drain": stoppedDrain,
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				// A loaded machine may take longer to get to the stop than the peers have.
				for timeout := 1200 * time.Millisecond; ; timeout *= 2 {
					p := startStoppable(t, s.Poller, timeout)
					intime := scene(t, p, timeout)
					p.end()
					if intime {
						return
					}
				}
			})
		})
	}
}

func stoppedDeadlines(t *testing.T, p *stoppable, timeout time.Duration) bool {
	defer func() {
		if t.Failed() {
			p.end()
		}
	}()
	half := frame(ws.OpText, "half")
	message, idle, slow := open(t, p.addr, "/message"), open(t, p.addr, "/idle"), openWith(t, p.addr, "/write", smallBuffer)
	ticked, closing, control := open(t, p.addr, "/tick"), open(t, p.addr, "/close"), open(t, p.addr, "/control")
	shaking, asking := dial(t, p.addr), dial(t, p.addr)
	begin := time.Now()
	pinged := open(t, p.addr, "/pong")
	shaking.send(upgradeTo("/message")[:30])
	asking.send(upgradeTo("/authorize"))
	message.send(half[:3])
	idle.send(frame(ws.OpText, "x"))
	idle.want(ws.OpText, "x")
	slow.send(frame(ws.OpText, "x"))
	closing.send(frame(ws.OpText, "x"))
	closing.wantClose(CodeNormal, "")
	pinged.want(ws.OpPing, "")
	slow.in.Peek(1)
	ticked.want(ws.OpText, "tick")
	if time.Since(begin) > timeout*2/3 {
		return false
	}
	resumed := p.stop(timeout+timeout/2, func() {
		shaking.send(upgradeTo("/message")[30:])
		message.send(half[3:])
		idle.send(frame(ws.OpText, "y"))
		pinged.send(frame(ws.OpPong, ""))
		closing.send(closeFrame(CodeNormal, ""))
		control.send(frame(ws.OpText, "go"))
	})
	shaking.upgraded()
	asking.upgraded()
	message.want(ws.OpText, "half")
	idle.want(ws.OpText, "y")
	pinged.send(frame(ws.OpText, "z"))
	for h, _ := pinged.frame(); h.OpCode == ws.OpPing; h, _ = pinged.frame() {
		pinged.send(frame(ws.OpPong, ""))
	}
	if h, data := slow.frame(); h.OpCode != ws.OpBinary || len(data) != 200_000 {
		t.Errorf("to the slow reader came %d bytes", len(data))
	}
	closing.wantEnd()
	if got, want := receive(t, "the end of the closing connection", p.endings), fmt.Sprintf("/close ended: %v, <nil>", ClosedLocally); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Two may have been sent before the stop, and one more be due at its end.
	const ticks = 6
	for range ticks + 2 {
		ticked.want(ws.OpText, "tick")
	}
	if took := time.Since(resumed); took < (ticks-2)*stoppedTick {
		t.Errorf("%d ticks came within %v after the stop", ticks+2, took)
	}
	return true
}

func stoppedDrain(t *testing.T, p *stoppable, timeout time.Duration) bool {
	defer func() {
		if t.Failed() {
			p.end()
		}
	}()
	control := open(t, p.addr, "/control")
	var peers []*peer
	for range 20 {
		peers = append(peers, open(t, p.addr, "/drained"))
	}
	begin := time.Now()
	control.send(frame(ws.OpText, "drain"))
	control.want(ws.OpText, "drain")
	for answer := ""; !strings.HasPrefix(answer, "HTTP/1.1 503 "); answer = control.answer() { // it has begun
		control = dial(t, p.addr)
		control.send(upgradeTo("/control"))
	}
	if time.Since(begin) > timeout/4 {
		return false
	}
	resumed := p.stop(timeout + timeout/2)
	for _, q := range peers {
		q.wantClose(goingAway.Code, goingAway.Reason)
		q.send(closeFrame(goingAway.Code, ""))
	}
	if took := time.Since(resumed); took < timeout/4 {
		t.Errorf("all were told goodbye within %v after the stop, of %v", took, timeout)
	}
	for range peers {
		if got := receive(t, "the end of a connection", p.endings); !strings.HasSuffix(got, "<nil>") {
			t.Error(got)
		}
	}
	return true
}
