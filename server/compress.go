package server

import (
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// This file is what goes out compressed: deflate.go does the work, and here is when and within which
// bounds. Any goroutine runs it.

const (
	// maxOutWindow is how much of the server's window is used and kept when it lives on. The compressor
	// has to be shown it for each message: 4 KiB cost 5 µs, 32 KiB 27 µs, for 2 bytes in 190.
	maxOutWindow = 4 << 10
	// seedCost is by how much compressing may make a message longer for the sake of those after it.
	seedCost = 16
	// longDeflate is the length from which compressing a message takes long: a millisecond for each
	// half megabyte. It is done while, with long ones that are inflated, no more than half the
	// processors have such work; otherwise the message goes as it is.
	longDeflate = 64 << 10
)

// windows live on between the messages of a connection with context takeover.
type windows struct {
	// mu is held from compressing a message until it is queued, and comes before Conn.mu. That may
	// take long, so nobody waits for it: a message that finds it held goes as it is.
	mu  sync.Mutex
	out []byte // the end of what the server said
	in  []byte // the end of what the client said; belongs to the holder of the turn
}

// compresses tells whether a message of n bytes is to be compressed.
func (c *Conn) compresses(n int) bool {
	return c.deflate.out != 0 && n > 0 && n >= c.ep.opts.Compression.MinSize
}

// takes tells whether a message is to be compressed now: none that is refused anyway, and none that is
// going to wait where it may be dropped and others may refer to it (RFC 7692 section 7.2.1). Those go as
// they are, which is no part of the window.
func (c *Conn) takes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state.has(stCloseSent | stDead | stGone):
		return false
	case c.deflate.keepOut && c.ep.opts.Overflow.forgets():
		return !c.waits()
	}
	return c.out == nil || c.out.held < c.ep.opts.Backlog
}

// deflateBuffer has room for the longest frame that is compressed on the heap.
type deflateBuffer [maxHeader + longDeflate + seedCost + len(flushTail)]byte

var deflateBuffers = sync.Pool{New: func() any { return new(deflateBuffer) }}

// writeDeflated compresses a message and sends it, or sends it as it is if that is shorter.
func (c *Conn) writeDeflated(op ws.OpCode, data []byte, l lease) (Outcome, error) {
	if len(data) > longDeflate {
		return c.writeLongDeflated(op, data, l)
	}
	buf := deflateBuffers.Get().(*deflateBuffer)
	defer deflateBuffers.Put(buf)
	return c.deflateInto(buf[:], lease{}, op, data, l)
}

func (c *Conn) writeLongDeflated(op ws.OpCode, data []byte, l lease) (Outcome, error) {
	srv := c.loop.srv
	if !srv.squeezing.enter() {
		c.loop.stats.deflateSkipped.Add(1)
		return c.writePlain(op, data, l)
	}
	defer srv.squeezing.leave()
	srv.trim.note(srv, trimLarge)
	size := maxHeader + len(data) + len(flushTail)
	if r := reserve(size); r != nil {
		defer r.release()
		return c.deflateInto(r.mem, lease{region: r}, op, data, l)
	}
	return c.deflateInto(make([]byte, size), lease{forever: true}, op, data, l)
}

// deflateInto builds the frame in buf, which stays as it is for as long as has says.
func (c *Conn) deflateInto(buf []byte, has lease, op ws.OpCode, data []byte, l lease) (Outcome, error) {
	var window []byte
	if c.deflate.keepOut {
		w := c.ext.windows
		if !w.mu.TryLock() {
			return c.writePlain(op, data, l)
		}
		defer w.mu.Unlock()
		window = w.out
	}
	room := len(data) - 1
	if c.deflate.keepOut && len(data) <= maxOutWindow {
		room += seedCost // what goes as it is would never be referred to
	}
	room = maxHeader + room + len(flushTail)
	deflated, fits := squeeze(buf[maxHeader:room:room], data, window, c.deflate.out, c.ep.opts.Compression.Level, c.loop.srv.yield)
	if !fits {
		return c.writePlain(op, data, l)
	}
	var header [maxHeader]byte
	n := copy(buf, appendDeflatedHeader(header[:0], op, len(deflated)))
	start := maxHeader - n // the header goes right before the payload
	copy(buf[start:], header[:n])
	return c.sendDeflated(buf[start:maxHeader+len(deflated)], data, has)
}

// sendDeflated sends a compressed frame, and notes what it said. The window's lock is held, if there
// is one.
func (c *Conn) sendDeflated(frame, said []byte, l lease) (Outcome, error) {
	l.bound = c.deflate.keepOut
	c.mu.Lock()
	outcome, err := c.sendFrame(nil, frame, l)
	c.mu.Unlock()
	if outcome == Refused || outcome == Dropped {
		return outcome, err
	}
	c.loop.stats.deflatedOut.Add(1)
	c.loop.stats.saidOut.Add(uint64(len(said)))
	if c.deflate.keepOut {
		w := c.ext.windows
		w.out = slide(w.out, said, c.deflate.outWindow())
	}
	return outcome, err
}

// sendPrepared sends the compressed form of a prepared message, which all connections share whose
// windows are of one size. It refers to nothing before it, so it fits each of them.
func (c *Conn) sendPrepared(p *Prepared) (Outcome, error) {
	frame := p.deflatedFrame(c.deflate.out)
	if frame == nil {
		return c.sendPlain(p)
	}
	if c.deflate.keepOut {
		w := c.ext.windows
		if !c.takes() || !w.mu.TryLock() {
			return c.sendPlain(p)
		}
		defer w.mu.Unlock()
	}
	return c.sendDeflated(frame, p.payload(), lease{forever: true})
}

// dropWindows gives the windows back. The holder of the turn calls it, at the end.
func (c *Conn) dropWindows() {
	c.loop.srv.windows.give(c.deflate.cost())
	if c.deflate.cost() == 0 {
		return
	}
	w := c.ext.windows
	w.in = nil
	if w.mu.TryLock() { // whoever has it finds the connection closed, and keeps nothing new
		w.out = nil
		w.mu.Unlock()
	}
}

// turnstile lets so many in at once, and nobody wait. Those who force their way count too.
type turnstile struct {
	limit  int32
	inside atomic.Int32
}

func (g *turnstile) enter() bool {
	if g.inside.Add(1) > g.limit {
		g.inside.Add(-1)
		return false
	}
	return true
}

func (g *turnstile) force() { g.inside.Add(1) }

func (g *turnstile) leave() { g.inside.Add(-1) }
