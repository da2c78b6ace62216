package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// hall sends what one of its connections says to all of them, in its manner.
type hall struct {
	queued   bool // each connection has a goroutine that writes to it, and room for whatever waits
	mu       sync.Mutex
	conns    []io.ReadWriter
	messages int
}

// queue is a connection that is written to by a goroutine of its own.
type queue struct {
	io.ReadWriter
	frames chan []byte
}

func newQueue(c io.ReadWriter) *queue {
	q := &queue{c, make(chan []byte, maxNotices)}
	go func() {
		for p := range q.frames {
			c.Write(p) // fails when the client has gone
		}
	}()
	return q
}

func (q *queue) Write(p []byte) (int, error) {
	q.frames <- bytes.Clone(p)
	return len(p), nil
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
	// From the seventeenth on they are told to go with the third message, or not even told.
	"shedding": func(i, n int, p []byte) [][]byte {
		if i >= 16 && n == 3 {
			return [][]byte{p, shed, nil}
		}
		return [][]byte{p}
	},
	"resetting": func(i, n int, p []byte) [][]byte {
		if i >= 16 && n == 3 {
			return [][]byte{p, reset}
		}
		return [][]byte{p}
	},
	// From the seventeenth on they get every second message.
	"thinning": func(i, n int, p []byte) [][]byte {
		if i >= 16 && n%2 == 1 {
			return nil
		}
		return [][]byte{p}
	},
	// From the seventeenth on they get the first message twice.
	"stuttering": func(i, n int, p []byte) [][]byte {
		if i >= 16 && n == 1 {
			return [][]byte{p, p}
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

const tryAgainLater ws.StatusCode = 1013

// What is no message but an order about the connection.
var (
	shed  = []byte("a close frame")
	reset = []byte("a reset")
)

func (s *testServer) hall(path string) *hall {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halls[path] == nil {
		s.halls[path] = new(hall)
	}
	return s.halls[path]
}

// admit lets a connection in. Its caller has had the lock since before the connection was told, so that they
// are numbered as they come, and who has been told is there.
func (h *hall) admit(c io.ReadWriter) int {
	if h.queued {
		c = newQueue(c)
	}
	h.conns = append(h.conns, c)
	return len(h.conns) - 1
}

// attend takes what the i-th connection says.
func (h *hall) attend(i int, c io.ReadWriter, manner func(i, n int, p []byte) [][]byte) {
	defer h.leave(i)
	for {
		message, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return
		}
		h.tell(op, message, manner)
	}
}

// deliver writes a message, or does what it is an order for.
func deliver(c io.ReadWriter, op ws.OpCode, p []byte) error {
	switch {
	case p == nil:
		return c.(io.Closer).Close()
	case &p[0] == &shed[0]:
		return ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(tryAgainLater, "")))
	case &p[0] == &reset[0]:
		return errors.Join(c.(*net.TCPConn).SetLinger(0), c.(io.Closer).Close())
	}
	return wsutil.WriteServerMessage(c, op, p)
}

// leave keeps the numbers of the others.
func (h *hall) leave(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q, ok := h.conns[i].(*queue); ok {
		close(q.frames)
	}
	h.conns[i] = nil
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
			if deliver(c, op, p) != nil {
				break
			}
		}
	}
}
