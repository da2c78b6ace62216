package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// server is a server child.
type server struct {
	*exec.Cmd
	addr  string
	pprof string // only where memory is divided
	log   clip
	ended chan struct{} // closed when it has, and then err says how
	err   error
}

func startServer(ctx context.Context, c *contestant, j bench.Job) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, ended: make(chan struct{})}
	if j.Idle != nil {
		if s.pprof, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	s.Cmd = child(context.Background(), c.serverCommand(j, addr, s.pprof)) // it ends after its client
	s.Stdout, s.Stderr = &s.log, &s.log
	if err := s.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.Wait()
		close(s.ended)
	}()
	if err := awaitServer(ctx, addr); err != nil {
		defer s.end()
		return nil, s.verdict(err)
	}
	return s, nil
}

// end asks the server to end and waits; one that does not is killed.
func (s *server) end() {
	_ = s.Process.Signal(syscall.SIGTERM) // fails if it has ended
	kill := time.AfterFunc(endTime, func() { _ = s.Process.Kill() })
	defer kill.Stop()
	<-s.ended
}

// verdict adds to the error of a measurement what the server did: one that ended by itself has failed,
// whatever was measured of it until then. A client may know of the end before the server has said why.
func (s *server) verdict(err error) error {
	patience := time.Duration(0)
	if err != nil {
		patience = deathTime
	}
	select {
	case <-s.ended:
		err = errors.Join(err, fmt.Errorf("the server ended: %w", orEnded(s.err)))
	case <-time.After(patience):
	}
	if err == nil {
		return nil
	}
	return &mishap{cause: err, log: s.log.String()}
}

var errExit = errors.New("exit status 0")

func orEnded(err error) error {
	if err == nil {
		return errExit
	}
	return err
}

// mishap is why a measurement failed, and what its server had to say.
type mishap struct {
	cause error
	log   string
}

func (m *mishap) Error() string { return strings.TrimSpace(m.cause.Error() + "\n" + m.log) }

// reason is the error in a line: its cause, and the words by which a Go program dies.
func reason(err error) string {
	var m *mishap
	if !errors.As(err, &m) {
		return oneLine(err.Error())
	}
	reason := oneLine(m.cause.Error())
	for line := range strings.Lines(m.log) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return reason + ": " + strings.TrimSpace(line)
		}
	}
	return reason
}

func oneLine(s string) string { return strings.Join(strings.Split(strings.TrimSpace(s), "\n"), "; ") }

// clip keeps the beginning and the end of what a child says, for the case that it fails: a program
// that dies says first why, and then for each of its goroutines where it was.
type clip struct {
	mu         sync.Mutex
	head, tail bytes.Buffer
}

const clipSize = 2 << 10 // of either

func (c *clip) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	if room := clipSize - c.head.Len(); room > 0 {
		part := p[:min(room, n)]
		c.head.Write(part)
		p = p[len(part):]
	}
	c.tail.Write(p)
	if extra := c.tail.Len() - clipSize; extra > 0 {
		c.tail.Next(extra)
	}
	return n, nil
}

func (c *clip) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head.String() + c.tail.String()
}
