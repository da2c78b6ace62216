package bench

import (
	"errors"
	"os"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

var (
	errConnectTimeout = errors.New("connect: timed out")
	errUpgradeTimeout = errors.New("upgrade: timed out")
)

// expire gives up on connections that have been opening for too long. Those that opened long ago it does
// not look at again: they would be many.
func (l *loop) expire() {
	oldest := l.clock() - l.timeout
	for l.settled < l.next && !l.conns[l.settled].isOpening() {
		l.settled++
	}
	for i := l.settled; i < l.next; i++ {
		switch c := &l.conns[i]; {
		case c.since > oldest:
			return // they were dialled in this order
		case c.state == connecting:
			l.drop(c, errConnectTimeout)
		case c.state == upgrading:
			l.drop(c, errUpgradeTimeout)
		}
	}
}

func (c *conn) isOpening() bool { return c.state == connecting || c.state == upgrading }

// sayGoodbye starts the closing handshake where there is somebody to say it to.
func (l *loop) sayGoodbye() {
	goodbye := clientFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	for i := range l.conns[:l.next] {
		c := &l.conns[i]
		if c.state != open {
			l.hangUp(c)
			continue
		}
		c.state = closing
		l.closing++
		if err := l.send(c, goodbye); err != nil {
			l.drop(c, err)
		}
	}
}

// hangUpAll closes whatever there is.
func (l *loop) hangUpAll() {
	for i := range l.conns {
		l.hangUp(&l.conns[i])
	}
}

// reset ends every connection at once and counts nothing. No port of this end rests afterwards.
func (l *loop) reset() {
	for i := range l.conns[:l.next] {
		c := &l.conns[i]
		if c.state != closed && c.fd >= 0 {
			_ = l.poller.Remove(int(c.fd)) // it may never have been added
			_ = netpoll.Reset(int(c.fd))
			c.fd = -1
		}
		l.hangUp(c)
	}
}

// hangUp closes without ceremony, and counts nothing.
func (l *loop) hangUp(c *conn) {
	if c.state == unused || c.state == closed {
		return
	}
	if c.isOpening() {
		l.opening--
	}
	if c.state != closing {
		c.state = closing
		l.closing++
	}
	l.drop(c, nil)
}

// drop ends a connection and counts why: one that never opened has failed, one that was open is
// lost, and one that we closed ourselves is neither.
func (l *loop) drop(c *conn, why error) {
	before := c.state
	c.state = closed
	if c.fd >= 0 {
		_ = l.poller.Remove(int(c.fd)) // it may never have been added
		_ = netpoll.Close(int(c.fd))
	}
	c.in, c.out, c.dec = nil, nil, decoder{}
	switch before {
	case connecting, upgrading:
		l.opening--
		l.failed[reasonOf(before, why)]++
		l.tried()
	case open:
		if c.stalled {
			l.ends[why.Error()]++
		} else {
			l.lost[why.Error()]++
		}
		l.scenario.lost(c, l.clock())
	case closing:
		l.closing--
		l.lastClosed = l.clock()
	}
}

// reasonOf names the stage at which an error of the socket came; other errors name it themselves.
func reasonOf(s state, why error) string {
	if _, ok := why.(*os.SyscallError); ok && s == upgrading {
		return "upgrade: " + why.Error()
	}
	return why.Error()
}
