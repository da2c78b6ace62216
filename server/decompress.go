package server

import (
	"bytes"
	"sync"
	"unicode/utf8"
)

// This file is what comes in compressed: inflate.go does the work, and here is when, by whom and
// within which bounds. The holder of the turn runs it.

const (
	// longInflate is the length to which a message is inflated where it was found, and shortDeflated
	// that to which this is tried. Longer ones wait for the lane of the pool that has half the
	// processors, so that bombs can't have all of them.
	longInflate   = 64 << 10
	shortDeflated = 8 << 10
	// largeInflate is the length from which a compressed message waits in a queue of its own, which
	// takes turns with that of shorter ones: by the worst of encodings it may take a tenth of a second.
	largeInflate = 64 << 10
)

// inflateHere inflates a message where it was found and hands it on. It tells that the message is too
// long for that, and nothing was done.
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

// inflateShort inflates a message into buf, and tells whether it fits.
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

// texts are where short messages are inflated to.
var texts = sync.Pool{New: func() any { return new([longInflate]byte) }}

// understood takes an inflated message into the window.
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

// inflateParked inflates a long message that waits for it. Then it waits for its handler.
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

// inflateLong makes a plain message of a compressed one. Memory is taken as the text comes, so a bomb
// ends at the limit having had that much and no more.
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
