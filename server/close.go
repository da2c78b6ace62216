package server

import (
	"errors"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// This file ends connections. What changes the stage wants the connection's lock held; finish and
// end belong to the holder of the turn, who then never gives it back.

// Cause says who or what ended a connection.
type Cause uint8

// The causes.
const (
	PeerClosed    Cause = iota + 1 // the peer sent a close frame; Code and Reason are its
	PeerGone                       // the stream ended or failed without a close frame; Err says how
	ClosedLocally                  // Conn.CloseWith or Conn.Close
	BadInput                       // the peer broke the protocol or a limit; Err is a *ProtocolError
	TooSlow                        // the peer read too slowly: full backlog or write timeout
	Idle                           // nothing came for Options.IdleTimeout
	Panicked                       // a handler panicked
	ShutDown                       // Server.Shutdown or Server.Close

	// Causes is one more than there are: 0 is none of them.
	Causes = int(iota) + 1
)

// String names the cause.
func (c Cause) String() string {
	names := [...]string{"unknown", "peer closed", "peer gone", "closed locally", "bad input",
		"too slow", "idle", "handler panicked", "server shut down"}
	if int(c) < len(names) {
		return names[c]
	}
	return names[0]
}

// Closing says why a connection ended.
type Closing struct {
	// Cause is who or what ended it.
	Cause Cause
	// Code is what the peer's close frame said if it closed, else what the server's said;
	// CodeNone if that had none, CodeAbnormal if there was no close frame.
	Code Code
	// Reason is the text with the code. From a peer it is valid UTF-8 and otherwise anything.
	Reason string
	// Err is the error behind the cause, or nil.
	Err error
}

// conclude notes why the connection ends. The first cause stays.
func (c *Conn) conclude(why Closing) {
	if x := c.extra(); x.end == nil {
		c.countClosing()
		x.end = &ending{Closing: why}
		c.shaken()
		c.parted()
	}
}

// kill marks the connection dead: nothing more is sent or read. The holder of the turn finishes it.
func (c *Conn) kill(why Closing) {
	if !c.state.has(stDead | stGone) {
		c.conclude(why)
		c.state |= stDead
	}
}

// lose is kill for an error of the socket's, met on the way out. It returns what the caller of a
// send is told.
func (c *Conn) lose(err error) error {
	c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal, Err: err})
	c.nudge()
	return ErrClosed
}

// startClose begins the close handshake from this side.
func (c *Conn) startClose(why Closing) error {
	if c.state.has(stCloseSent | stDead | stGone) {
		return ErrClosed
	}
	c.conclude(why)
	c.sayClose(why.Code, why.Reason)
	return nil
}

// sayClose sends a close frame, behind what is queued. Section 5.5.1: nothing is sent after it.
func (c *Conn) sayClose(code Code, reason string) {
	var buf [maxControl + 2]byte
	held := c.inKernel()
	c.say(appendClose(buf[:0], code, reason), farewell)
	c.state |= stCloseSent
	c.state &^= stTickOwed
	c.resumeReading()
	c.setInterval(0)
	c.beginEnding(c.loop.srv.closeTimeout(), held)
}

// peerClosed takes the peer's close frame and answers it, unless it is an answer itself.
func (c *Conn) peerClosed(w *worker, payload []byte) {
	code, reason, err := parseClose(payload)
	if err != nil {
		c.fail(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state |= stCloseTaken
	if !c.state.has(stCloseSent | stDead) {
		c.conclude(Closing{Cause: PeerClosed, Code: code, Reason: reason})
		c.dropQueued()
		c.sayClose(code, "") // section 5.5.1: "typically echos the status code it received"
	}
	w.stage = c.state
}

// dropQueued drops what waits for a peer that has closed. Section 5.5.1: the answer to a close frame "MAY" wait
// "until its current message is sent". What only the cork keeps goes out first, as far as the kernel takes it. c.mu must be
// held.
func (c *Conn) dropQueued() {
	c.flush()
	if c.out != nil {
		c.cut()
	}
}

// fail ends the connection over what the peer sent (section 7.1.7): it is told why, and nothing
// more of it is processed.
func (c *Conn) fail(w *worker, err error) {
	var wrong *ProtocolError
	errors.As(err, &wrong)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reject(wrong)
	w.stage = c.state
}

// reject is fail for whoever has the lock and not the turn.
func (c *Conn) reject(wrong *ProtocolError) {
	c.loop.stats.badInput.Add(1)
	c.startClose(Closing{Cause: BadInput, Code: wrong.Code, Reason: wrong.Reason, Err: wrong})
	c.lastWords()
}

// lastWords ends the sending side for good: once what is queued is sent, the stream is half closed
// and what still comes is read and dropped, within bounds. Closing at once would make the kernel
// answer unread bytes with a reset, which can overtake and destroy what was said.
func (c *Conn) lastWords() {
	c.state |= stLinger
	c.state &^= stTickOwed
	if c.out == nil {
		c.wordsSaid()
	} else {
		c.beginEnding(c.loop.srv.closeTimeout(), c.inKernel())
	}
}

// wordsSaid runs when nothing waits to be sent any more.
func (c *Conn) wordsSaid() {
	if c.state.has(stLinger) && !c.state.has(stDead|stGone) {
		held := c.inKernel()
		c.closeWrite()
		c.beginEnding(ticksOf(lingerTime), held)
	}
	c.nudge()
}

// behindClose is for a peer that sends on behind its close frame: what of that is still under way
// would turn the end into a reset, so it is read to the end, within bounds.
func (c *Conn) behindClose(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.has(stLinger | stDead) {
		c.lastWords()
	}
	w.stage = c.state
}

// settle ends a connection whose close handshake is complete: both close frames went, and nothing
// unread is left that would turn the end into a reset.
func (c *Conn) settle() {
	const both = stCloseSent | stCloseTaken
	if c.state&both == both && !c.state.has(stReadable|stLinger|stDead) && c.out == nil {
		c.state |= stDead
	}
}

// linger counts what is read after the last words.
func (c *Conn) linger(n int) {
	in := c.ownInbound()
	if in.lingered += n; in.lingered > lingerBytes {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal})
	}
}

// control sends a control frame. These may exceed backlog and budget: each connection by one close frame
// or HTTP answer, as pong sees to its own.
func (c *Conn) control(frame []byte) { c.say(frame, frames) }

// answer sends an answer to the handshake, which is no frame.
func (c *Conn) answer(head []byte) { c.say(head, rest) }

// say sends something that is never dropped, of a kind.
func (c *Conn) say(frame []byte, kind segmentKind) {
	if c.state.has(stCloseSent | stDead | stGone) {
		return
	}
	n := 0
	if c.out == nil && !c.state.has(stCork) {
		var err error
		if n, err = c.send(frame); err != nil && err != netpoll.ErrWouldBlock {
			c.lose(err)
			return
		}
		if n == len(frame) {
			return
		}
	}
	if n > 0 {
		kind = rest
	}
	out := c.ownBacklog()
	before := out.held
	out.add(nil, frame[n:], kind, c.loop.srv.now())
	c.loop.srv.outbound.used.Add(int64(out.held - before))
	if !c.state.has(stCork) {
		c.waitWritable()
	}
}

// pong answers a ping with its own payload (section 5.5.2).
func (c *Conn) pong(payload []byte) {
	var buf [maxControl + 2]byte
	c.mu.Lock()
	defer c.mu.Unlock()
	// Section 5.5.3: pings that came before the last one need no pong. While something waits, only the pong of the
	// last one does, so that a flood of pings takes no memory.
	if c.waits() {
		c.out.ping, c.out.pinged = append(c.out.ping[:0], payload...), true
		return
	}
	c.say(appendFrame(buf[:0], ws.OpPong, payload), pong)
}

// finish takes the connection apart, and tells whether the close event is now to be delivered.
func (c *Conn) finish(w *worker) (deliver bool) {
	c.mu.Lock()
	fd := int(c.fd)
	tell := c.state.has(stAnnounced) && c.ep.opts.OnClose != nil
	c.state |= stGone | stDead
	c.fd = -1
	c.giveBack()
	c.dropBacklog()
	c.countTicks(false)
	c.mu.Unlock()
	c.dropInbound()
	c.dropWindows()
	c.loop.remove(c)
	c.loop.poll.Remove(fd) // fails only when the poller is closed, which forgets everything anyway
	netpoll.Close(fd)
	c.loop.srv.descriptorFreed()
	c.loop.srv.trim.note(c.loop.srv, 1)
	if !tell {
		c.leave()
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state |= stEnding
	return c.takeEnd(w) == taskEnd
}

// takeEnd takes the close event if w may deliver it, and otherwise hands it over. The lock is held.
func (c *Conn) takeEnd(w *worker) task {
	if w.mayClose(c.ep) {
		c.state &^= stEnding
		return taskEnd
	}
	c.handOver(&c.loop.srv.pool.closes, stCloseJob)
	return taskNone
}

// end delivers the close event, the last of all.
func (c *Conn) end(w *worker) {
	c.callClose(w, c.ext.end.Closing)
	c.leave()
}

// leave takes the connection out of all counts.
func (c *Conn) leave() {
	if c.ep != nil {
		c.ep.open.Add(-1)
	}
	c.countEnd()
	c.loop.srv.left()
}
