package server

import (
	"context"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// Conn is a connection to a peer. All its methods may be called from any goroutine, at any time,
// also after the connection is closed: then they answer ErrClosed, for ever. None of them blocks.
//
// A Conn is also all that an idle connection costs in memory, so its fields are few and ordered by
// size; what only a busy one needs is behind in, out and ext, which are nil while it is idle.
type Conn struct {
	loop *loop
	ep   *Endpoint // nil before the upgrade; then never changed

	in  *inbound // kept aside between two reads; belongs to the holder of the turn
	out *backlog // waits for the socket; guarded by mu
	ext *extra   // what few connections have; guarded by mu

	id    uint64
	mu    sync.Mutex // held for moments, never while a handler runs
	state state      // guarded by mu
	fd    int32      // changed only with both mu and the turn, so either of them may use it
	slot  uint32     // in loop.table
	every uint32     // between ticks, in milliseconds; guarded by mu

	// at is when the connection's present stage wants attention: until the upgrade the end of the
	// handshake, then the next tick by its phase, which comes up at tickDue, and once closing the end of
	// the close. Guarded by mu.
	at    wheel.Time
	heard wheel.Time // when bytes last came; guarded by mu
	began wheel.Time // when what is half received (stHalf) did, or what is sent (stSent); guarded by mu
	alive wheel.Time // see keepalive.go; guarded by mu

	deflate deflation // as agreed at the upgrade; then never changed

	port  uint16 // of the client, with ip; changed only before the upgrade
	share uint16 // of the drain's time, in 65,536ths, while a close is scheduled; otherwise 0; guarded by mu
	ip    [16]byte
}

// extra is what few connections have.
type extra struct {
	value any
	sub   *string         // as Endpoint.subprotocol keeps it
	peer  *netip.AddrPort // of the socket, if that is a proxy's
	// windows are of a connection whose compression keeps some; then never changed.
	windows *windows
	end     *ending // why the connection ends, once that is known
}

// ending is how a connection ends.
type ending struct {
	Closing
	pace pace // of the peer, until its end
}

// inbound is what is kept of a connection's input between two reads.
type inbound struct {
	decoder
	rest      []byte // received, not decoded yet
	restTaken int64  // of the inbound budget, for rest
	parked    parked // an event that waits for a worker
	// lingered counts what was read and dropped after the last words.
	lingered int
	// leave ends the context of Authorize, while that runs (stAsking); guarded by Conn.mu.
	leave context.CancelFunc
}

// parked is an event that could not be delivered where it was found.
type parked struct {
	open  *Request  // the open event, or
	asks  *Endpoint // with open: a handshake that this endpoint is to authorize first, or
	msg   Message   // a message, whose bytes are the connection's own
	taken int64     // of the inbound budget
	// deflated: the message is compressed. long: inflating it takes long, and is due first.
	deflated, long bool
}

// state is a set of bits: the stage of a connection, and who has what to do with it.
type state uint32

const (
	// The stages. A connection moves from each to a later one only.
	stOpen       state = 1 << iota // upgraded: frames come
	stAnnounced                    // the open event was delivered
	stCloseSent                    // a close frame went out: nothing is sent any more
	stCloseTaken                   // the peer's close frame came: nothing is read any more
	stLinger                       // the last words are said; what comes is dropped
	stDead                         // to be finished by the next holder of the turn
	stGone                         // finished: no descriptor

	// The turn is the right to read, to decode and to call handlers. One goroutine has it.
	stTurn
	stReadable // there may be something to read
	stHangUp   // the peer sends nothing more: read to the end
	stTickOwed // a tick is due
	stParked   // in.parked waits
	stAsking   // the handshake waits for Authorize, or for its answer
	stEnding   // only the close event is left
	stJob      // is in the queue of a lane of the pool
	stCloseJob // is in the queue of the close events' lane
	stTickJob  // is in the queue of the ticks' lane
	stInflates // is in the queue of the lane that inflates
	stQueued   // is in the loop's queue
	stHalf     // a message or frame is half received
	stCork     // sends gather until the end of the read
	stWriting  // the poller is asked for writability
	stTicks    // its interval counts in loop.grid
	stPinged   // a ping went out, and nothing came since
	stAnswered // what came since is not looked at yet
	stAnswers  // OnMessage runs: what is queued now counts towards the pause of reading
	stPaused   // control frames are read, messages are not, see pause.go
	stSent     // bytes were sent, see progress.go

	// What the connection counts for at the limits of admit.go.
	stTold    // is there only to be told that it can't be
	stPreface // its PROXY header is still to come
	stShaking // its handshake is under way
	stCounted // in Server.addresses
)

func (s state) has(bits state) bool { return s&bits != 0 }

// ID is a number that no other connection of the server has or had.
func (c *Conn) ID() uint64 { return c.id }

// Endpoint is the endpoint that the connection was opened on.
func (c *Conn) Endpoint() *Endpoint { return c.ep }

// RemoteAddr is the client's address and port, also after the close: the peer's or, if that is a proxy
// whose word counts ([Server.TrustedProxies], [ProxyProtocol]), those that it says; a port that it does
// not say is 0. It is the zero AddrPort for a unix socket, and for a client whose address the proxy does not say.
func (c *Conn) RemoteAddr() netip.AddrPort {
	if c.port == 0 && c.ip == [16]byte{} {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(c.ip).Unmap(), c.port)
}

func (c *Conn) setRemote(peer netip.AddrPort) {
	c.ip, c.port = [16]byte{}, 0
	if peer.IsValid() {
		c.ip, c.port = peer.Addr().As16(), peer.Port()
	}
}

// Subprotocol is what was agreed on at the upgrade, or empty.
func (c *Conn) Subprotocol() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext == nil || c.ext.sub == nil {
		return ""
	}
	return *c.ext.sub
}

// Value is what SetValue stored, or nil.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext == nil {
		return nil
	}
	return c.ext.value
}

// SetValue stores something of the caller's with the connection. It is kept as long as the Conn is
// reachable, also after the close.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra().value = v
}

func (c *Conn) extra() *extra {
	if c.ext == nil {
		c.ext = new(extra)
	}
	return c.ext
}

// Send sends a prepared message. It tries the socket at once if nothing waits before it, and
// otherwise queues the message within Options.Backlog; past that, Options.Overflow says what becomes of it.
//
// The error is nil unless the outcome is Refused: ErrClosed, or ErrBacklogFull, after which the
// connection is closed or not as Options.Overflow says.
func (c *Conn) Send(p *Prepared) (Outcome, error) {
	if c.compresses(len(p.payload())) {
		return c.sendPrepared(p)
	}
	return c.sendPlain(p)
}

// Write sends a message. It does not keep data. A text that is not UTF-8 is ErrInvalidUTF8, and a
// kind that is neither Text nor Binary ErrBadKind; otherwise it is as Send.
func (c *Conn) Write(kind Kind, data []byte) (Outcome, error) {
	if err := kind.check(data); err != nil {
		return Refused, err
	}
	return c.writeFrame(ws.OpCode(kind), data, lease{})
}

// Forward sends a message that came from a peer, this one or another, as Write would. It is meant
// for large ones: what the socket does not take at once is not copied but kept as it is. So m.Data must
// not be changed any more. Forwarding a large message after its handler returned is the program's
// mistake, and panics.
func (c *Conn) Forward(m Message) (Outcome, error) {
	if !m.region.holds(m.Data) {
		return c.Write(m.Kind, m.Data)
	}
	m.region.retain()
	defer m.region.release()
	if m.Kind != Text && m.Kind != Binary {
		return Refused, ErrBadKind
	}
	return c.writeFrame(ws.OpCode(m.Kind), m.Data, lease{region: m.region})
}

// WriteText is Write for a string.
func (c *Conn) WriteText(s string) (Outcome, error) {
	return c.Write(Text, []byte(s))
}

// Buffered is how many bytes wait in the process for the peer to read. What the kernel holds is
// not counted: Waiting asks it too.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return 0
	}
	return c.out.bytes()
}

// Waiting is how many bytes wait for a peer, by where they are.
type Waiting struct {
	Process int // in the process: what the kernel has not taken
	Unsent  int // in the kernel, which can't send them yet; 0 for a unix socket
	Unacked int // sent, and not acknowledged; for a unix socket what the peer has not read, and its bookkeeping
}

// Waiting tells what waits for the peer, here and in the kernel, at a system call or two. What the peer's
// own kernel has, nobody here knows. It answers ErrClosed when the connection is closed, and the kernel's
// error if that can't tell.
func (c *Conn) Waiting() (w Waiting, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.has(stDead | stGone) { // its number may be another's by now
		return Waiting{}, ErrClosed
	}
	if c.out != nil {
		w.Process = c.out.bytes()
	}
	w.Unsent, w.Unacked, err = netpoll.SendQueue(int(c.fd))
	return w, err
}

// SetEvery changes the interval of this connection's ticks, in whole milliseconds, from its next
// tick on; 0 ends them. It returns an error if d is out of the bounds of Options.Every. The first tick is
// due within d, at a new phase: connections that are changed in one go are spread over d, as those are that
// open together.
func (c *Conn) SetEvery(d time.Duration) error {
	if err := checkEvery(d); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.has(stCloseSent | stDead | stGone) {
		return ErrClosed
	}
	c.setInterval(uint32(d.Milliseconds()))
	c.state &^= stTickOwed
	if c.state.has(stAnnounced) {
		c.scheduleTicks()
	}
	return nil
}

// CloseWith begins the close handshake (RFC 6455 section 7.1.2): a close frame with the code and
// the reason is sent behind what is queued, further sends answer ErrClosed, and the connection is
// gone when the peer has answered or Server.CloseTimeout has passed.
//
// It answers ErrBadCode for a code that must not be sent, ErrReasonTooLong and ErrInvalidUTF8 for
// such a reason, and ErrClosed if the connection is closed or closing already.
func (c *Conn) CloseWith(code Code, reason string) error {
	if err := checkGoodbye(code, reason); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startClose(Closing{Cause: ClosedLocally, Code: code, Reason: reason})
}

// checkGoodbye tells whether a close frame may say so.
func checkGoodbye(code Code, reason string) error {
	switch {
	case !code.sendable():
		return ErrBadCode
	case len(reason) > maxControl-2:
		return ErrReasonTooLong
	case !utf8.ValidString(reason):
		return ErrInvalidUTF8
	}
	return nil
}

// Close ends the connection at once, without a close handshake: the peer sees 1006 (abnormal
// closure). The close event still comes, from another goroutine or after the present handler.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.has(stDead | stGone) {
		return ErrClosed
	}
	c.kill(Closing{Cause: ClosedLocally, Code: CodeAbnormal})
	c.nudge()
	return nil
}

// token names the connection to its loop's poller. The low bits of the id are its generation: a
// slot is not reused four billion times while an event is under way.
func (c *Conn) token() netpoll.Token {
	return netpoll.Token(c.id<<32>>1 | uint64(c.slot))
}

const slotMask netpoll.Token = 1<<31 - 1
