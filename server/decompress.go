package server

import (
	"bytes"
	"sync"
	"unicode/utf8"
)

// Inflating of messages from the peer: when, on which goroutine, and within which bounds; inflate.go
// inflates. Owner only.

const (
	// longInflate is the inflated size, and shortDeflated the compressed size, up to which a message is
	// inflated on the goroutine that read it. Longer ones wait for a lane of the pool that has half the
	// processors, so that compression bombs can't take all of them.
	longInflate   = 64 << 10
	shortDeflated = 8 << 10
	// largeInflate is the compressed size from which a message waits in a queue of its own, which takes
	// turns with the queue of shorter ones: the worst encoding takes a tenth of a second.
	largeInflate = 64 << 10
)

// inflateHere inflates a message and calls its handler. It reports whether the message is too long for
// that; it has then done nothing.
func (c *Conn) inflateHere(w *worker, m Message) (tooLong bool) {
	buf := texts.Get().(*[longInflate]byte)
	text, whole, err := c.inflateShort(w, m, buf)
	if err != nil || !whole {
		texts.Put(buf)
		if err != nil {
			c.fail(w, err)
		}
		return err == nil
	}
	if m.Data = text; w.role == onLoop {
		defer texts.Put(buf)
	} else { // the buffer is too large to be held while a handler blocks
		m.Data = bytes.Clone(text)
		texts.Put(buf)
	}
	c.handle(w, m)
	return false
}

// inflateShort inflates a message into buf and reports whether it fits.
func (c *Conn) inflateShort(w *worker, m Message, buf *[longInflate]byte) (text []byte, whole bool, err error) {
	w.tailed = append(append(w.tailed[:0], m.Data...), inflateTail...)
	most := c.ep.opts.MaxMessage
	i := inflation{src: w.tailed, window: c.inWindow(), dst: buf[:0:min(len(buf), most+1)]}
	switch whole, err = i.run(); {
	case err == nil && !whole && most < len(buf):
		err = errTooBig
	case err == nil && whole:
		err = c.understood(m.Kind, i.dst)
	}
	return i.dst, whole, err
}

// texts holds buffers for short inflated messages.
var texts = sync.Pool{New: func() any { return new([longInflate]byte) }}

// understood checks and counts an inflated message and moves the window on.
func (c *Conn) understood(kind Kind, text []byte) error {
	if kind == Text && !utf8.Valid(text) {
		return errInvalidUTF8
	}
	c.loop.stats.deflatedIn.Add(1)
	c.loop.stats.saidIn.Add(uint64(len(text)))
	if c.deflate.keepIn {
		w := c.ext.windows
		w.in = slide(w.in, text, c.deflate.inWindow())
	}
	return nil
}

func (c *Conn) inWindow() []byte {
	if !c.deflate.keepIn {
		return nil
	}
	return c.ext.windows.in
}

// inflateParked inflates a long parked message, which then waits for its handler.
func (c *Conn) inflateParked(w *worker) {
	srv := c.loop.srv
	srv.trim.note(srv, trimLarge)
	srv.squeezing.force()
	defer srv.squeezing.leave()
	p := &c.in.parked
	text, err := c.inflateLong(p)
	if err == nil {
		err = c.understood(p.msg.Kind, text.msg.Data)
	}
	p.drop(&c.loop.srv.inbound)
	*p = text
	if err != nil {
		p.drop(&c.loop.srv.inbound)
		c.mu.Lock()
		c.state &^= stParked
		c.mu.Unlock()
		c.fail(w, err)
	}
}

// inflateLong inflates a long message. It takes memory as bytes come out, so a compression bomb takes
// no more than the limit.
func (c *Conn) inflateLong(p *parked) (text parked, err error) {
	most := c.ep.opts.MaxMessage + 1
	text.msg.Kind = p.msg.Kind
	text.msg.region = reserve(most)
	i := inflation{src: append(p.msg.Data, inflateTail...), window: c.inWindow(), pause: c.loop.srv.yield}
	charge := func(n int) error {
		if !c.loop.srv.inbound.takeFair(int64(n)-text.taken, text.taken) {
			return errNoBudget
		}
		text.taken = int64(n)
		return nil
	}
	if r := text.msg.region; r != nil {
		i.dst, i.charge = r.mem[:0:most], charge
	} else if err := charge(most); err != nil { // without reservations it must be taken at once
		return text, err
	} else {
		i.dst = make([]byte, 0, most)
	}
	whole, err := i.run()
	if err == nil && !whole {
		err = errTooBig
	}
	text.msg.Data = i.dst
	return text, err
}
