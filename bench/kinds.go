package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// kind is a way to be hostile, or for newcomers not to be. It is a script: what to send, in moves.
type kind struct {
	name  string
	about string
	// next is asked for a move when the connection is there, and again each time that a move is
	// done. nth counts from 0.
	next func(c *crowd, v *visitor, nth int) move
	// deaf kinds don't read once they are upgraded.
	deaf bool
	// heard takes what the server says, but for close frames; nil is for who doesn't care.
	heard func(c *crowd, v *visitor, p piece) error
}

// move is what a visitor does next. The zero move is nothing, until the server ends the connection.
type move struct {
	send  []byte        // as fast as the socket takes it; it is not written to
	slow  bool          // or a byte each CrowdOptions.Drip
	pause time.Duration // before it
	await bool          // when it is sent, the answer to the upgrade must come before the next move
	leave bool          // end the connection with a reset
}

// offers is the extension that a bomb needs. Servers that have no contexts agree to this form, too.
const offers = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// hostileKinds are all kinds that an attack knows, in the order of their stage.
var hostileKinds = []*kind{
	{name: "half-handshake", about: "a request fed a byte at a time and never finished", next: halfHandshake},
	{name: "half-header", about: "1 to 13 bytes of a frame's header, and never the rest", next: upgraded(halfHeader)},
	{name: "half-payload", about: "a message of 1 MiB fed a byte at a time", next: upgraded(halfPayload)},
	{name: "half-bulk", about: "a message of 1 MiB but for its last byte", next: upgraded(halfBulk)},
	{name: "never-reads", about: "messages to be echoed, and no echo is read", next: upgraded(send(messages)), deaf: true},
	{name: "bulk-never-reads", about: "60 kB to be echoed every 300 ms, and no echo is read", next: upgraded(bulk), deaf: true},
	{name: "ping-flood", about: "pings as fast as the socket takes them", next: upgraded(send(pings))},
	{name: "tiny-fragments", about: "messages in fragments of a byte or none, as fast as the socket takes them", next: upgraded(tinyFragments)},
	{name: "reset-flood", about: "connect, upgrade or half of it, reset, and again", next: resetFlood},
	{name: "bomb", about: "compressed messages that inflate to a thousand times their size", next: upgradedOffering(bombs)},
	{name: "close-flood", about: "messages behind a close frame", next: upgraded(closeFlood)},
}

// KindNames are the names of all hostile kinds.
func KindNames() (names []string) {
	for _, k := range hostileKinds {
		names = append(names, k.name)
	}
	return names
}

// KindHelp describes all hostile kinds, one a line.
func KindHelp() string {
	var b strings.Builder
	for _, k := range hostileKinds {
		fmt.Fprintf(&b, "  %-16s %s\n", k.name, k.about)
	}
	return b.String()
}

func kindNamed(name string) (*kind, error) {
	i := slices.Index(KindNames(), name)
	if i < 0 {
		return nil, fmt.Errorf("bench: no hostile kind is called %q (there are %s)", name, strings.Join(KindNames(), ", "))
	}
	return hostileKinds[i], nil
}

// script is the part of a kind that comes after the upgrade.
type script func(v *visitor, nth int) move

func upgraded(then script) func(*crowd, *visitor, int) move {
	return func(c *crowd, v *visitor, nth int) move {
		if nth == 0 {
			v.upgrade = c.plain
			return move{send: c.plain.request(v.index), await: true}
		}
		return then(v, nth-1)
	}
}

func upgradedOffering(then script) func(*crowd, *visitor, int) move {
	return func(c *crowd, v *visitor, nth int) move {
		if nth == 0 {
			v.upgrade = c.offering
			return move{send: c.offering.request(v.index), await: true}
		}
		return then(v, nth-1)
	}
}

// send sends the same again and again.
func send(what func() []byte) script {
	return func(*visitor, int) move { return move{send: what()} }
}

// bulkPause is the time between two messages of bulk-never-reads, as long as the socket takes them.
const bulkPause = 300 * time.Millisecond

func bulk(_ *visitor, nth int) move {
	if nth == 0 {
		return move{send: bulkFrame()}
	}
	return move{send: bulkFrame(), pause: bulkPause}
}

func halfHandshake(c *crowd, v *visitor, nth int) move {
	if nth == 0 {
		request := c.plain.request(v.index)
		return move{send: request[:len(request)-len("\r\n")], slow: true}
	}
	return move{send: endlessLine(), slow: true}
}

func halfHeader(v *visitor, nth int) move {
	if nth == 0 {
		return move{send: largeFrame()[:1+v.number%(largeHeader-1)]}
	}
	return move{}
}

func halfPayload(_ *visitor, nth int) move {
	switch nth {
	case 0:
		return move{send: largeFrame()[:largeHeader]}
	case 1:
		return move{send: largeFrame()[largeHeader : len(largeFrame())-1], slow: true}
	}
	return move{}
}

func halfBulk(_ *visitor, nth int) move {
	if nth == 0 {
		return move{send: largeFrame()[:len(largeFrame())-1]}
	}
	return move{}
}

// tinyFragments has two ways: messages that end, and one of nothing that never does.
func tinyFragments(v *visitor, nth int) move {
	switch {
	case v.number%2 == 0:
		return move{send: oneByOne()}
	case nth == 0:
		return move{send: firstEmpty()}
	}
	return move{send: moreEmpty()}
}

// resetFlood has three ways: to leave at once, after half a request, or after the upgrade.
func resetFlood(c *crowd, v *visitor, nth int) move {
	way := v.number % 3
	if way == 0 || nth > 0 {
		return move{leave: true}
	}
	m := upgraded(nil)(c, v, nth)
	if way == 1 {
		return move{send: m.send[:len(m.send)/2]}
	}
	return m
}

// bombs has two ways: beyond any limit, and below what is usual.
func bombs(v *visitor, _ int) move {
	switch {
	case !v.agreed:
		return move{}
	case v.number%2 == 0:
		return move{send: bomb()}
	}
	return move{send: smallBomb()}
}

func closeFlood(_ *visitor, nth int) move {
	if nth == 0 {
		return move{send: closeFrame()}
	}
	return move{send: messages()}
}
