package soak

import (
	"time"

	"github.com/stillpool/stillpool/server"
)

// A message's wish is what the server is to do about it. So what the server does beside its ticks is up to
// the clients, and each knows what to expect.
const (
	wishNone       = '-'
	wishEcho       = 'e' // Write what came
	wishForward    = 'f' // Forward what came
	wishPassOn     = 'o' // Forward what came to another connection
	wishAnswers    = 'a' // send messages: how many and of which length, see answers
	wishAside      = 'A' // the same from another goroutine
	wishBroadcast  = 'b' // send a message to all connections of the place
	wishEvery      = 't' // SetEvery, in milliseconds
	wishBlock      = 'k' // take so many milliseconds
	wishPanic      = 'p'
	wishPanicLater = 'P' // at the next tick
	wishClose      = 'w' // CloseWith this code
	wishCloseAside = 'W' // the same from another goroutine
	wishCut        = 'c' // Close from another goroutine
)

// What the server counts of its deeds.
const (
	deedTick      = "server: a tick"
	deedEcho      = "server: an echo"
	deedForward   = "server: an echo, forwarded"
	deedPassOn    = "server: a message forwarded to another connection"
	deedAnswers   = "server: answers"
	deedAside     = "server: answers from another goroutine"
	deedBroadcast = "server: a broadcast"
	deedEvery     = "server: another interval of ticks"
	deedBlock     = "server: a handler that takes long"
	deedPanic     = "server: a handler that panics"
	deedPanicTick = "server: a tick that panics"
	deedPanicLast = "server: a close event that panics"
	deedSlowLast  = "server: a close event that takes long"
	deedClose     = "server: a close in order"
	deedCut       = "server: a close without one, from another goroutine"
)

var deeds = []string{
	deedTick, deedEcho, deedForward, deedPassOn, deedAnswers, deedAside, deedBroadcast, deedEvery, deedBlock,
	deedPanic, deedPanicTick, deedPanicLast, deedSlowLast, deedClose, deedCut,
}

// obey does what a message wishes.
func (g *guest) obey(l label, m server.Message) {
	did := g.house.did
	switch l.wish {
	case wishEcho:
		did.count(deedEcho)
		g.relay(l, func() (server.Outcome, error) { return g.house.ways.send(g, m.Kind, m.Data) })
	case wishForward:
		did.count(deedForward)
		g.relay(l, func() (server.Outcome, error) { return g.conn.Forward(m) })
	case wishPassOn:
		if to := g.house.other(l.seq * 7919); to != nil {
			did.count(deedPassOn)
			to.relay(l, func() (server.Outcome, error) { return to.conn.Forward(m) })
		}
	case wishAnswers:
		did.count(deedAnswers)
		g.answer(l)
	case wishAside:
		did.count(deedAside)
		g.aside(func() { g.answer(l) })
	case wishBroadcast:
		did.count(deedBroadcast)
		g.house.broadcast(g.room, int(l.arg))
	case wishEvery:
		did.count(deedEvery)
		g.setEvery(time.Duration(l.arg) * time.Millisecond)
	case wishBlock:
		did.count(deedBlock)
		time.Sleep(time.Duration(l.arg) * time.Millisecond)
	default:
		g.end(l)
	}
}

// setEvery runs in a handler, as ticks do: none may come after it has ended them.
func (g *guest) setEvery(d time.Duration) {
	g.every = d
	if err := g.conn.SetEvery(d); err != nil && err != server.ErrClosed {
		g.house.found("an interval that was not taken", "%s: %v", g, err)
	}
}

// end does what a message wishes that is to be the last one.
func (g *guest) end(l label) {
	code := server.Code(l.arg)
	switch l.wish {
	case wishPanic:
		g.house.did.count(deedPanic)
		panic("soak: this handler was asked to panic")
	case wishPanicLater:
		g.panics = true
		g.setEvery(tickEvery / 4)
	case wishClose:
		g.house.did.count(deedClose)
		_ = g.conn.CloseWith(code, "as you wish") // or it is closed for another reason, which the client judges
	case wishCloseAside:
		g.house.did.count(deedClose)
		g.aside(func() { _ = g.conn.CloseWith(code, "as you wish") })
	case wishCut:
		g.house.did.count(deedCut)
		g.aside(func() { _ = g.conn.Close() })
	}
}

func (g *guest) aside(do func()) {
	g.house.aside.Add(1)
	go func() {
		defer g.house.aside.Add(-1)
		do()
	}()
}

// relay sends a message of a client's to this connection.
func (g *guest) relay(l label, send func() (server.Outcome, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass(l, send)
}

// answersArg is the argument of a wish for so many answers of at most so many bytes, as a power of two.
func answersArg(count, bits int) uint16 { return uint16(count | bits<<8) }

// answer sends messages of many lengths, the last and longest of which is the one wished for.
func (g *guest) answer(l label) {
	count, most := int(l.arg&0xff), min(1<<(l.arg>>8), largest)
	for i := range count {
		g.say(max(labelSize, most>>((count-1-i)%4)))
	}
}

// broadcast sends a message to all, one broadcast after the other, so that their numbers ascend for everybody.
func (h *house) broadcast(r *room, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := label{maker: forAll, wish: wishNone, of: r.number(), seq: r.begun.Load(), size: uint32(max(labelSize, min(size, largest)))}
	p, err := server.Prepare(server.Binary, h.book.message(l, false))
	if err != nil {
		h.found("a broadcast that could not be prepared", "%v", err)
		return
	}
	r.begun.Add(1)
	all := h.ways.all(r, p)
	r.done.Add(1)
	h.out.Add(int64(all.Sent + all.Queued))
	h.refused.Add(int64(all.Refused))
	h.dropped.Add(int64(all.Dropped))
}
