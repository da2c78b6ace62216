package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// patience bounds what a test waits for. Nothing waits for it unless something is wrong.
const patience = 10 * time.Second

// journal is a log that is written and read at the same time.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// eventually waits until ok, which others bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

// started serves the demonstration in this process until the test ends, and answers host and port.
func started(t *testing.T, args ...string) (addr string, log *journal) {
	t.Helper()
	s := parsed(t, append([]string{"--addr", "127.0.0.1:0"}, args...)...)
	ls, err := s.listen()
	if err != nil {
		t.Fatal(err)
	}
	log = new(journal)
	signals := make(chan os.Signal, 2)
	done := make(chan error, 1)
	go func() {
		done <- s.serve(ls, s.MaxConns, s.logger(log), signals, streams{io.Discard, log})
	}()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("didn't end")
		}
	})
	return ls[0].Addr().String(), log
}

// dial opens a WebSocket. The origin may be empty.
func dial(t *testing.T, url, origin string) (net.Conn, error) {
	t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, early, _, err := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if early != nil { // frames that came with the handshake
		c = &withEarly{c, early}
	}
	return c, nil
}

// withEarly reads what came with the handshake before the rest.
type withEarly struct {
	net.Conn
	early io.Reader
}

func (c *withEarly) Read(p []byte) (int, error) { return c.early.Read(p) }

func mustDial(t *testing.T, url string) net.Conn {
	t.Helper()
	c, err := dial(t, url, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, op ws.OpCode, data string) {
	t.Helper()
	if err := wsutil.WriteClientMessage(c, op, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn) (string, ws.OpCode) {
	t.Helper()
	data, op, err := wsutil.ReadServerData(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), op
}

// statsOf asks a server for its counts.
func statsOf(t *testing.T, addr string) (c counts) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}
