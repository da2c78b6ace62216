package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const testPeriod = 20 * time.Millisecond

// testServer is a server of a few lines: a goroutine a connection, and the path says what it does.
type testServer struct {
	listener net.Listener
	manner   manner
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	seen  map[string]int // close codes and the like, by what the client sent
	halls map[string]*hall
}

// manner is what the server does on every path.
type manner int

const (
	friendly manner = iota
	slow            // it writes a byte at a time, its answer to the upgrade included
	mute            // it does not answer the upgrade
)

func newTestServer(t *testing.T) *testServer { return newTestServerOf(t, friendly) }

func newTestServerOf(t *testing.T, m manner) *testServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{listener: l, manner: m, conns: map[net.Conn]bool{}, seen: map[string]int{}, halls: map[string]*hall{}}
	s.done.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *testServer) url(path string) string { return "ws://" + s.listener.Addr().String() + path }

func (s *testServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() { defer c.Close(); s.serve(c) })
	}
}

func (s *testServer) close() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

func (s *testServer) saw(what string) {
	s.mu.Lock()
	s.seen[what]++
	s.mu.Unlock()
}

func (s *testServer) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[what]
}

// accepted is how many connections have come.
func (s *testServer) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *testServer) serve(c net.Conn) {
	path := ""
	var h *hall
	u := ws.Upgrader{OnRequest: func(uri []byte) error {
		path = string(uri)
		if path == "/refuse" {
			return ws.RejectConnectionError(ws.RejectionStatus(503))
		}
		if strings.HasPrefix(path, "/broadcast/") {
			h = s.hall(path)
			h.mu.Lock()
		}
		return nil
	}}
	var conn io.ReadWriter = c
	switch s.manner {
	case slow:
		conn = byteByByte{c}
	case mute:
		io.Copy(io.Discard, c)
	}
	_, err := u.Upgrade(conn)
	seat := 0
	if h != nil {
		if err == nil {
			seat = h.admit(conn)
		}
		h.mu.Unlock()
	}
	if err != nil {
		return
	}
	switch path {
	case "/ws":
		s.done.Go(func() { s.tick(conn) })
		s.readAll(c)
	case "/ping":
		s.ping(conn)
	case "/leave":
		ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye")))
		s.readAll(c)
	case "/echo":
		s.echo(conn, func(p []byte) []byte { return p })
	case "/garble":
		s.echo(conn, func(p []byte) []byte { p[len(p)-1] ^= 1; return p })
	case "/cut":
		s.echo(conn, func(p []byte) []byte { return p[:len(p)-1] })
	case "/twice":
		s.echo(conn, func(p []byte) []byte { return append(p, p...) })
	case "/stay":
		s.readAll(c)
		io.Copy(io.Discard, c)
	default:
		if manner, ok := hallManners[strings.TrimPrefix(path, "/broadcast/")]; ok {
			h.attend(seat, conn, manner)
		}
	}
}

type byteByByte struct{ net.Conn }

func (b byteByByte) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

func (s *testServer) tick(w io.Writer) {
	ticker := time.NewTicker(testPeriod)
	defer ticker.Stop()
	for n := 1; ; n++ {
		<-ticker.C
		if wsutil.WriteServerText(w, []byte("Woohoo!")) != nil {
			return
		}
		if n == 10 {
			s.saw("ten ticks")
		}
	}
}

// readAll notes how the client ends.
func (s *testServer) readAll(c net.Conn) {
	for {
		op, payload, err := readFrame(c)
		if errors.Is(err, syscall.ECONNRESET) {
			s.saw("reset")
		}
		if err != nil {
			return
		}
		if op == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(payload)
			s.saw(closeError(code).Error())
			return
		}
	}
}

func readFrame(r io.Reader) (ws.OpCode, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	ws.Cipher(payload, h.Mask, 0)
	return h.OpCode, payload, err
}

// ping wants its pong before each message.
func (s *testServer) ping(c io.ReadWriter) {
	for {
		want := []byte(strings.Repeat("ping", 31))
		ws.WriteFrame(c, ws.NewPingFrame(want))
		op, payload, err := readFrame(c)
		if err != nil || op != ws.OpPong || !bytes.Equal(payload, want) {
			return
		}
		s.saw("pong")
		if wsutil.WriteServerText(c, []byte("Woohoo!")) != nil {
			return
		}
		time.Sleep(testPeriod)
	}
}

func (s *testServer) echo(c io.ReadWriter, change func([]byte) []byte) {
	for {
		message, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return
		}
		if wsutil.WriteServerMessage(c, op, change(message)) != nil {
			return
		}
	}
}
