package soak

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stillpool/stillpool/server"
)

// fault is a way to go wrong, and what must be found then: one of these.
type fault struct {
	ways ways
	what []string
}

// now and then a server goes wrong, and not always.
func sometimes(n uint32) bool { return n%10 == 3 }

// sending goes wrong with some messages.
func sending(wrong func(g *guest, kind server.Kind, data []byte) (server.Outcome, error), what ...string) fault {
	return fault{ways{send: func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		if sometimes(g.seq) {
			return wrong(g, kind, data)
		}
		return g.write(kind, data)
	}}, what}
}

// hearing goes wrong with some messages of clients.
func hearing(wrong func(g *guest, m server.Message, then func(server.Message)), what ...string) fault {
	return fault{ways{message: func(g *guest, m server.Message, then func(server.Message)) {
		if sometimes(g.rec.Got) {
			wrong(g, m, then)
		} else {
			then(m)
		}
	}}, what}
}

// closing goes wrong with some close events.
func closing(wrong func(g *guest, then func()), what ...string) fault {
	return fault{ways{closed: func(g *guest, then func()) {
		if sometimes(g.rec.Number) {
			wrong(g, then)
		} else {
			then()
		}
	}}, what}
}

var (
	spoils struct { // what is leaked
		sync.Mutex
		memory [][]byte
		files  []*os.File
	}
	odd   = "the client heard a message out of its order"
	next  = "the server heard another message than the next"
	chars = "the client heard a message with other bytes than were sent"
)

// leakyMemory is found by the curve, and not by the model.
const leakyMemory = "leaks memory"

var faults = map[string]fault{
	"": {},
	"drops": sending(func(*guest, server.Kind, []byte) (server.Outcome, error) { return server.Queued, nil },
		odd, "the client has not heard all that was accepted", "the client has not heard the last that was accepted"),
	"forgets the last": {ways{send: func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		if g.room.forgets() {
			return server.Queued, nil
		}
		return g.write(kind, data)
	}}, []string{"the client has not heard the last that was accepted"}},
	"refuses and sends": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		g.write(kind, data)
		return server.Refused, server.ErrBacklogFull
	}, odd, "the client heard more than was said"),
	"repeats": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		g.write(kind, data)
		return g.write(kind, data)
	}, odd),
	"swaps": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		later := label{maker: byServer, wish: wishNone, of: g.rec.Number, seq: g.seq + 1, size: labelSize}
		g.write(server.Binary, g.house.book.message(later, false))
		return g.write(kind, data)
	}, odd),
	"tears": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		return g.write(server.Binary, data[:len(data)-1])
	}, "the client heard a message that is not of its length: 37 bytes of 38", chars, "the client heard a message that is not of its length"),
	"changes a byte": sending(func(g *guest, _ server.Kind, data []byte) (server.Outcome, error) {
		data[len(data)-1] ^= 1
		return g.write(server.Binary, data)
	}, chars, "the client heard a label that is none"),
	"answers somebody else": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		for n := range uint32(100) {
			if to := g.house.other(n); to != g {
				return to.conn.Write(kind, data)
			}
		}
		return g.write(kind, data)
	}, "the client heard a message for somebody else"),
	"contradicts itself": sending(func(g *guest, kind server.Kind, data []byte) (server.Outcome, error) {
		g.write(kind, data)
		return server.Refused, nil
	}, "a send that was not sent, queued or dropped, nor refused for a reason"),
	"misses broadcasts": {ways{all: func(r *room, p *server.Prepared) server.Tally {
		if r.begun.Load()%2 == 0 {
			return server.Tally{}
		}
		return r.ep.Broadcast(p)
	}}, []string{"the client has not heard all broadcasts", "the client heard a broadcast out of its order, or of another place"}},

	"does not hear": hearing(func(_ *guest, _ server.Message, then func(server.Message)) {}, next, "the server has not heard all that was said"),
	"hears twice":   hearing(func(_ *guest, m server.Message, then func(server.Message)) { then(m); then(m) }, next),
	"hears something": hearing(func(_ *guest, m server.Message, then func(server.Message)) {
		m.Data = slices.Clone(m.Data)
		m.Data = append(m.Data, 'x')
		then(m)
	}, "the server heard a message that is not of its length", "the server heard a message with other bytes than were sent"),
	"is in two places": hearing(func(g *guest, m server.Message, then func(server.Message)) {
		g.house.event(g.conn, func(*guest) {})
		then(m)
	}, "two events of a connection at once"),
	"says another code": {ways{message: func(g *guest, m server.Message, then func(server.Message)) {
		if len(m.Data) >= labelSize && m.Data[1] == wishClose {
			g.conn.CloseWith(server.CodeNormal, "")
		}
		then(m)
	}}, []string{"another close code than should be"}},

	"ticks on": {ways{message: func(g *guest, m server.Message, then func(server.Message)) {
		then(m)
		if len(m.Data) >= labelSize && m.Data[1] == wishEvery {
			g.every = 0
			g.conn.SetEvery(time.Millisecond)
		}
	}}, []string{"a tick that should not be"}},

	"forgets closes": closing(func(*guest, func()) {}, "an open without its close"),
	"closes twice": closing(func(g *guest, then func()) {
		then()
		g.house.mouth.keep(g.rec)
	}, "a close event of a connection that nobody opened", "a second close event"),
	"goes on after the close": closing(func(g *guest, then func()) {
		then()
		g.inside.Store(false)
		g.house.event(g.conn, (*guest).tick)
	}, "an event after the close event"),
	"closes what is not there": closing(func(g *guest, then func()) {
		then()
		r := g.rec
		r.Number += 1 << 20
		g.house.mouth.keep(r)
	}, "a close event of a connection that nobody opened"),
	"takes one cause for another": closing(func(g *guest, then func()) {
		g.left(server.Closing{Cause: server.ShutDown, Code: server.CodeGoingAway})
	}, "an end that should not be"),
	"leaks descriptors": closing(func(_ *guest, then func()) {
		then()
		spoils.Lock()
		defer spoils.Unlock()
		f, _ := os.Open("/dev/null")
		spoils.files = append(spoils.files, f)
	}, "more descriptors than before the first connection"),
	"leaves goroutines": closing(func(_ *guest, then func()) {
		then()
		go func() { select {} }()
	}, "more goroutines than before the first connection"),
	"goes on for ever": closing(func(g *guest, then func()) {
		then()
		g.aside(func() { select {} })
	}, "goroutines at work for nobody"),
	leakyMemory: closing(func(_ *guest, then func()) {
		then()
		spoils.Lock()
		defer spoils.Unlock()
		spoils.memory = append(spoils.memory, make([]byte, 1<<20))
	}),
}
