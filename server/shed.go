package server

import (
	mbits "math/bits" // bits is what tests draw frames with
	"sync"
	"sync/atomic"
	"time"
)

// This file is what happens when Server.OutboundBudget is spent: connections for which most waits give
// way to those for which less does (longest queue drop, Suter, Lakshman, Stiliadis and Choudhury 1998), so
// that few who don't read can't take from the many who do. To find them, the connections of a loop that
// have something waiting stand in lists, by how much. Any goroutine runs it.

const (
	// rankUnit is from how many bytes on a connection stands in a list: below it is nothing to be had.
	rankUnit = 1 << 10
	// rankClasses are those of what may wait, a power of two each.
	rankClasses = 64
	// rankLooks bounds how many of a list are looked at. Most are the worst there is, give or take the
	// factor of two, and those that are busy will be there the next time.
	rankLooks = 16
	// shedRounds bounds how many give way to one frame. Each frees half as much as the frame wants, or
	// more.
	shedRounds = 16
)

// rank is a backlog's place among those of its loop. The ranks' lock guards it, but for conn, which is
// set before it has a place, and class, which the connection's lock guards.
type rank struct {
	conn       *Conn
	prev, next *backlog
	class      uint8 // 0 is no place
}

// ranks are the backlogs of a loop, by class. Those that came into a class last are last.
type ranks struct {
	present atomic.Uint64 // the classes that have any
	n       atomic.Int64  // backlogs

	mu          sync.Mutex // a leaf
	first, last [rankClasses]*backlog
}

func classOf(held int) uint8 { return uint8(mbits.Len64(uint64(held) / rankUnit)) }

// weigh sees to it that the backlog stands where it belongs. The connection's lock is held.
func (c *Conn) weigh() {
	if class := classOf(c.out.held); class != c.out.rank.class && c.ep != nil {
		c.loop.ranks.move(c.out, class)
	}
}

// unrank takes the backlog out of the lists. The connection's lock is held.
func (c *Conn) unrank() {
	if c.out.rank.class != 0 {
		c.loop.ranks.move(c.out, 0)
	}
}

func (r *ranks) move(b *backlog, class uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.rank.class != 0 {
		r.remove(b)
	}
	if b.rank.class = class; class != 0 {
		r.add(b)
	}
}

func (r *ranks) add(b *backlog) {
	class := b.rank.class
	b.rank.prev, b.rank.next = r.last[class], nil
	if b.rank.prev != nil {
		b.rank.prev.rank.next = b
	} else {
		r.first[class] = b
		r.present.Or(1 << class)
	}
	r.last[class] = b
	r.n.Add(1)
}

func (r *ranks) remove(b *backlog) {
	class, prev, next := b.rank.class, b.rank.prev, b.rank.next
	if prev != nil {
		prev.rank.next = next
	} else {
		r.first[class] = next
	}
	if next != nil {
		next.rank.prev = prev
	} else {
		r.last[class] = prev
	}
	if r.first[class] == nil {
		r.present.And(^(uint64(1) << class))
	}
	b.rank.prev, b.rank.next = nil, nil
	r.n.Add(-1)
}

// pick finds a connection in a class that has so many bytes or more, and is not asker. It comes with its
// lock held. The asker's is held too, so nobody is waited for: who is busy is passed over.
func (r *ranks) pick(class uint8, asker *Conn, least int) *Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.first[class]
	for range rankLooks {
		if b == nil {
			return nil
		}
		if c := b.rank.conn; c != asker && c.mu.TryLock() {
			if b.held >= least {
				return c
			}
			c.mu.Unlock()
		}
		b = b.rank.next
	}
	return nil
}

// rankedNow are the classes that any loop's connections are in.
func (s *Server) rankedNow() (present uint64) {
	for _, l := range s.loops() {
		present |= l.ranks.present.Load()
	}
	return present
}

// worstClass is the highest that any connection is in.
func (s *Server) worstClass() int { return mbits.Len64(s.rankedNow()) - 1 }

// amongWorst tells whether one for which so much waits is of those that have to give way first.
func (s *Server) amongWorst(held int) bool { return int(classOf(held))+1 >= s.worstClass() }

// worst is a connection for which most waits, but asker, if that is so much or more. Its lock is held.
func (s *Server) worst(asker *Conn, least int) *Conn {
	for present := s.rankedNow() &^ (1<<classOf(least) - 1); present != 0; {
		class := uint8(mbits.Len64(present) - 1)
		for _, l := range s.loops() {
			if l.ranks.present.Load()&(1<<class) == 0 {
				continue
			}
			if c := l.ranks.pick(class, asker, least); c != nil {
				return c
			}
		}
		present &^= 1 << class
	}
	return nil
}

// afford takes n bytes of what all peers share. When that is spent, others give way for which more waits
// than would for c. If there are none, c itself does, where its endpoint forgets; but if they only are busy at
// the moment, c has what is kept for that. The connection's lock is held.
func (c *Conn) afford(n int) bool {
	s := c.loop.srv
	for range shedRounds {
		if s.outbound.takeOf(int64(n), s.outbound.common()) {
			return true
		}
		wants := c.heldOut() + n
		switch {
		case int64(n) > s.outbound.limit:
			return false
		case s.shedFor(c, wants):
		case int(classOf(wants)) < s.worstClass():
			return s.outbound.take(int64(n))
		case !c.giveWay(n):
			return false
		}
	}
	return s.outbound.take(int64(n)) // others were quicker to take what came free
}

// giveWay forgets messages of c's own, and tells whether it had any.
func (c *Conn) giveWay(n int) bool {
	if c.out == nil {
		return false
	}
	switch c.ep.opts.Overflow {
	case DropOldest:
		return c.forget(n, false) > 0
	case KeepLatest:
		return c.forget(c.out.held, false) > 0
	}
	return false
}

// shedFor makes one give way for which so much waits, or more, and tells whether there was any.
func (s *Server) shedFor(asker *Conn, least int) bool {
	c := s.worst(asker, least)
	if c == nil {
		return false
	}
	defer c.mu.Unlock()
	c.shed()
	return true
}

// shed makes c give way. Where its endpoint forgets, the older half of what waits goes, and the newest
// message last. What others were promised is not left out in silence: they are told 1013, and get nothing of
// it but the rest of the frame that has begun. Who has nothing else to give, as when that rest is what takes
// so much, is cut off. The connection's lock is held.
func (c *Conn) shed() {
	before := c.out.held
	c.loop.stats.shed.Add(1)
	freed := c.giveUp()
	if freed == 0 {
		freed = before
		c.kill(Closing{Cause: TooSlow, Code: CodeAbnormal, Err: ErrShed})
		c.dropBacklog()
		c.nudge()
	}
	c.loop.stats.shedBytes.Add(uint64(freed))
}

// giveUp forgets what c can be without, and tells how many bytes that were.
func (c *Conn) giveUp() (freed int) {
	half := c.out.held / 2
	switch {
	case c.state.has(stDead):
	case c.state.has(stCloseSent):
		freed = c.cut()
	case c.ep.opts.Overflow.forgets():
		if freed = c.forget(half, true); freed == 0 {
			freed = c.forget(half, false)
		}
		c.endEmpty()
	default:
		if freed = c.cut(); freed > 0 {
			c.startClose(Closing{Cause: TooSlow, Code: CodeTryAgain, Reason: "backlog shed", Err: ErrShed})
		}
	}
	return freed
}

// shedLog tells the log that connections gave way, one line for all of them since the last, and the next
// one not before complainEvery. The server's pulse runs it.
type shedLog struct {
	times, bytes uint64 // that were told
	said         time.Time
}

func (t *shedLog) tell(s *Server) {
	var times, bytes uint64
	for _, l := range s.loops() {
		times += l.stats.shed.Load()
		bytes += l.stats.shedBytes.Load()
	}
	if times == t.times || time.Since(t.said) < complainEvery {
		return
	}
	s.log().Warn("backlogs shed", "bound", "OutboundBudget", "limit", s.outbound.limit,
		"count", times-t.times, "bytes", bytes-t.bytes)
	*t = shedLog{times, bytes, time.Now()}
}
