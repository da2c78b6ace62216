package server

import (
	"runtime"
	"strings"
	"sync/atomic"
)

// This file finds out whether Shutdown was called inside a handler of its server. Go has no identity of a
// goroutine to look up, but a stack can be read: the goroutines that run handlers have their server's number
// in the frames at its bottom. That costs some calls at a goroutine's start, and nothing a handler.

// serverNumbers counts the servers of the process that have started.
var serverNumbers atomic.Uint64

// spell calls f below a frame for each digit of n to the base of four, the lowest outermost.
func spell(n uint64, f func()) {
	switch {
	case n == 0:
		f()
	case n%4 == 0:
		spell0(n/4, f)
	case n%4 == 1:
		spell1(n/4, f)
	case n%4 == 2:
		spell2(n/4, f)
	default:
		spell3(n/4, f)
	}
}

// The digits are known by the last letter of their names.

//go:noinline
func spell0(n uint64, f func()) { spell(n, f) }

//go:noinline
func spell1(n uint64, f func()) { spell(n, f) }

//go:noinline
func spell2(n uint64, f func()) { spell(n, f) }

//go:noinline
func spell3(n uint64, f func()) { spell(n, f) }

const (
	// handlerPrefix begins the names of the calls of guard.go and authorize.go.
	handlerPrefix = "github.com/stillpool/stillpool/server.(*Conn).call"
	digitPrefix   = "github.com/stillpool/stillpool/server.spell"
)

// insideHandler reports whether the calling goroutine is in a handler of this server.
func (s *Server) insideHandler() bool {
	handler, number := false, uint64(0)
	frames := runtime.CallersFrames(stack())
	for {
		f, more := frames.Next()
		digit, isDigit := strings.CutPrefix(f.Function, digitPrefix)
		switch {
		case strings.HasPrefix(f.Function, handlerPrefix):
			handler = true
		case isDigit && digit != "":
			number = 4*number + uint64(digit[0]-'0')
		}
		if !more {
			return handler && s.loops() != nil && number == s.number // which is set before the loops are
		}
	}
}

// stack returns the program counters of the calling goroutine, from any depth.
func stack() []uintptr {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(2, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*n)
		n = runtime.Callers(2, pcs)
	}
	return pcs[:n]
}
