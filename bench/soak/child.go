package soak

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// child is the server's process as its parent sees it.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	log   tail
	judge *judge
	ended chan struct{}
	err   error // after ended: how

	mu     sync.Mutex // held from an order to its answer
	orders *json.Encoder
	seq    int
	states chan state
}

// startChild starts the server. What it records and finds goes to the judge.
func startChild(command []string, j *judge) (*child, error) {
	c := &child{cmd: exec.Command(command[0], command[1:]...), judge: j, ended: make(chan struct{}), states: make(chan state, 1)}
	c.cmd.Stderr = &c.log
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.orders = json.NewEncoder(c.in)
	go c.listen(json.NewDecoder(out))
	return c, nil
}

func (c *child) listen(reports *json.Decoder) {
	for {
		var r report
		if reports.Decode(&r) != nil {
			break
		}
		for _, x := range r.Records {
			c.judge.recorded(x)
		}
		for _, x := range r.Findings {
			c.judge.add(x)
		}
		if r.State != nil {
			c.states <- *r.State
		}
	}
	c.err = c.cmd.Wait()
	close(c.ended)
}

// ask gives an order and waits for the answer, at most so long.
func (c *child) ask(o order, most time.Duration) (state, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	o.Seq = c.seq
	_ = c.orders.Encode(o) // if it has ended, ended says so
	late := time.NewTimer(most)
	defer late.Stop()
	for {
		select {
		case s := <-c.states:
			if s.Seq != o.Seq {
				continue // to one that was given up
			}
			if s.Error != "" {
				return s, errors.New(s.Error)
			}
			return s, nil
		case <-late.C:
			return state{}, fmt.Errorf("soak: the server's process does not answer for %v", most)
		case <-c.ended:
			return state{}, fmt.Errorf("soak: the server's process has ended: %w\n%s", errors.Join(c.err, io.EOF), c.log.String())
		}
	}
}

// end lets it end, and kills it if it does not.
func (c *child) end(most time.Duration) error {
	_ = c.in.Close()
	kill := time.AfterFunc(most, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	for {
		select {
		case <-c.states: // of an order that nobody waits for any more
		case <-c.ended:
			if c.err != nil {
				return fmt.Errorf("soak: the server's process: %w\n%s", c.err, c.log.String())
			}
			return nil
		}
	}
}

// weight is what the process takes, as the kernel says.
func (c *child) weight() (rss int64, descriptors int) {
	proc := fmt.Sprintf("/proc/%d/", c.cmd.Process.Pid)
	rss, err := bench.ProcBytes(proc+"smaps_rollup", "Rss:")
	if err != nil {
		rss, _ = bench.ProcBytes(proc+"status", "VmRSS:") // for who may not trace it
	}
	entries, _ := os.ReadDir(proc + "fd")
	return rss, len(entries)
}

// tail keeps the end of what a child says, for the case that it fails. It is read when the child has ended.
type tail struct{ bytes.Buffer }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if extra := t.Len() - tailSize; extra > 0 {
		t.Next(extra)
	}
	return n, err
}

func (t *tail) String() string { return strings.TrimSpace(t.Buffer.String()) }
