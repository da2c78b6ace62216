package soak

import (
	"slices"
	"time"

	"github.com/stillpool/stillpool/server"
)

// place is an endpoint of the server, and what its connections may do and meet there.
type place struct {
	path    string
	options server.Options
}

// lossy places keep who reads too slowly: so broadcasts may be missing.
func (p *place) lossy() bool { return p.options.Overflow != server.CloseSlow }

// forgets tells of places where what was accepted may make way for what comes later.
func (p *place) forgets() bool {
	return p.options.Overflow == server.DropOldest || p.options.Overflow == server.KeepLatest
}

// lifetimes of what is only to be reached, and so is short.
const (
	idleTime  = 800 * time.Millisecond
	halfTime  = 600 * time.Millisecond
	keepTime  = 300 * time.Millisecond
	pongTime  = 700 * time.Millisecond
	tickEvery = 200 * time.Millisecond
)

// places are all endpoints. The largest message fits everywhere; how much may wait, what happens then, who is
// ticked and what is compressed differ.
var places = []*place{
	{path: "/plain", options: server.Options{Backlog: 512 << 10, SendBuffer: 64 << 10}},
	{path: "/ticked", options: server.Options{Every: tickEvery, Backlog: 256 << 10, SendBuffer: 32 << 10}},
	slow("/refusing", server.Refuse),
	slow("/new-dropped", server.DropNew),
	slow("/old-dropped", server.DropOldest),
	slow("/latest-kept", server.KeepLatest),
	{path: "/deflated", options: server.Options{Every: tickEvery, Compression: server.Compression{Enabled: true, MinSize: 64}}},
	{path: "/context", options: server.Options{Every: tickEvery, Compression: server.Compression{Enabled: true, ContextTakeover: true, WindowBits: 12}}},
	{path: "/working", options: server.Options{Every: tickEvery, SendBuffer: 32 << 10}},
	{path: "/hurried", options: server.Options{IdleTimeout: idleTime, MessageTimeout: halfTime, WriteTimeout: halfTime, Backlog: 8 << 20, SendBuffer: 32 << 10}},
	{path: "/kept", options: server.Options{Keepalive: keepTime, PongTimeout: pongTime}},
}

// slow is a place where little may wait.
func slow(path string, overflow server.Overflow) *place {
	return &place{path: path, options: server.Options{Every: tickEvery / 2, Backlog: 96 << 10, SendBuffer: 16 << 10, Overflow: overflow}}
}

// placeAt is the one of a path, which must be there.
func placeAt(path string) *place {
	return places[slices.IndexFunc(places, func(p *place) bool { return p.path == path })]
}

// number is the place's in labels of broadcasts.
func (p *place) number() uint32 { return uint32(slices.Index(places, p)) }

func (p *place) compresses() bool { return p.options.Compression.Enabled }
