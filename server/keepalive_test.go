//go:build linux

package server

import (
	"bufio"
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/stillpool/stillpool/server/wheel"
)

// TestRecordSize: what an idle connection costs beside its place in the wheel and its entry in a table.
func TestRecordSize(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Conn{}); n > 112 {
		t.Errorf("a record takes %d B, want 112, which is a size class of the allocator's", n)
	}
}

// TestNextPing: from three quarters of the interval on and never beyond it, on a grid, and
// evenly for connections whose last signs coincide.
func TestNextPing(t *testing.T) {
	t.Parallel()
	for _, every := range []wheel.Time{4, 100, ticksOf(defaultKeepalive), ticksOf(maxTimer)} {
		for _, sign := range []wheel.Time{0, 12_345, 1<<32 - 1} {
			const n, parts = 1000, 8
			var share [parts]int
			grain := pingGrain(every)
			give := n/parts/4 + int(n*grain/max(1, every/4)) // a point of the grid is in one part as a whole
			for id := range uint64(n) {
				at := nextPing(id, sign, every)
				after := at - sign
				if after > every || after+grain <= every-every/4 || at%grain != 0 {
					t.Fatalf("every %d: %d after the last sign, at %d", every, after, at)
				}
				if every >= 1000 {
					share[uint64(every-after)*parts/uint64(every/4+grain)]++
				}
			}
			for i, got := range share {
				if every >= 1000 && (got < n/parts-give || got > n/parts+give) {
					t.Errorf("every %d: part %d of the last quarter has %d of %d", every, i, got, n)
				}
			}
		}
	}
}

// onUnix runs s on a unix socket, of which the kernel knows no acknowledgements, and opens a connection.
func onUnix(t *testing.T, s *Server, o Options) (p *peer, c *Conn, j journal) {
	t.Helper()
	j = newJournal()
	s.Handle("/", j.keep(o))
	p = openUnix(t, s)
	return p, j.want(t, "open").conn, j
}

// openUnix runs s on a unix socket and opens a connection to its endpoint "/".
func openUnix(t *testing.T, s *Server, headers ...string) *peer {
	t.Helper()
	l := lifeUnix(t)
	lifeServeOn(t, s, l)
	t.Cleanup(func() { s.Close() })
	conn, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(bound)))
	p := &peer{t: t, in: bufio.NewReader(conn), to: conn}
	p.send(upgradeTo("/", headers...))
	p.upgraded()
	return p
}

// silentFor makes it so long ago that c gave its last sign of life, and has its place come up.
func silentFor(c *Conn, d time.Duration) (heard wheel.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = c.loop.srv.now() - ticksOf(d)
	c.alive = c.heard
	c.placeSooner()
	return c.heard
}

func (c *Conn) heardAt() wheel.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// TestKeepalive: a silent peer is pinged as seldom as was promised, and stays as long as it
// answers.
func TestKeepalive(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const every, pings = 40 * time.Millisecond, 10
		p, c, _ := met(t, s, Options{Keepalive: every, PongTimeout: bound})
		opened := c.heardAt()
		for range pings {
			p.want(ws.OpPing, "")
			if n, most := s.Stats().Pings, uint64(s.now()-opened)/uint64(ticksOf(every)*3/4-pingGrain(ticksOf(every)))+1; n > most {
				t.Fatalf("%d pings in %d ms", n, s.now()-opened)
			}
			p.send(frame(ws.OpPong, ""))
		}
		p.send(frame(ws.OpText, "still here"))
		for h, _ := p.frame(); h.OpCode != ws.OpText; h, _ = p.frame() {
			p.send(frame(ws.OpPong, ""))
		}
	})
}

// TestKeepaliveDefault: an idle connection has a place within the default, and none without keepalive.
func TestKeepaliveDefault(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{}))
		s.Handle("/never", j.keep(Options{Keepalive: -1}))
		addr := serve(t, s)
		for _, path := range []string{"/", "/never"} {
			open(t, addr, path)
			c := j.want(t, "open").conn
			quietly(t, c, func() { c.loop.sooner(c.slot, s.now()) }) // as that of the handshake's deadline comes up, and finds nothing due
			await(t, path+" has its place", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.loop.mu.Lock()
				defer c.loop.mu.Unlock()
				due, ok := c.loop.wheel.Due(c.slot)
				return !ok && path == "/never" || ok && due == nextPing(c.id, c.heard, ticksOf(defaultKeepalive))
			})
		}
	})
}

// TestKeepaliveSparesWhoAcknowledges: a peer that says nothing and takes its ticks is not pinged. On a
// unix socket, of which the kernel does not know, it is.
func TestKeepaliveSparesWhoAcknowledges(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, _ := met(t, s, Options{Keepalive: time.Hour, PongTimeout: time.Hour})
		long := silentFor(c, time.Hour)
		await(t, "it is found to be there", func() bool { return long.Before(c.heardAt()) })
		p.send(frame(ws.OpText, "x"))
		p.want(ws.OpText, "x")
		if n := s.Stats().Pings; n > 0 {
			t.Errorf("%d pings", n)
		}
		q, c, _ := onUnix(t, &Server{Poller: s.Poller, Logger: quiet}, Options{Keepalive: time.Hour})
		silentFor(c, time.Hour)
		q.want(ws.OpPing, "")
	})
}

// TestPongTimeout: who does not answer is given up, without a close frame, and not before its time.
func TestPongTimeout(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const every, timeout = 40 * time.Millisecond, 30 * time.Millisecond
		p, c, j := met(t, s, Options{Keepalive: every, PongTimeout: timeout})
		opened := c.heardAt()
		p.want(ws.OpPing, "")
		p.wantEnd()
		j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal, Err: ErrPongTimeout})
		if after, least := s.now()-opened, ticksOf(every)*3/4-pingGrain(ticksOf(every))+ticksOf(timeout); after < least {
			t.Errorf("given up %d ms after its last sign of life, want %d", after, least)
		}
	})
}

// TestPongTimeoutPlace: the place of a connection that was pinged is not after its deadline, and any
// byte is an answer.
func TestPongTimeoutPlace(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		for _, idle := range []time.Duration{0, 10 * time.Hour} {
			s := &Server{Poller: s.Poller, Logger: quiet}
			p, c, _ := onUnix(t, s, Options{Keepalive: time.Hour, PongTimeout: time.Minute, IdleTimeout: idle})
			silentFor(c, time.Hour)
			p.want(ws.OpPing, "")
			quietly(t, c, func() {
				c.loop.mu.Lock()
				defer c.loop.mu.Unlock()
				due, ok := c.loop.wheel.Due(c.slot)
				if now := s.now(); !c.state.has(stPinged) || !ok || due-now > ticksOf(time.Minute) {
					t.Errorf("pinged: %v, the place comes up in %d ms, %v", c.state.has(stPinged), due-now, ok)
				}
			})
			p.send([]byte{0x81})
			await(t, "it has answered", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return !c.state.has(stPinged|stAnswered) && s.now()-c.lastSign() < ticksOf(time.Minute)
			})
		}
	})
}

// TestPongTimeoutDoesNotSpin: while an answer is waited for longer than until the next ping could be
// due, the place comes up seldom, and early enough for that ping.
func TestPongTimeoutDoesNotSpin(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, c, _ := onUnix(t, s, Options{Keepalive: time.Hour, PongTimeout: maxTimer})
		silentFor(c, time.Hour)
		p.want(ws.OpPing, "")
		due := func() (d wheel.Time) {
			quietly(t, c, func() {
				c.loop.mu.Lock()
				defer c.loop.mu.Unlock()
				at, _ := c.loop.wheel.Due(c.slot)
				d = at - s.now()
			})
			return d
		}
		early, late := ticksOf(time.Hour)*3/4-ticksOf(bound), ticksOf(time.Hour)*3/4
		await(t, "the place is far", func() bool { d := due(); return early < d && d <= late })
		c.mu.Lock()
		c.alive -= ticksOf(50 * time.Minute)
		c.loop.sooner(c.slot, s.now())
		c.mu.Unlock()
		await(t, "the place is far again", func() bool { d := due(); return early < d && d <= late })
	})
}

// TestPongTimeoutIsNotOurs: a ping that is still under way behind what the peer takes is waited for.
func TestPongTimeoutIsNotOurs(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, j := full(t, s)
		quietly(t, c, func() {
			c.state |= stPinged
			c.alive = s.now() - ticksOf(time.Hour)
			if c.noAnswer(s.now()); c.state.has(stDead) || s.now()-c.alive > ticksOf(time.Hour)/2 {
				t.Errorf("given up, or waited for no longer, though it takes what is before the ping: at %d since %d", s.now(), c.alive)
			}
		})
		must(t, c.Close())
		j.want(t, "close")
	})
}

// full is a connection on which more waits than the kernel takes.
func full(t *testing.T, s *Server) (*peer, *Conn, journal) {
	t.Helper()
	j := newJournal()
	s = &Server{Poller: s.Poller, Logger: quiet}
	s.Handle("/", j.keep(Options{PongTimeout: time.Hour, Keepalive: time.Hour, WriteTimeout: -1, SendBuffer: 4096, Overflow: Refuse}))
	p := openWith(t, serve(t, s), "/", 4096)
	c := j.want(t, "open").conn
	fillUp(c)
	return p, c, j
}

func fillUp(c *Conn) {
	for outcome := Sent; outcome != Refused; {
		outcome, _ = c.Write(Binary, make([]byte, 64<<10))
	}
}

// TestKeepaliveLeavesSlowReaders: while something waits, no ping does.
func TestKeepaliveLeavesSlowReaders(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, _ := onUnix(t, s, Options{Keepalive: time.Hour, WriteTimeout: -1, SendBuffer: 4096, Overflow: Refuse})
		fillUp(c)
		long := silentFor(c, time.Hour)
		await(t, "it is left in peace", func() bool { return long.Before(c.heardAt()) })
		if n := c.loop.srv.Stats().Pings; n > 0 {
			t.Errorf("%d pings", n)
		}
	})
}

// TestIdleBesideKeepalive: the idle timeout counts what a peer says of its own accord. The answer to a
// ping is not that; a message beside it is, and so is a pong that nobody asked for.
func TestIdleBesideKeepalive(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		for _, says := range []struct {
			what   string
			counts bool
			parts  [][]byte
		}{
			{"the pong", false, [][]byte{frame(ws.OpPong, "")}},
			{"the pong, twice", true, [][]byte{frame(ws.OpPong, ""), frame(ws.OpPong, "")}},
			{"the pong and a message", true, [][]byte{frame(ws.OpPong, ""), frame(ws.OpText, "x")}},
			{"a message and the pong", true, [][]byte{frame(ws.OpText, "x"), frame(ws.OpPong, "")}},
			{"the pong and half a message", true, [][]byte{frame(ws.OpPong, ""), fragment(ws.OpText, false, "x")}},
			{"the pong and a byte", true, [][]byte{frame(ws.OpPong, ""), {0x81}}},
			{"a ping", true, [][]byte{frame(ws.OpPing, "")}},
		} {
			s := &Server{Poller: s.Poller, Logger: quiet}
			p, c, _ := onUnix(t, s, Options{Keepalive: time.Hour, IdleTimeout: 10 * time.Hour})
			long := silentFor(c, time.Hour)
			p.want(ws.OpPing, "")
			p.send(says.parts...)
			await(t, "it is weighed", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return !c.state.has(stPinged|stAnswered|stReadable|stTurn) && s.now()-c.lastSign() < ticksOf(time.Hour)/2
			})
			quietly(t, c, func() {
				if counts := long.Before(c.heard); counts != says.counts {
					t.Errorf("%s: counts %v, want %v", says.what, counts, says.counts)
				}
				c.loop.mu.Lock()
				defer c.loop.mu.Unlock()
				if due, ok := c.loop.wheel.Due(c.slot); !ok || (c.heard + c.idleTimeout()).Before(due) || c.asksAt().Before(due) {
					t.Errorf("%s: the place comes up at %d, %v", says.what, due, ok)
				}
			})
		}
	})
}

// TestKeepaliveCatchesUp: the times that are held against each other stay near each other, though only
// one of them moves for years.
func TestKeepaliveCatchesUp(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		_, c, _ := onUnix(t, s, Options{Keepalive: time.Hour, IdleTimeout: 10 * time.Hour})
		quietly(t, c, func() {
			c.alive = c.heard - ticksOf(10*time.Hour)
			c.loop.sooner(c.slot, s.now())
		})
		await(t, "it has caught up", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.alive == c.heard
		})
	})
}

// TestIdleThoughItAnswers: so a peer that does no more than answer pings is idle.
func TestIdleThoughItAnswers(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		p, _, j := met(t, s, Options{Keepalive: 20 * time.Millisecond, PongTimeout: bound, IdleTimeout: 200 * time.Millisecond})
		for h, _ := p.frame(); h.OpCode == ws.OpPing; h, _ = p.frame() {
			p.send(frame(ws.OpPong, ""))
		}
		p.send(closeFrame(CodeGoingAway, ""))
		j.wantClose(t, Closing{Cause: Idle, Code: CodeGoingAway, Reason: "idle timeout"})
	})
}

// cutOff makes the kernel drop, unacknowledged, whatever comes for p: from there on it is as if the
// cable was cut, and the server gets neither FIN nor reset.
func (p *peer) cutOff() {
	p.t.Helper()
	raw, err := p.conn.SyscallConn()
	must(p.t, err)
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	must(p.t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	}))
	must(p.t, err)
}

// TestCutOff: a peer that is gone without a word is found to be, whether anything is sent to it or not.
func TestCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		user time.Duration
		o    Options
		err  error
	}{
		"silent":                {0, Options{Keepalive: 200 * time.Millisecond, PongTimeout: 100 * time.Millisecond}, ErrPongTimeout},
		"ticked, by the kernel": {300 * time.Millisecond, Options{Every: 10 * time.Millisecond}, syscall.ETIMEDOUT},
		"ticked, by a ping": {-1, Options{Every: 10 * time.Millisecond, Keepalive: 200 * time.Millisecond,
			PongTimeout: 100 * time.Millisecond}, ErrPongTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				s.UserTimeout = c.user
				o, tick := c.o, PrepareText("tick")
				o.OnTick = func(c *Conn) { c.Send(tick) }
				p, _, j := met(t, s, o)
				p.cutOff()
				j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal, Err: c.err})
			})
		})
	}
}

// TestKeepaliveOptions: what can't be held is found.
func TestKeepaliveOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{PongTimeout: -1}, {Keepalive: maxTimer + 1}, {PongTimeout: maxTimer + 1}} {
		if o.Check() == nil {
			t.Errorf("taken: %+v", o)
		}
	}
}

// TestNotReadingIsNotGone: a peer that does not read stays, for all that its kernel acknowledges the probes of its
// closed window, until the write timeout. One that acknowledges nothing any more is gone.
func TestNotReadingIsNotGone(t *testing.T) {
	const user = 300 * time.Millisecond
	for _, v := range ways[:2] { // a unix socket acknowledges nothing
		for _, where := range []string{"in the kernel", "in the process", "in the kernel, then gone"} {
			t.Run(v.name+", "+where, func(t *testing.T) {
				onPollers(t, func(t *testing.T, s *Server) {
					s.UserTimeout = user
					o := Options{WriteTimeout: time.Hour, Keepalive: user, PongTimeout: user, OnMessage: echo, SendBuffer: 64 << 10}
					gone := where == "in the kernel, then gone"
					if gone {
						o.Keepalive = -1
					}
					size := 40_000
					if where == "in the process" {
						size = 200_000
					}
					p, c, j := v.meet(t, s, o)
					if outcome, err := c.Write(Binary, make([]byte, size)); err != nil || (outcome == Queued) != (size > 100_000) {
						t.Fatalf("%v, %v", outcome, err)
					}
					probes := uint8(3)
					if gone {
						probes = 1
					}
					await(t, "its window is probed some times in a row", func() bool {
						c.mu.Lock()
						defer c.mu.Unlock()
						info, err := unix.GetsockoptTCPInfo(int(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
						if err != nil {
							t.Fatalf("the connection is gone: %+v", c.ext.end)
						}
						return info.Backoff >= probes
					})
					if gone {
						p.cutOff()
						j.wantClose(t, Closing{Cause: PeerGone, Code: CodeAbnormal, Err: syscall.ETIMEDOUT})
						return
					}
					if h, data := p.frame(); h.OpCode != ws.OpBinary || len(data) != size {
						t.Fatalf("came %d bytes", len(data))
					}
					p.send(frame(ws.OpText, "here"))
					for h, _ := p.frame(); h.OpCode == ws.OpPing; h, _ = p.frame() {
						p.send(frame(ws.OpPong, ""))
					}
				})
			})
		}
	}
}
