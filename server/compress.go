package server

import (
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// Compression of messages to the peer: when, and within which bounds; deflate.go compresses. Safe for
// concurrent use.

const (
	// maxOutWindow is the part of the server's window, in bytes, that context takeover keeps. The
	// compressor reads it for each message: 4 KiB cost 5 µs, 32 KiB 27 µs, for 2 bytes in 190.
	maxOutWindow = 4 << 10
	// seedCost is the number of bytes by which compression may lengthen a message, so that later
	// messages can refer to it.
	seedCost = 16
	// longDeflate is the length in bytes from which compression takes long: a millisecond for each half
	// megabyte. At most half the processors compress or inflate long messages at once; beyond that a
	// message goes out uncompressed.
	longDeflate = 64 << 10
)

// windows are kept between the messages of a connection with context takeover.
type windows struct {
	// mu is held from compressing a message until it is queued, and comes before Conn.mu. That may take
	// long, so every caller uses TryLock: a message that finds it held goes out uncompressed.
	mu  sync.Mutex
	out []byte // the end of the server's messages
	in  []byte // the end of the client's messages; owner only
}

// compresses reports whether a message of n bytes is to be compressed.
func (c *Conn) compresses(n int) bool {
	return c.deflate.out != 0 && n > 0 && n >= c.ep.opts.Compression.MinSize
}

// takes reports whether a message is to be compressed now. A message that will be rejected is not, and
// under context takeover neither is one that has to wait and may be dropped, because later messages
// could refer to it (RFC 7692 section 7.2.1). An uncompressed message is no part of the window.
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

// deflateBuffer holds the longest frame that is compressed on the heap.
type deflateBuffer [maxHeader + longDeflate + seedCost + len(flushTail)]byte

var deflateBuffers = sync.Pool{New: func() any { return new(deflateBuffer) }}

// writeDeflated sends a message compressed, or uncompressed if that is shorter.
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

// deflateInto builds the frame in buf, whose ownership is has, and sends it.
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
		room += seedCost // later messages can't refer to an uncompressed one
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

// sendDeflated sends a compressed frame and moves the window on. windows.mu must be held, if there is
// a window.
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

// sendPrepared sends the compressed form of a prepared message. All connections with windows of one
// size share it: it refers to nothing before it.
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

// dropWindows releases the windows at the end of the connection. Owner only.
func (c *Conn) dropWindows() {
	c.loop.srv.windows.give(c.deflate.cost())
	if c.deflate.cost() == 0 {
		return
	}
	w := c.ext.windows
	w.in = nil
	if w.mu.TryLock() { // a sender that holds it finds the connection closed and keeps nothing new
		w.out = nil
		w.mu.Unlock()
	}
}

// turnstile is a semaphore that never blocks. force enters beyond the limit, and counts too.
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
