package million

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The roles of children; see [ServeChild].
const (
	RoleServer = "server"
	RoleClient = "client"
	RoleFix    = "fix"
)

// ServeChild is the whole work of a child process of [Run]. It ends when in does.
func ServeChild(role string, in io.Reader, out io.Writer) error {
	switch role {
	case RoleServer:
		dieFirst()
		return serveOrders(&serverWorker{}, in, out)
	case RoleClient:
		dieFirst()
		return serveOrders(&clientWorker{}, in, out)
	case RoleFix:
		return serveFix(in, out)
	}
	return fmt.Errorf("million: no role %q", role)
}

// dieFirst lets the kernel end this process before those of others if memory runs out.
func dieFirst() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) }

// child is a server or client process as its parent sees it.
type child struct {
	role   string
	index  int
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	log    tail
	ended  chan struct{}
	err    error        // after ended: how
	spent  atomic.Int64 // processor time, when last asked
	news   func()       // called after each report and at the end

	mu     sync.Mutex
	answer report    // to the last order that it carried out
	past   [8]report // the last reports, the newest first
}

// startChild starts one. news is called by a goroutine of its own.
func startChild(s *starter, command []string, role string, index int, env []string, news func(*child)) (*child, error) {
	args := append(slices.Clone(command), role)
	c := &child{role: role, index: index, cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	c.news = func() { news(c) }
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = &c.log
	bind(c.cmd)
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.orders = json.NewEncoder(c.in)
	if err := s.start(c.cmd); err != nil {
		return nil, err
	}
	go c.listen(json.NewDecoder(out))
	return c, nil
}

// send gives it an order. If it has ended, ended says so.
func (c *child) send(o order) { _ = c.orders.Encode(o) }

// listen keeps its reports until there are no more.
func (c *child) listen(reports *json.Decoder) {
	for {
		var r report
		if reports.Decode(&r) != nil {
			break
		}
		c.keep(r)
		c.news()
	}
	_ = c.cmd.Process.Kill() // what does not report any more is of no use
	c.err = c.cmd.Wait()
	close(c.ended)
	c.news()
}

func (c *child) keep(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(c.past[1:], c.past[:])
	c.past[0] = r
	if r.Done > c.answer.Done {
		c.answer = r
	}
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// answered is the report after the order, if there is one.
func (c *child) answered(seq int) (report, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer, c.answer.Done >= seq
}

// last is its last report. The connections of a client that has ended are lost.
func (c *child) last() report {
	c.mu.Lock()
	r := c.past[0]
	c.mu.Unlock()
	r.Counts = c.afterEnd(r.Counts)
	return r
}

func (c *child) afterEnd(n counts) counts {
	if c.hasEnded() {
		n[open], n[lost] = 0, n[opened]
	}
	return n
}

// at are its counts at a time that its last reports enclose, or those nearest to it.
func (c *child) at(t int64) counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.past[:], func(r report) bool { return r.At <= t })
	switch i {
	case -1:
		return c.afterEnd(c.past[len(c.past)-1].Counts)
	case 0:
		return c.afterEnd(c.past[0].Counts)
	}
	return c.afterEnd(between(&c.past[i], &c.past[i-1], t))
}

// took is how many connections ended with it, as far as it had reported.
func (c *child) took() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.past[0].Counts[open])
}

// fate says how it ended, in one line.
func (c *child) fate() string {
	why := "it ended by itself"
	if c.err != nil {
		why = c.err.Error()
	}
	if last := c.log.line(); last != "" {
		why += ": " + last
	}
	return why
}

// stop tells it to end.
func (c *child) stop() { _ = c.in.Close() }

// await waits until it has ended; at the deadline it is killed.
func (c *child) await(deadline <-chan struct{}) {
	select {
	case <-c.ended:
	case <-deadline:
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// starter starts children on a thread that stays until stop. A child is killed when the thread that
// started it ends (PR_SET_PDEATHSIG), and one of the runtime's may end before the process does.
type starter struct{ work chan func() }

func newStarter() *starter {
	s := &starter{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for fn := range s.work {
			fn()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	err := make(chan error)
	s.work <- func() { err <- cmd.Start() }
	return <-err
}

func (s *starter) stop() { close(s.work) }

// tail keeps the end of what a child says, for the case that it fails. The goroutine of exec that writes
// it has ended before Wait returns.
type tail struct{ bytes.Buffer }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if extra := t.Len() - tailSize; extra > 0 {
		t.Next(extra)
	}
	return n, err
}

// line is what it said last.
func (t *tail) line() string {
	lines := strings.Split(strings.TrimSpace(t.String()), "\n")
	return lines[len(lines)-1]
}
