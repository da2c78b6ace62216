package server

import (
	"io"

	"github.com/stillpool/stillpool/netpoll"
)

// This file is about the turn: the right to read a connection, to decode what came and to call its
// handlers. One goroutine at a time has it, so no two handlers of a connection run at once and a
// handler sees its messages in order. Whoever comes while somebody else has the turn leaves a bit
// behind, and the holder looks at the bits before it gives the turn back.

// task is what the holder of a turn is to do next.
type task uint8

const (
	taskNone    task = iota // nothing: the turn was given back
	taskFinish              // the connection is over
	taskEnd                 // tell so
	taskInflate             // inflate the message that waits
	taskAsk                 // ask about the handshake that waits
	taskParked              // deliver the event that waited for a worker
	taskTick                // the tick that takeTick took
	taskRead                // read what came
)

// event takes what the poller said of c. The loop runs it.
func (c *Conn) event(w *worker, r netpoll.Ready) {
	c.mu.Lock()
	c.ready(w, r)
	t := taskNone
	// So a batch of connections that were quiet before is bounded too, and those that prove to be bulk
	// have the rest of their share in a later one.
	w.brief = w.batchRead >= batchBytes
	if !c.state.has(stQueued) { // a connection that had its share comes behind the others
		t = c.takeTurn(w)
	}
	c.mu.Unlock()
	c.turn(w, t)
}

// bulkEvent is event for a connection that read much in its last turn. In a batch that is long already
// it reads in its turn behind those that had their share.
func (c *Conn) bulkEvent(w *worker, r netpoll.Ready) {
	c.mu.Lock()
	c.ready(w, r)
	t := taskNone
	switch {
	case c.state.has(stQueued):
	case w.batchRead >= batchBytes && !c.state.has(stTurn) && c.readable():
		c.requeue()
	default:
		t = c.takeTurn(w)
	}
	c.mu.Unlock()
	c.turn(w, t)
}

// ready takes note of what the poller said of c. The lock is held.
func (c *Conn) ready(w *worker, r netpoll.Ready) {
	if r&netpoll.Writable != 0 {
		c.flush()
	}
	if r&netpoll.Readable != 0 {
		c.state |= stReadable
		if c.state.has(stPinged) {
			c.answered()
		}
		c.heard = w.now
	}
	if r&netpoll.HangUp != 0 {
		c.state |= stHangUp
		if c.state.has(stAsking) {
			c.clientLeft()
		}
	}
}

// resume goes on with a connection that waited in a queue.
func (c *Conn) resume(w *worker, waited state) {
	c.mu.Lock()
	c.state &^= waited
	t := c.takeTurn(w)
	c.mu.Unlock()
	c.turn(w, t)
}

// takeTurn takes the turn if it is free and there is something that w may do. The lock is held.
func (c *Conn) takeTurn(w *worker) task {
	switch {
	case c.state.has(stEnding):
		return c.takeEnd(w)
	case c.state.has(stTurn | stGone):
		return taskNone
	}
	c.state |= stTurn
	return c.nextTask(w)
}

// nextTask chooses what w does next with the turn that it has, or gives the turn back. What w may
// not do is handed to those who may. The lock is held.
func (c *Conn) nextTask(w *worker) task {
	if c.state.has(stGone) {
		return taskNone // the descriptor was given away; the turn is kept for ever
	}
	c.settle()
	if c.state.has(stAsking) && c.state.has(stLinger|stDead) {
		c.state &^= stParked | stAsking // it was refused while it waited, and can end without a worker
		c.loop.srv.pool.questions.forget(c)
	}
	if c.state.has(stDead) && (!c.state.has(stParked) || c.loop.srv.cutOff()) {
		return taskFinish
	}
	if c.state.has(stParked) {
		if t := c.parkedTask(w); t != taskNone {
			return t
		}
	}
	if c.state.has(stTickOwed) && !c.state.has(stCloseSent|stDead) {
		if w.mayTick(c.ep) {
			c.takeTick(w)
			return taskTick
		}
		c.handOver(&c.loop.srv.pool.ticks, stTickJob)
	}
	if c.readable() {
		switch {
		case !w.mayRead():
			c.toQueue()
		case w.role != onLoop || !c.readsOnPool(w):
			c.state &^= stReadable
			w.stage = c.state
			return taskRead
		}
	}
	c.state &^= stTurn
	return taskNone
}

// parkedTask is what w may do of the event that waits. Otherwise it is handed to those who may.
func (c *Conn) parkedTask(w *worker) task {
	switch {
	case c.in.parked.long && w.role == onInflates:
		return taskInflate
	case c.in.parked.long:
		c.handOver(&c.loop.srv.pool.inflates, stInflates)
	case c.in.parked.asks != nil && w.role == onQuestions:
		return taskAsk
	case c.in.parked.asks != nil:
		c.handOver(&c.loop.srv.pool.questions, stJob)
	case w.mayHandle(c.ep):
		return taskParked
	case w.role != onLoop && !c.ep.slow.is(w.now):
		c.toQueue() // the loop may
	default:
		c.handOver(&c.loop.srv.pool.handlers, stJob)
	}
	return taskNone
}

// readsOnPool leaves it to the pool to read, and reports that it did, if messages are for the pool to handle.
// Then nothing is copied. It does so only where handlers have proved quick there, as after a wrong verdict:
// control frames must not wait for handlers that take long. c.mu must be held.
func (c *Conn) readsOnPool(w *worker) bool {
	if c.ep == nil || c.ep.opts.OnMessage == nil || c.state&(stOpen|stCloseSent|stCloseTaken|stLinger) != stOpen {
		return false
	}
	if !c.ep.slow.is(w.now) || !c.ep.slow.quick() {
		return false
	}
	if !c.state.has(stJob) {
		if !c.loop.srv.pool.handlers.trySubmit(c, stJob) {
			return false
		}
		c.state |= stJob
	}
	return true
}

// readable tells whether there is something to read and nothing against it.
func (c *Conn) readable() bool {
	return c.state.has(stReadable) && !c.state.has(stParked|stDead) && !c.congested() && !c.withheld()
}

// nudge sees to it that somebody does what has become to be done. The lock is held.
func (c *Conn) nudge() {
	if !c.state.has(stTurn | stGone) {
		c.toQueue()
	}
}

// toQueue puts c behind the others that wait for the loop. The lock is held.
func (c *Conn) toQueue() {
	if !c.state.has(stQueued) {
		c.state |= stQueued
		c.loop.enqueue(c)
	}
}

// requeue puts c behind the others that read much and have more to read. The lock is held.
func (c *Conn) requeue() {
	if !c.state.has(stQueued) {
		c.state |= stQueued
		c.loop.enqueueBulk(c)
	}
}

// letGo gives the turn back outside of turn, and has the loop look at what there is to do. The lock
// is held.
func (c *Conn) letGo() {
	c.state &^= stTurn
	c.toQueue()
}

// handOver gives c to a lane of the pool, once. The lock is held.
func (c *Conn) handOver(l *lane, mark state) {
	if !c.state.has(mark) {
		c.state |= mark
		l.submit(c, mark, mark == stInflates && len(c.in.parked.msg.Data) > largeInflate)
	}
}

// turn does task after task until the turn is given back. What one connection may have read in a
// turn is bounded: a flood queues again behind the others.
func (c *Conn) turn(w *worker, t task) {
	w.yield = false
	left, got := turnBytes, 0
	if w.brief {
		left, w.brief = bulkFrom, false
	}
	for t != taskNone {
		more := false
		switch t {
		case taskFinish:
			if !c.finish(w) {
				return
			}
			t = taskEnd
			continue
		case taskEnd:
			c.end(w)
			return
		case taskInflate:
			c.inflateParked(w)
		case taskAsk:
			c.authorize(w)
		case taskParked:
			c.unpark(w)
		case taskTick:
			c.tick(w)
		case taskRead:
			var n int
			n, more = c.read(w, left)
			left -= n
			got += n
			w.batchRead += n
		}
		c.mu.Lock()
		if more {
			c.state |= stReadable
		}
		if w.yield {
			c.state |= stReadable
			left, w.yield = 0, false
		}
		if left <= 0 && c.readable() {
			c.state &^= stTurn
			c.requeue()
			t = taskNone
		} else {
			t = c.nextTask(w)
		}
		c.mu.Unlock()
	}
	if got >= bulkFrom {
		c.loop.markBulk(c)
	}
}

// read takes one bufferful from the socket, at most what is left of the turn, and tells how much it was,
// and whether there may be more: a short read has emptied the socket, unless the end of the stream is
// there too and would give no event of its own.
func (c *Conn) read(w *worker, left int) (n int, more bool) {
	if rest := c.takeRest(); len(rest) > 0 {
		c.received(w, rest, true)
		return len(rest), true
	}
	buf := w.buf
	switch {
	case w.stage.has(stPaused):
		buf = buf[:pausedRead]
	case left > 0 && left < len(buf):
		buf = buf[:left]
	}
	n, err := c.recv(buf)
	if err == netpoll.ErrWouldBlock {
		return 0, false
	}
	if err != nil {
		c.ended(err)
		return 0, false
	}
	c.loop.stats.bytesIn.Add(uint64(n))
	c.received(w, buf[:n], false)
	return n, n == len(buf) || w.stage.has(stHangUp)
}

// ended takes the end of the stream, orderly or not.
func (c *Conn) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == io.EOF {
		err = nil
	}
	if err == nil && c.state&(stCloseTaken|stLinger) == stCloseTaken && c.out != nil && !c.state.has(stDead) {
		return // it may close its side after its close frame, and still read what was sent before ours
	}
	c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal, Err: err})
}

// received gives bytes to the stage that the connection is in. It may overwrite them, and keep them if
// they are the connection's own.
func (c *Conn) received(w *worker, p []byte, own bool) {
	switch {
	case w.stage.has(stLinger | stCloseTaken):
		// Section 5.5.1: after a close frame the peer must not send, and nothing is processed.
		c.linger(len(p))
	case w.stage.has(stOpen):
		c.frames(w, p, own)
	default:
		c.handshake(w, p)
	}
}

// goexited ends a connection whose handler ended its goroutine with runtime.Goexit, turn and all.
// What came behind the message in hand is lost, perhaps with half a frame or the peer's close frame: what
// comes now is understood no more, so these are the last words.
func (c *Conn) goexited(w *worker) {
	if c == nil {
		return
	}
	if w.dec.budget != nil {
		w.dec.release()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.state.has(stTurn):
	case c.state.has(stGone):
		c.leave() // it was the close handler
	case !c.state.has(stOpen):
		c.state &^= stAsking // it was Authorize
		c.refuse(errFailed)
		c.letGo()
	default:
		c.startClose(Closing{Cause: Panicked, Code: CodeInternal, Reason: "internal error"})
		c.state &^= stCork
		c.flush()
		if !c.state.has(stLinger | stDead) {
			c.lastWords()
		}
		c.letGo()
	}
}
