package server

import (
	"syscall"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// This file decides whether a peer makes progress with what is queued for it. The write timeout, the close
// timeout and Shutdown go by it.
//
// A peer makes progress when it takes 4 KiB, or all that is left, within a timeout. What it took is what its kernel
// acknowledged or, on a unix socket, what it read. One byte is no progress: a peer that reads one byte in each
// timeout could hold up a Shutdown for days.
//
// The kernel is not asked when bytes go out. When the timer fires, what it holds now tells what it got rid of.

const (
	progressBytes = 4 << 10
	// looksPerTimeout bounds by how much later than its timeout a peer is given up: a quarter.
	looksPerTimeout = 4
)

// pace is how a peer gets on.
type pace struct {
	since wheel.Time // when it last had made progress
	held  uint32     // bytes that the kernel held for it then, and took since
}

// moved reports whether the peer made progress, and then begins anew. held is what the kernel holds now. all:
// nothing is left but that.
func (p *pace) moved(now wheel.Time, held int, all bool) bool {
	took := int(p.held) - held
	if took < progressBytes && !(all && held == 0 && p.held > 0) {
		return false
	}
	*p = pace{now, uint32(held)}
	return true
}

// over reports whether the peer made no progress for a timeout.
func (p *pace) over(now, timeout wheel.Time) bool { return !now.Before(p.since + timeout) }

// next returns when to look again.
func (p *pace) next(now, timeout wheel.Time) wheel.Time {
	at := now + max(timeout/looksPerTimeout, 1)
	if last := p.since + timeout; last.Before(at) {
		return last
	}
	return at
}

// beginPace begins to follow the peer, because something waits for it. c.mu must be held.
func (c *Conn) beginPace() {
	now := c.loop.srv.now()
	c.out.pace = pace{now, uint32(c.inKernel())}
	c.out.look = c.out.pace.next(now, max(c.writeTimeout(), 1))
}

// checkPace ends a connection whose peer made no progress for the write timeout. c.mu must be held.
func (c *Conn) checkPace(now wheel.Time) {
	timeout := c.writeTimeout()
	if !c.out.pace.moved(now, c.inKernel(), false) && c.out.pace.over(now, timeout) {
		c.noteCutShort()
		c.kill(Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrWriteTimeout})
		return
	}
	c.out.look = c.out.pace.next(now, timeout)
}

// noteTook counts bytes that the kernel took of what waited. c.mu must be held.
func (c *Conn) noteTook(n int) {
	c.out.pace.held += uint32(n)
	if c.concluded() {
		c.ext.end.pace.held += uint32(n)
	}
}

// beginEnding gives the peer a timeout to take what waits, and then to answer. held is what the kernel holds for it
// beside the last bytes, so that a peer that only has these to take gets no more time for them. c.mu must be held.
func (c *Conn) beginEnding(timeout wheel.Time, held int) {
	now := c.loop.srv.now()
	end := c.ext.end
	end.pace = pace{now, uint32(held)}
	c.at = end.pace.next(now, timeout)
	c.placeSooner()
}

// checkEnding ends a connection whose peer made no progress for as long as its stage allows, or had that time to
// answer the last that was sent. c.mu must be held.
func (c *Conn) checkEnding(now wheel.Time) {
	timeout, end := c.endingTimeout(), c.ext.end
	if !end.pace.moved(now, c.inKernel(), c.out == nil) && end.pace.over(now, timeout) {
		c.endingExpired()
		return
	}
	c.at = end.pace.next(now, timeout)
}

func (c *Conn) endingTimeout() wheel.Time {
	if c.state.has(stLinger) && c.out == nil {
		return ticksOf(lingerTime)
	}
	return c.loop.srv.closeTimeout()
}

// endingExpired ends a connection, and notes whether its peer took everything. The cause stays why the close frame
// was sent. c.mu must be held.
func (c *Conn) endingExpired() {
	end := c.ext.end
	if c.out != nil || c.unsent() {
		c.noteCutShort()
		if end.Err == nil {
			end.Err = ErrWriteTimeout
		}
	} else if end.Err == nil && !c.state.has(stCloseTaken|stLinger) {
		end.Err = ErrCloseTimeout
	}
	c.state |= stDead
}

// noteCutShort counts, for Shutdown, a connection that ends before its peer has taken what waits. c.mu must be
// held.
func (c *Conn) noteCutShort() {
	if c.state.has(stOpen) && c.loop.srv.Draining() {
		c.loop.srv.cutShort.Add(1)
	}
}

// noteSent has the kernel asked after the user timeout whether the peer acknowledged anything. The first bytes
// after such a look set the timer; those behind them don't touch it. While something is half received, c.began is
// taken, and the peer has just been heard. c.mu must be held.
func (c *Conn) noteSent() {
	if c.state.has(stSent|stHalf) || c.loop.srv.userTimeout() == 0 {
		return
	}
	c.state |= stSent
	c.began = c.loop.srv.now()
	c.placeSooner()
}

// awaitsAck reports whether bytes were sent that the kernel was not asked about yet. c.mu must be held.
func (c *Conn) awaitsAck() bool { return c.state.has(stSent) && !c.inStage() }

// checkAcks ends a connection whose peer acknowledged nothing for the user timeout. A peer that does not read is
// not gone: its kernel acknowledges every probe of its closed window. TCP_USER_TIMEOUT would end it all the
// same (tcp_probe_timer in Linux), so it is not set. c.mu must be held.
func (c *Conn) checkAcks(now wheel.Time) {
	a, ok := c.acks()
	switch since := ticksOf(a.Since); {
	case !ok, !a.Outstanding:
		c.state &^= stSent
	case !a.Unanswered:
		c.began = now
	case since < now-c.began:
		c.began = now - since
	default:
		c.kill(Closing{Cause: PeerGone, Code: CodeAbnormal, Err: syscall.ETIMEDOUT})
	}
}

// inKernel returns the bytes that the kernel holds for the peer.
func (c *Conn) inKernel() int { return netpoll.Unacked(int(c.fd)) }

// unsent reports whether the kernel holds bytes that it could not send yet.
func (c *Conn) unsent() bool {
	unsent, unread, err := netpoll.SendQueue(int(c.fd))
	return err == nil && (unsent > 0 || unread > 0 && !netpoll.IsTCP(int(c.fd)))
}
