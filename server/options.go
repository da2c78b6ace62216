package server

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// Defaults, each with the field that changes it. "Put a limit on everything": no field of Options
// or Server means "without bound" when it is left zero, but for those that say so.
const (
	defaultMaxHeader        = 16 << 10 // Server.MaxHeaderBytes: as by Node
	defaultHandshakeTimeout = 10 * time.Second
	defaultCloseTimeout     = 5 * time.Second
	defaultBodyTimeout      = time.Minute
	defaultWorkers          = 1024
	defaultInboundBudget    = 256 << 20
	defaultOutboundBudget   = 256 << 20
	defaultWindowBudget     = 256 << 20

	defaultUserTimeout = 30 * time.Second

	// defaultHandshakes are more than come back at once in a storm, when all are accepted before the head of
	// the first is there. What their heads may hold is bounded by defaultInboundBudget.
	defaultHandshakes = 65536 // Server.MaxHandshakes
	defaultIPv4Prefix = 32
	defaultIPv6Prefix = 64 // what an IPv6 client has to itself (RFC 6177 section 2)

	defaultMaxMessage     = 1 << 20
	defaultMessageTimeout = time.Minute
	defaultWriteTimeout   = 10 * time.Second
	defaultBacklog        = 1 << 20
	// defaultPauseReadingAt kept the memory of 500 peers that send and never read at a tenth, and cost
	// streams of long messages nothing: the kernel holds eight times as much of them (UnsentLowWater).
	defaultPauseReadingAt = 16 << 10
	// defaultUnsentLowWater is what keeps a peer busy until the loop comes round: a millisecond's worth at
	// a gigabit. Without it the kernel takes 4 MiB for one that does not read.
	defaultUnsentLowWater = 128 << 10
	// defaultKeepalive is less than the minute after which proxies and address translators forget a
	// silent connection, pings at the latest then included. A million silent connections are thereby
	// pinged about 23,000 times a second; those that are ticked are not.
	defaultKeepalive   = 50 * time.Second
	defaultPongTimeout = 20 * time.Second
)

// Bounds that are not worth a field.
const (
	// turnBytes is what one connection may have read in a turn before the others are served, and
	// turnFrames how many frames it may have handled of that: most of what frames cost comes with
	// each, however short.
	turnBytes  = readBuffer
	turnFrames = 128
	// bulkFrom is how much a connection reads in a turn to be served behind the others of the next batch.
	// batchBytes is how much a batch reads before such connections wait for the next, and the turns of
	// the others end at bulkFrom. To echo 1 MiB takes 0.3 ms. With 256 KiB, 20 connections with messages
	// of 60 kB had 0.92 of the throughput.
	bulkFrom   = 16 << 10
	batchBytes = 1 << 20
	// readBuffer is what one read asks for, and corkBytes what answers may gather before they are
	// written: together they stay in a core's second-level cache.
	readBuffer = 64 << 10
	corkBytes  = 32 << 10
	// lingerBytes and lingerTime bound how long a connection is read after its last words, so that
	// unread bytes don't make the kernel send a reset that swallows them (RFC 9112 section 9.6).
	lingerBytes = 256 << 10
	lingerTime  = 2 * time.Second
	// httpIdleTimeout is how long a connection that Server.Handler has may stay without a request, and
	// bodyProgress what a request's body must bring in each Server.BodyTimeout.
	httpIdleTimeout = time.Minute
	bodyProgress    = 4 << 10
	// messageGrace is after how long, in milliseconds, a late message is looked at again that was not
	// read as far as it came.
	messageGrace = 1000
	// shareFrom is the length from which a prepared frame is queued by reference.
	shareFrom = 512
	// joinTo is the length up to which queued frames are gathered in one buffer.
	joinTo = 16 << 10
	// tickGrain is the grid, in milliseconds, that the phases of ticks lie on; see grid.go for wider ones.
	tickGrain = 5
	// minEvery is the shortest interval of ticks: the width of a place in the wheel.
	minEvery = time.Millisecond
	// maxMaxMessage leaves room to compute what a message may become on the wire and the power of two
	// above it, in an int of 32 bits too: there it is 512 MiB.
	maxMaxMessage = min(1<<40, math.MaxInt/4)
	// maxRate keeps the time between two handshakes well above the nanosecond that it is reckoned in.
	maxRate, maxBurst = 1_000_000, 1 << 30
	// maxTimer is the longest interval or timeout that the wheel can hold.
	maxTimer = 20 * 24 * time.Hour
)

// Options are the handlers of an endpoint and the limits that they run under. The zero value takes
// messages and ignores them.
//
// No two handlers of one connection run at the same time, and a connection's messages come in
// order. OnOpen is the first event of a connection and OnClose its last.
//
// Handlers run where the event was found, on an event loop. One that takes long is noticed, its
// loop is served by another goroutine, and for a while the endpoint's handlers run on a pool of
// Server.Workers goroutines. So a handler may block, at the cost of its own connection and, until it
// is noticed, of some milliseconds for others; then up to Server.Workers of them at once cost nobody
// else anything. A handler that panics, or ends its goroutine with runtime.Goexit, is logged and counted
// ([Stats].Panics), and its connection closed with 1011. It may call anything of this package, about its own
// connection or others.
type Options struct {
	// Authorize, if there is one, decides last about a handshake that is right in all else. Without an error the client
	// is accepted, with what the Grant has for it. A *Rejection is an answer of its own choice; any other error is
	// answered with 403 and nothing of its text.
	//
	// It may take as long as is left of Server.HandshakeTimeout; then, or when the server shuts down, its context ends,
	// the client gets 503, and its result is dropped. Its context ends too when the client leaves, and then the
	// connection has no OnOpen. It runs on the pool that Server.Workers bounds: one that heeds its context frees its
	// place at once. For a request that net/http has read it runs on that request's goroutine, for as long as the
	// request's context says; on the server's own listener also within Server.HandshakeTimeout. A panic is logged, and the client gets 500.
	Authorize func(r *http.Request) (Grant, error)
	// Plain serves requests at the endpoint's path whose Upgrade header does not name websocket, so that a page
	// and a socket may share a path. They may be of any method, and ask for another protocol. It runs as
	// Server.Handler does and, on an endpoint that is mounted, as any handler there. Nil answers with 426, and
	// another method than GET with 405.
	Plain http.Handler
	// OnOpen is called when a connection is open. It may send. The request is valid until it
	// returns.
	OnOpen func(c *Conn, r *Request)
	// OnMessage is called for each message. The bytes of the message are valid until it returns.
	OnMessage func(c *Conn, m Message)
	// OnTick is called each interval, at a phase of the connection's own: connections that
	// opened together are not ticked together. A tick that is still undone when the next one is
	// due is skipped and counted. Phases lie on a grid of 5 ms. Where the interval is 2 s or longer and
	// ticks are few, the grid is wider, up to a 200th of the interval, so that one wake-up of the event
	// loop serves some tens of ticks. When connections come or go the grid may change; then a tick moves
	// within its point of the grid, and the average interval stays the same.
	OnTick func(c *Conn)
	// OnClose is called once for each connection that had an OnOpen event, as its last event. By
	// then every send answers ErrClosed.
	OnClose func(c *Conn, why Closing)

	// Every is the interval of ticks, in whole milliseconds; 0 is none. Conn.SetEvery changes it
	// for one connection.
	Every time.Duration

	// MaxMessage bounds a message from the peer, in bytes, over all its fragments; past it the
	// connection is closed with 1009. 0 is 1 MiB.
	MaxMessage int
	// MessageTimeout closes a connection with 1008 when a message or frame is still not whole so long
	// after it began: half of one takes of Server.InboundBudget. 0 is 1 min; negative is never.
	MessageTimeout time.Duration
	// IdleTimeout closes a connection with 1001 when the peer said nothing of its own accord for so
	// long: no message, no ping, no pong that the server did not ask for. Answers to the pings of
	// Keepalive do not count, so it ends who is there and silent. 0 is never.
	IdleTimeout time.Duration
	// Keepalive bounds how long a peer may give no sign of life before it is sent a ping, which comes up
	// to a quarter sooner, at random. A sign is whatever came from the peer, and over TCP also that its
	// kernel acknowledged something, as a tick: so only those are pinged that say nothing and are told
	// nothing. While something waits in the process, WriteTimeout looks after the peer instead. 0 is 50 s;
	// negative is never.
	Keepalive time.Duration
	// PongTimeout ends a connection, without a close frame and with ErrPongTimeout, when nothing at all
	// came for so long after a ping. So a peer that is cut off while nothing is under way is gone within
	// Keepalive and PongTimeout, and else within Server.UserTimeout. 0 is 20 s.
	PongTimeout time.Duration
	// WriteTimeout ends a connection when something waits for it in the process and its peer made no progress for
	// this time: took less than 4 KiB. Nothing waits here before the kernel has what it takes: UnsentLowWater and
	// SendBuffer bound that. A peer that reads slowly and without a pause stays. 0 is 10 s; negative is never.
	WriteTimeout time.Duration
	// MaxQueueAge ends a connection when what waits longest in the process has waited for this time, whatever
	// progress its peer makes. It bounds a trickle, and how old what a peer gets may be. 0 is never.
	MaxQueueAge time.Duration
	// UnsentLowWater bounds the bytes that the kernel takes for a peer and can't send yet, because the
	// peer's own buffers are full or the network is slow (TCP_NOTSENT_LOWAT): so what waits, waits here,
	// where Backlog counts it and Overflow has its say. The kernel goes past it by a packet or two, of up to
	// 64 KiB each. Too little of it makes for more, shorter writes of long messages. 0 is 128 KiB;
	// negative is none, and then the kernel takes megabytes. Unix sockets have no such bound.
	UnsentLowWater int
	// SendBuffer bounds all that the kernel holds for a peer, sent and not acknowledged or not sent, in bytes
	// (SO_SNDBUF); the kernel doubles it, to make up for its own bookkeeping. It bounds how fast a far away peer can be sent
	// to, which UnsentLowWater does not. 0 leaves it to the kernel, which tunes it up to megabytes.
	SendBuffer int
	// Backlog bounds what waits for one connection in the process, in bytes, but for one message
	// of any size that is taken while nothing waits. 0 is 1 MiB. Where Overflow is CloseSlow or Refuse,
	// reading pauses as for PauseReadingAt while more than half of it waits, whatever sent it: so answers
	// that another goroutine sends find room.
	Backlog int
	// PauseReadingAt is a number of bytes. When more of what the connection's own OnMessage sent waits in
	// the process, the connection's messages are not read until half of it is left. So a peer that does
	// not read its answers gets no more of them. Only what was queued on this connection while its
	// OnMessage ran counts, and not what ticks, broadcasts and other goroutines send before or after.
	// While reading is paused, control frames are read up to the next message, and IdleTimeout does not
	// run. Half of Backlog bounds it. 0 is 16 KiB; negative is never.
	PauseReadingAt int
	// Overflow says what a full backlog does. The zero value closes the connection.
	Overflow Overflow

	// Origins are further origins whose pages may connect, beside the server's own (the origin
	// whose host and port are those of the Host header, or that a trusted proxy was asked for). Requests without an Origin header are
	// allowed; browsers always send one. A pattern is scheme://host[:port], where the host may
	// begin with "*." for any subdomain and the port may be "*" for any; the same without a scheme,
	// for both http and https; the origin of an app or an extension, as file://, app://. or
	// chrome-extension://id, which is matched as it is; "null" for pages without an origin; or "*" for all.
	// The schemes ws and wss stand for http and https, in patterns and in origins.
	Origins []string
	// Subprotocols are what the endpoint speaks, best first. The best one that the client offers
	// is agreed on; with none in common, none is. Grant.Subprotocol replaces the choice.
	Subprotocols []string

	// Compression says whether and how messages are compressed. The zero value is not at all.
	Compression Compression
}

// Compression is an endpoint's side of permessage-deflate (RFC 7692).
type Compression struct {
	// Enabled agrees to the extension where the client offers it.
	Enabled bool
	// MinSize is the length in bytes from which a message is compressed. 0 is every message that
	// becomes shorter by it.
	MinSize int
	// ContextTakeover lets a message refer to those before it, which makes small ones much smaller.
	// It costs a connection a window each way, also while it is idle: 2 to the power of WindowBits
	// bytes for what the client says, and as much but 4 KiB at most for what the server says, of
	// Server.WindowBudget. Without it, or when that budget is spent, an idle connection keeps nothing.
	ContextTakeover bool
	// WindowBits bounds the windows: 8 to 15, for 256 B to 32 KiB. 0 is 15. A client may ask for
	// less, and one that can't bound its own has 15.
	WindowBits int
	// Level is what compressing may cost: 1, the fastest, to 9. 0 is 1. The library has one level only
	// for windows below 32 KiB, so there it makes no difference.
	Level int
}

// Bound is the most memory, in bytes, that one connection can make the server hold, whatever its peer
// does: what it sent, what waits for it, and its windows. It holds while the program sends no message
// longer than Backlog. What the kernel holds comes beside it (UnsentLowWater, SendBuffer), and what all connections
// hold together is bounded by Server.InboundBudget, OutboundBudget and WindowBudget.
func (o Options) Bound() int64 {
	o, _, err := o.withDefaults()
	if err != nil {
		return 0 // Server.Handle would not have it
	}
	const connection = 1 << 10 // the record, what is kept of the stream, and a control frame or two
	n := connection + int64(o.MaxMessage) + 2*readBuffer + int64(o.Backlog)
	if o.Overflow.forgets() {
		n += int64(o.Backlog) // the newest message is taken beside the one that has begun
	}
	if c := o.Compression; c.Enabled {
		n += mostOnWire(int64(o.MaxMessage), true) + chargeStep // beside what it inflates to
		if c.ContextTakeover {
			n += deflation{out: uint8(c.WindowBits), in: maxWindowBits, keepOut: true, keepIn: true}.cost()
		}
	}
	return n
}

// Check tells what is wrong with o, and what Server.Handle would panic with: limits that are
// negative or out of bounds, malformed patterns and subprotocols. It is for options that come from
// outside the program.
func (o Options) Check() error {
	_, _, err := o.withDefaults()
	return err
}

func (c *Compression) check() error {
	c.WindowBits, c.Level = orDefault(c.WindowBits, maxWindowBits), orDefault(c.Level, 1)
	switch {
	case c.MinSize < 0:
		return fmt.Errorf("server: negative Compression.MinSize")
	case c.WindowBits < minWindowBits || c.WindowBits > maxWindowBits:
		return fmt.Errorf("server: Compression.WindowBits of %d is not between %d and %d", c.WindowBits, minWindowBits, maxWindowBits)
	case c.Level < 1 || c.Level > 9:
		return fmt.Errorf("server: Compression.Level of %d is not between 1 and 9", c.Level)
	}
	return nil
}

// withDefaults checks o and fills in what was left zero. What it finds wrong is the programmer's.
func (o Options) withDefaults() (Options, []originPattern, error) {
	o.MaxMessage = orDefault(o.MaxMessage, defaultMaxMessage)
	o.MessageTimeout = orDefault(o.MessageTimeout, defaultMessageTimeout)
	o.WriteTimeout = orDefault(o.WriteTimeout, defaultWriteTimeout)
	o.Backlog = orDefault(o.Backlog, defaultBacklog)
	o.PauseReadingAt = orDefault(o.PauseReadingAt, defaultPauseReadingAt)
	o.UnsentLowWater = orDefault(o.UnsentLowWater, defaultUnsentLowWater)
	o.Keepalive = orDefault(o.Keepalive, defaultKeepalive)
	o.PongTimeout = orDefault(o.PongTimeout, defaultPongTimeout)
	if o.MaxMessage < 0 || o.Backlog < 0 || o.SendBuffer < 0 || o.Every < 0 || o.MaxQueueAge < 0 || o.IdleTimeout < 0 || o.PongTimeout < 0 {
		return o, nil, fmt.Errorf("server: negative limit in Options")
	}
	if int64(o.MaxMessage) > maxMaxMessage {
		return o, nil, fmt.Errorf("server: MaxMessage of more than %d bytes", int64(maxMaxMessage))
	}
	if o.Overflow >= overflows {
		return o, nil, fmt.Errorf("server: Overflow of %d is none", o.Overflow)
	}
	if err := checkEvery(o.Every); err != nil {
		return o, nil, err
	}
	if err := o.Compression.check(); err != nil {
		return o, nil, err
	}
	if max(o.IdleTimeout, o.WriteTimeout, o.MaxQueueAge, o.MessageTimeout, o.Keepalive, o.PongTimeout) > maxTimer {
		return o, nil, fmt.Errorf("server: timeout longer than %v", maxTimer)
	}
	for _, p := range o.Subprotocols {
		if !isToken([]byte(p)) {
			return o, nil, fmt.Errorf("server: subprotocol %q is not a token (RFC 6455 section 4.1)", p)
		}
	}
	patterns := make([]originPattern, len(o.Origins))
	for i, s := range o.Origins {
		var err error
		if patterns[i], err = parseOriginPattern(s); err != nil {
			return o, nil, err
		}
	}
	return o, patterns, nil
}
