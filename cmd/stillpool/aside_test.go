package main

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAsideAddr(t *testing.T) {
	for given, want := range map[string]string{
		"6060":           "localhost:6060",
		":6060":          "localhost:6060",
		"0":              "localhost:0",
		"127.0.0.1:6060": "127.0.0.1:6060",
		"0.0.0.0:6060":   "0.0.0.0:6060",
		"[::]:6060":      "[::]:6060",
		"example:6060":   "example:6060",
		"":               "",
		":":              "",
		"example":        "",
		"localhost:":     "",
		"::1:6060":       "",
		":65536":         "",
		":-1":            "",
		":http":          "",
	} {
		if got, err := asideAddr("--admin", given); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", given, got, err, want)
		}
	}
}

// No more connections are accepted than there are places. Others wait, and come when one is closed.
func TestFewAtOnce(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newFew(inner, 2)
	accepted := make(chan net.Conn, 10)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	})
	for range 4 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	eventually(t, "the places to be taken", func() bool { return len(l.places) == 2 })
	if len(accepted) > 0 {
		t.Error("a third was accepted")
	}
	first.Close()
	first.Close() // makes no second place
	third := <-accepted
	eventually(t, "the places to be taken again", func() bool { return len(l.places) == 2 })
	if len(accepted) > 0 {
		t.Error("a fourth was accepted")
	}
	second.Close()
	fourth := <-accepted
	third.SetDeadline(time.Now()) // it is a connection like any other
	l.Close()
	l.Close()
	accepting.Wait() // though all places are taken
	third.Close()
	fourth.Close()
}

// One client can't take all descriptors by way of an operator's address.
func TestAsideIsBounded(t *testing.T) {
	_, log := started(t, "--admin", "0")
	addr := strings.TrimPrefix(adminURL(t, log), "http://")
	answered := make(chan int, 1)
	ask := func(c net.Conn) { c.Write([]byte("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")) }
	var conns []net.Conn
	var reading sync.WaitGroup
	for i := range asideConns + 1 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		reading.Go(func() {
			buf := make([]byte, 1<<10)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
				answered <- i
			}
		})
		ask(c)
		if i < asideConns {
			<-answered
		}
	}
	for range 50 { // in which it would have had its answer
		ask(conns[1])
		if i := <-answered; i != 1 {
			t.Fatalf("connection %d was answered", i)
		}
	}
	conns[0].Close()
	if i := <-answered; i != asideConns {
		t.Errorf("connection %d was answered", i)
	}
	for _, c := range conns {
		c.Close()
	}
	reading.Wait()
}

// A place is not kept by who sends half a request, be it the half behind its head.
func TestAsideEndsHalfRequests(t *testing.T) {
	_, log := started(t, "--admin", "0")
	c, err := net.Dial("tcp", strings.TrimPrefix(adminURL(t, log), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * patience))
	io.WriteString(c, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("its connection stays")
	}
}

// Nor by who does not read its answer.
func TestAsideEndsStalledAnswers(t *testing.T) {
	c := new(stalled)
	before := time.Now()
	(&placed{Conn: c}).Write([]byte("x"))
	if !c.wrote || c.until.Before(before) || time.Since(c.until) > -asideWriteTime/2 {
		t.Errorf("written: %v, with a deadline of %v", c.wrote, c.until)
	}
}

// stalled is a connection that notes the deadline of a write.
type stalled struct {
	net.Conn
	until time.Time
	wrote bool
}

func (s *stalled) SetWriteDeadline(t time.Time) error {
	if !s.wrote {
		s.until = t
	}
	return nil
}

func (s *stalled) Write(p []byte) (int, error) {
	s.wrote = true
	return len(p), nil
}
