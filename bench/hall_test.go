package bench

import (
	"bytes"
	"io"
	"slices"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// hall sends what one of its connections says to all of them, in its manner.
type hall struct {
	mu       sync.Mutex
	conns    []io.ReadWriter
	messages int
}

// hallManners say what the i-th connection is sent for the n-th message p; each byte slice is a message, and
// one that is empty ends the connection.
var hallManners = map[string]func(i, n int, p []byte) [][]byte{
	"right": func(_, _ int, p []byte) [][]byte { return [][]byte{p} },
	"twice": func(_, _ int, p []byte) [][]byte { return [][]byte{p, p} },
	"mute":  func(_, _ int, p []byte) [][]byte { return nil },
	"garbled": func(_, _ int, p []byte) [][]byte {
		p[len(p)-1] ^= 1
		return [][]byte{p}
	},
	"cut":      func(_, _ int, p []byte) [][]byte { return [][]byte{p[:len(p)-1]} },
	"tiny":     func(_, _ int, p []byte) [][]byte { return [][]byte{p[:stampSize-1]} },
	"foreign":  func(_, _ int, p []byte) [][]byte { p[stampSize-1] ^= 1; return [][]byte{p} },
	"prophecy": func(_, _ int, p []byte) [][]byte { p[3] ^= 1; return [][]byte{p} },
	// The fourth connection gets every second message.
	"half": func(i, n int, p []byte) [][]byte {
		if i == 3 && n%2 == 1 {
			return nil
		}
		return [][]byte{p}
	},
	// The first connection is ended after the first message, and with it who has sent that.
	"first": func(i, n int, p []byte) [][]byte {
		if i == 0 {
			return [][]byte{p, nil}
		}
		return [][]byte{p}
	},
}

func (s *testServer) hall(path string) *hall {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halls[path] == nil {
		s.halls[path] = new(hall)
	}
	return s.halls[path]
}

func (h *hall) attend(c io.ReadWriter, manner func(i, n int, p []byte) [][]byte) {
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	defer h.leave(c)
	for {
		message, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return
		}
		h.tell(op, message, manner)
	}
}

// leave keeps the numbers of the others.
func (h *hall) leave(c io.ReadWriter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[slices.Index(h.conns, c)] = nil
}

func (h *hall) tell(op ws.OpCode, message []byte, manner func(i, n int, p []byte) [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages++
	for i, c := range h.conns {
		if c == nil {
			continue
		}
		for _, p := range manner(i, h.messages, bytes.Clone(message)) {
			if p == nil {
				c.(io.Closer).Close()
			} else if wsutil.WriteServerMessage(c, op, p) != nil {
				break
			}
		}
	}
}
