package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// childStartTime is for a server to say where it is.
	childStartTime = 10 * time.Second
	// childEndTime is for a child to end when asked to: a server closes its connections in order.
	childEndTime = drainTime + 5*time.Second
)

// command is a program that is asked to end with ctx, and ends with this process whatever happens to
// it. ^C on the terminal is not for it, but for this process, which ends its children in order.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childEndTime
	detach(cmd)
	return cmd
}

// childServer is a server in a process of its own: this program again.
type childServer struct {
	addr  string // host and port
	pid   int
	log   clip // what it says on standard error
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended, and then err says how
	err   error
}

// startServer starts this program with args, which must make it serve and say where. The thread that
// calls it must live on (runtime.LockOSThread): the child ends with it.
func startServer(ctx context.Context, args ...string) (*childServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c := &childServer{ended: make(chan struct{}), cmd: command(context.Background(), self, args...)} // it ends after its clients
	c.cmd.Stdout, c.cmd.Stderr = in, &c.log
	err = c.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	c.pid = c.cmd.Process.Pid
	go func() {
		c.err = c.cmd.Wait()
		out.Close()
		close(c.ended)
	}()
	if c.addr, err = readAddr(ctx, out); err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), c.end())
	}
	return c, nil
}

var addrPattern = regexp.MustCompile(`http://(\S+)/`)

// readAddr reads the line that says where the server is.
func readAddr(ctx context.Context, out *os.File) (string, error) {
	defer context.AfterFunc(ctx, func() { out.SetReadDeadline(time.Now()) })()
	if err := out.SetReadDeadline(time.Now().Add(childStartTime)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", err
	}
	if found := addrPattern.FindStringSubmatch(line); found != nil {
		return found[1], nil
	}
	return "", fmt.Errorf("it said %q and not where it is", line)
}

// end asks the server to end and waits; one that does not is killed. An error says that it did not
// end in order.
func (c *childServer) end() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	kill := time.AfterFunc(childEndTime, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	<-c.ended
	if c.err != nil {
		return fmt.Errorf("the server: %w\n%s", c.err, c.log.String())
	}
	return nil
}

// clip keeps the end of what a child says, for the case that it fails.
type clip struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const clipSize = 4 << 10

func (c *clip) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.text.Write(p)
	if extra := c.text.Len() - clipSize; extra > 0 {
		c.text.Next(extra)
	}
	return n, err
}

func (c *clip) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(c.text.String())
}
