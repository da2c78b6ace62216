package soak

import (
	"errors"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server"
)

// guest is a connection as the server sees it, and its account of what was said.
type guest struct {
	house  *house
	room   *room
	conn   *server.Conn
	place  int         // in house.guests, with its lock
	inside atomic.Bool // a handler runs; these are the handlers':
	every  time.Duration
	panics bool // at the next tick

	// mu is held while something is sent, so that what is accepted is numbered in its order.
	mu     sync.Mutex
	rec    record
	seq    uint32 // of the next message of the server's own
	closed bool
}

// open makes an endpoint whose handlers keep an account.
func (h *house) open(p *place) *room {
	r, o := &room{place: p}, p.options
	o.MaxMessage = largest
	o.OnOpen = func(c *server.Conn, q *server.Request) { h.opened(r, c, q) }
	o.OnMessage = func(c *server.Conn, m server.Message) {
		h.event(c, func(g *guest) { h.ways.message(g, m, g.heard) })
	}
	o.OnTick = func(c *server.Conn) { h.event(c, (*guest).tick) }
	o.OnClose = func(c *server.Conn, why server.Closing) {
		h.event(c, func(g *guest) {
			h.ways.closed(g, func() { g.left(why) })
			g.lastOfAll()
		})
	}
	r.ep = h.srv.Handle(p.path, o)
	return r
}

func (h *house) opened(r *room, c *server.Conn, q *server.Request) {
	query, _ := url.ParseQuery(q.RawQuery())
	n, err := strconv.ParseUint(query.Get("n"), 10, 32)
	if err != nil || c.Value() != nil {
		h.found("an open event that should not be", "%s?%s", q.Path(), q.RawQuery())
		return
	}
	g := &guest{house: h, room: r, conn: c, every: r.options.Every, rec: record{Number: uint32(n), Path: r.path, AllFrom: r.begun.Load()}}
	c.SetValue(g)
	h.opens.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	g.place = len(h.guests)
	h.guests = append(h.guests, g)
}

// event is around each handler but the first: there is an open event before it, no close event before it
// and no other one beside it.
func (h *house) event(c *server.Conn, do func(*guest)) {
	g, ok := c.Value().(*guest)
	if !ok {
		h.found("an event before the open event", "%s", c.Endpoint().Path())
		return
	}
	if !g.inside.CompareAndSwap(false, true) {
		h.found("two events of a connection at once", "%s", g)
	} else {
		defer g.inside.Store(false)
	}
	if g.hasClosed() {
		h.found("an event after the close event", "%s", g)
		return
	}
	do(g)
}

func (g *guest) String() string {
	return "connection " + strconv.Itoa(int(g.rec.Number)) + " of " + g.rec.Path
}

func (g *guest) hasClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// heard takes a message: it must be the next one of its client, as it was made.
func (g *guest) heard(m server.Message) {
	g.mu.Lock()
	next := label{maker: byClient, of: g.rec.Number, seq: g.rec.Got}
	g.rec.Got++
	g.mu.Unlock()
	g.house.in.Add(1)
	l, err := g.house.book.read(m.Data, m.Kind == server.Text, next)
	switch {
	case err != nil:
		g.house.found("the server heard "+err.Error(), "%s, message %d", g, next.seq)
	case l.maker != next.maker || l.of != next.of:
		g.house.found("the server heard a message of somebody else", "%s, message %d: %+v", g, next.seq, l)
	case l.seq != next.seq:
		g.house.found("the server heard another message than the next", "%s, message %d: %+v", g, next.seq, l)
	default:
		g.obey(l, m)
	}
}

func (g *guest) tick() {
	if g.conn.Endpoint() != g.room.ep || g.every == 0 {
		g.house.found("a tick that should not be", "%s, interval %v", g, g.every)
	}
	if g.panics {
		g.house.did.count(deedPanicTick)
		panic("soak: this tick was asked to panic")
	}
	g.house.did.count(deedTick)
	g.say(labelSize)
}

// say sends the next message of the server's own.
func (g *guest) say(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := label{maker: byServer, wish: wishNone, of: g.rec.Number, seq: g.seq, size: uint32(size)}
	kind := server.Binary
	if l.seq%2 == 0 {
		kind = server.Text
	}
	data := g.house.book.message(l, kind == server.Text)
	if g.pass(l, func() (server.Outcome, error) { return g.house.ways.send(g, kind, data) }) {
		g.seq++
	}
}

// write sends by the one or the other way.
func (g *guest) write(kind server.Kind, data []byte) (server.Outcome, error) {
	if g.seq%3 > 0 {
		return g.conn.Write(kind, data)
	}
	p, err := server.Prepare(kind, data)
	if err != nil {
		return server.Refused, err
	}
	return g.conn.Send(p)
}

// pass sends a message and notes what became of it. The lock is held.
func (g *guest) pass(l label, send func() (server.Outcome, error)) (accepted bool) {
	done := g.room.done.Load() // these were for this connection too, if it is still open then
	outcome, err := send()
	switch {
	case outcome == server.Dropped && err == nil:
		g.rec.Dropped++
		g.house.dropped.Add(1)
	case (outcome == server.Sent || outcome == server.Queued) && err == nil:
		g.rec.AllTo = done
		g.rec.Accepted++
		g.rec.Chain, g.rec.Last = g.rec.Chain.with(l), chain(0).with(l)
		g.house.out.Add(1)
		return true
	case outcome == server.Refused && errors.Is(err, server.ErrBacklogFull):
		g.rec.Refused++
		g.house.refused.Add(1)
	case outcome != server.Refused || !errors.Is(err, server.ErrClosed):
		g.house.found("a send that was not sent, queued or dropped, nor refused for a reason", "%s: %v, %v", g, outcome, err)
	}
	return false
}

// left is the close event.
func (g *guest) left(why server.Closing) {
	if outcome, err := g.conn.WriteText("late"); outcome != server.Refused || !errors.Is(err, server.ErrClosed) {
		g.house.found("a send after the close", "%s: %v, %v", g, outcome, err)
	}
	g.leaveList()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.rec.Cause, g.rec.Code = why.Cause, why.Code
	if why.Err != nil {
		g.rec.Err = why.Err.Error()
	}
	g.house.closes.Add(1)
	g.house.mouth.keep(g.rec)
}

// lastOfAll makes some close events be not as one would like them. Nobody may suffer from that.
func (g *guest) lastOfAll() {
	switch n := g.rec.Number % 50; {
	case n == 0:
		g.house.did.count(deedPanicLast)
		panic("soak: a close event that panics")
	case n < 5 && g.room.path == "/working":
		g.house.did.count(deedSlowLast)
		time.Sleep(20 * time.Millisecond)
	}
}

func (g *guest) leaveList() {
	h := g.house
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.guests) - 1
	h.guests[g.place] = h.guests[last]
	h.guests[g.place].place = g.place
	h.guests[last] = nil
	h.guests = h.guests[:last]
}

// other is an open connection, which of them by n.
func (h *house) other(n uint32) *guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.guests) == 0 {
		return nil
	}
	return h.guests[int(n)%len(h.guests)]
}
