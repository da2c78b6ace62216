package server

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file decides which connections come in, from a listener or from whoever has a descriptor
// already, before a byte of theirs is read. Who does not is told why.

// limit is a bound that connections are turned away by.
type limit uint8

const (
	limitDescriptors limit = iota // the process has none left
	limitConns                    // Server.MaxConns
	limitAddress                  // Server.MaxConnsPerAddress
	limitHandshakes               // Server.MaxHandshakes
	limitRate                     // Server.HandshakeRate
	limitPreface                  // the PROXY header: nobody is told
	limits
)

// limitWords are what peers are told at each, and limitNames are for the log.
var (
	limitWords = [limits]*refusal{errNoDescriptors, errTooManyConns, errAddressFull, errManyHandshakes, errTooFast, nil}
	limitNames = [limits]string{"out of descriptors", "MaxConns", "MaxConnsPerAddress", "MaxHandshakes", "HandshakeRate", "PROXY header"}
)

// toldMost bounds the connections that are there only to be told that they can't be. They take
// descriptors too, so those past it are told in haste.
func (s *Server) toldMost() int64 {
	if s.MaxConns == 0 {
		return 1024
	}
	return 64 + int64(s.MaxConns)/8
}

// turnedAway notes for the log that a limit was against a connection; the refusal counts by itself.
// Whoever calls it calls complain when it has no lock any more.
func (s *Server) turnedAway(by limit) {
	s.complaints[by].n.Add(1)
	s.complains.Store(true)
}

// complaint is what the log is to say of one limit.
type complaint struct {
	n    atomic.Uint64 // connections turned away since it was said
	said atomic.Int64  // when that was, in seconds
	why  atomic.Pointer[error]
}

// due reports whether the log is to say it now, in seconds, and notes that it does.
func (c *complaint) due(now int64) bool {
	said := c.said.Load()
	return c.n.Load() > 0 && now-said >= int64(complainEvery/time.Second) && c.said.CompareAndSwap(said, now)
}

// complain tells the log who was turned away: one line a limit for all of them since the last, and the
// next one not before complainEvery.
func (s *Server) complain() {
	if !s.complains.Load() || !s.complains.Swap(false) {
		return
	}
	now := time.Now().Unix()
	s.badOrigins.log(s.log(), now)
	for by := range s.complaints {
		c := &s.complaints[by]
		if !c.due(now) {
			continue
		}
		attrs := []any{"bound", limitNames[by], "count", c.n.Swap(0)}
		if why := c.why.Load(); why != nil {
			attrs = append(attrs, "error", *why)
		}
		s.log().Warn("connections turned away", attrs...)
	}
}

// admit makes a connection of an accepted descriptor, on the loop whose turn it is. One that may not
// come in is told so and closed.
func (s *Server) admit(fd int, peer netip.AddrPort, proxied bool) error {
	c := s.newConn(int32(fd), peer)
	if proxied && len(s.proxies) > 0 && !s.proxies.trust(peer.Addr()) {
		s.noPreface(c.loop, errPrefaceStranger)
		return netpoll.Close(fd)
	}
	if proxied {
		c.state = stPreface
	}
	by, in := s.letIn(c)
	if !in && s.told.Add(1) > s.toldMost() {
		s.told.Add(-1)
		s.turnOut(c, by)
		return nil
	}
	if !in {
		c.giveBack()               // who is only told counts for nothing
		c.state |= stTurn | stTold // nobody else may serve it before it is refused
	}
	if err := c.loop.add(c); err != nil {
		s.turnOut(c, limitDescriptors)
		return err
	}
	if !in {
		c.tell(by)
	}
	return nil
}

// letIn counts a connection in, and tells which limit is against it if one is. The limit of its own
// address comes before those that it shares with others, so that who has too many takes nothing away
// from them.
func (s *Server) letIn(c *Conn) (by limit, in bool) {
	s.conns.Add(1)
	switch {
	case s.MaxConns > 0 && s.inUse() > int64(s.MaxConns):
		return limitConns, false
	case !c.enter():
		return limitAddress, false
	case !c.shake():
		return limitHandshakes, false
	case !s.pace.take(time.Since(s.clock.start)):
		return limitRate, false
	}
	return 0, true
}

// shake counts the connection's handshake, unless there are too many.
func (c *Conn) shake() bool {
	s := c.loop.srv
	if s.shaking.Add(1) > s.maxHandshakes() {
		s.shaking.Add(-1)
		return false
	}
	c.state |= stShaking
	return true
}

// enter counts the connection for its client's address, unless there are too many. A unix socket's has
// none, and a proxy's is not the client's.
func (c *Conn) enter() bool {
	s := c.loop.srv
	if s.addresses.most == 0 || c.state.has(stPreface) || !c.RemoteAddr().IsValid() || s.proxies.trust(c.RemoteAddr().Addr()) {
		return true
	}
	if !s.addresses.enter(c.ip) {
		return false
	}
	c.state |= stCounted
	return true
}

// inUse is how many connections are counted in, but for those that are there only to be told.
func (s *Server) inUse() int64 { return s.conns.Load() - s.told.Load() }

// tell refuses a connection that is there to be told.
func (c *Conn) tell(by limit) {
	c.loop.srv.turnedAway(by)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse(limitWords[by])
	c.letGo()
}

// turnOut refuses a connection that no loop has.
func (s *Server) turnOut(c *Conn, by limit) {
	c.mu.Lock()
	c.giveBack()
	c.mu.Unlock()
	s.turnedAway(by)
	c.loop.stats.handshakes[limitWords[by].why()].Add(1)
	s.left() // before the peer knows
	s.spares.turnOut(int(c.fd), limitWords[by])
}

// shaken notes that the handshake is over. The lock is held.
func (c *Conn) shaken() {
	if c.state.has(stShaking) {
		c.state &^= stShaking
		c.loop.srv.shaking.Add(-1)
	}
}

// giveBack ends what the connection counts for at the limits. The lock is held.
func (c *Conn) giveBack() {
	c.shaken()
	if c.state.has(stTold) {
		c.loop.srv.told.Add(-1)
	}
	if c.state.has(stCounted) {
		c.loop.srv.addresses.leave(c.ip)
	}
	c.state &^= stTold | stCounted
}

func (s *Server) newConn(fd int32, peer netip.AddrPort) *Conn {
	s.trim.note(s, 1)
	id := s.ids.Add(1)
	loops := s.loops()
	c := &Conn{id: id, fd: fd, loop: loops[id%uint64(len(loops))], heard: s.now()}
	c.at = c.heard + ticksOf(s.handshakeTimeout())
	c.setRemote(peer)
	return c
}

// come counts a connection in that no acceptor brings, unless it is one too many or too late: the
// loops end with the last connection that was counted before stop.
func (s *Server) come(c *Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Draining() {
		return s.comeBackLater()
	}
	s.conns.Add(1)
	if s.MaxConns > 0 && s.inUse() > int64(s.MaxConns) {
		s.conns.Add(-1)
		return s.deny(limitConns)
	}
	if !c.enter() {
		s.conns.Add(-1)
		return s.deny(limitAddress)
	}
	return nil
}

// deny turns away who has no record yet.
func (s *Server) deny(by limit) *refusal {
	s.turnedAway(by)
	return limitWords[by]
}

// left notes that a connection is gone. The last one ends a shutdown.
func (s *Server) left() {
	if s.conns.Add(-1) <= s.inside.Load() {
		s.maybeIdle()
	}
}
