package soak

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// crowd is all clients.
type crowd struct {
	options Options
	book    *book
	addr    string
	judge   *judge
	did     *tally
	decks   decks
	next    atomic.Uint32 // number of a client
	open    atomic.Int64
	said    atomic.Int64 // messages
	heard   atomic.Int64
}

// life is a client from its coming to its going. It has a goroutine that acts, which owns what has no word of
// its own, and from the upgrade on one that listens.
type life struct {
	crowd *crowd
	rng   *rand.Rand
	place *place
	conn  *net.TCPConn
	in    *bufio.Reader // the listener's, from the upgrade on

	frames sync.Mutex // held for a frame, and a stall in its midst
	urgent urgent     // what the listener wants sent
	stalls chan time.Duration
	mute   atomic.Bool // pings are not answered any more
	parts  atomic.Bool // the last that is sent is a close frame
	parted bool        // the last was sent; with the lock of frames
	ended  chan struct{}

	sent    outcome // what the acting goroutine knows of it
	heard   account // what the listening one does
	pings   atomic.Uint32
	squeeze squeezed // out is of the acting goroutine, in of the listening one
}

// outcome is what a client knows of its connection when that is over.
type outcome struct {
	number uint32
	place  *place
	opened bool   // the upgrade was answered
	asked  bool   // all of it was sent
	sent   uint32 // messages, the last of which is not whole if it broke
	broke  bool
	way    way
	heard  account
}

// sourceAddresses is from how many loopback addresses clients come, so that what TCP keeps of closed
// connections does not take all ports.
const sourceAddresses = 200

// smallBuffer is not less than a segment on a loopback interface: else the window opens at the kernel's
// timers only.
const smallBuffer = 96 << 10

// comeAndGo lives one life after the other until the tide turns.
func (c *crowd) comeAndGo(tide context.Context) {
	for tide.Err() == nil {
		n := c.next.Add(1)
		l := &life{
			crowd: c, rng: rand.New(rand.NewPCG(c.options.Seed, uint64(n))),
			stalls: make(chan time.Duration, 1), ended: make(chan struct{}), sent: outcome{number: n},
		}
		l.live(tide)
		l.pause(tide)
	}
}

// live is a life in order: how to come, what to do, how to go.
func (l *life) live(tide context.Context) {
	hand := l.crowd.decks.deal(l.sent.number)
	l.place = hand.place
	l.sent.place = hand.place
	if err := l.dial(); err != nil {
		l.crowd.judge.found("a connection that was not accepted", "%s: %v", l, err)
		return
	}
	defer l.conn.Close()
	defer func() { l.crowd.judge.lived(l.sent) }()
	l.crowd.did.count(hand.coming.name)
	if err := hand.coming.do(l); err != nil {
		l.crowd.judge.found("a handshake that went wrong", "%s, %s: %v", l, hand.coming.name, err)
		return
	}
	if !l.sent.opened {
		return
	}
	l.crowd.open.Add(1)
	defer l.crowd.open.Add(-1)
	go l.listen()
	defer l.await()
	for i := range l.steps() {
		s := hand.first
		if i > 0 {
			s = l.crowd.decks.step(l)
		}
		if !l.do(s) {
			return
		}
		l.pause(tide)
		if tide.Err() != nil {
			break
		}
	}
	l.do(hand.going)
}

// do does a thing, and tells whether the connection is still there then.
func (l *life) do(s *thing) bool {
	if l.over() {
		return false
	}
	if err := s.do(l); err != nil {
		l.sent.broke = true
		return false
	}
	l.crowd.did.count(s.name)
	return true
}

// await waits for the listener, which hears how the connection ends.
func (l *life) await() {
	_ = l.conn.SetReadDeadline(time.Now().Add(l.crowd.options.Patience))
	<-l.ended
	l.sent.heard = l.heard
	l.crowd.said.Add(int64(l.sent.sent))
	_ = l.conn.Close()
	l.urgent.wait()
}

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return l.urgent.closing.Load()
	}
}

// steps is how many things there are to do: few as a rule, and many at times.
func (l *life) steps() int { return 1 + int(l.rng.ExpFloat64()*6) }

// pause takes a while, or until the tide turns.
func (l *life) pause(tide context.Context) {
	d := time.Duration(l.rng.ExpFloat64() * float64(l.crowd.options.Pause))
	timer := time.NewTimer(min(d, 5*l.crowd.options.Pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-tide.Done():
	case <-l.ended:
	}
}

// size draws a length up to most: as many of 10 to 100 bytes as of 10 to 100 KB.
func (l *life) size(most int) int { return int(math.Exp(l.rng.Float64() * math.Log(float64(most+1)))) }

func (l *life) dial() error {
	n := int(l.sent.number) % sourceAddresses
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n))}, Timeout: l.crowd.options.Patience}
	conn, err := d.Dial("tcp", l.crowd.addr)
	if err != nil {
		return err
	}
	l.conn = conn.(*net.TCPConn)
	if l.rng.IntN(4) == 0 {
		_ = l.conn.SetReadBuffer(smallBuffer) // for the kernel to push back soon
	}
	return nil
}

func (l *life) String() string { return fmt.Sprintf("client %d of %s", l.sent.number, l.place.path) }

// urgent is control frames that the listener wants sent. It must not wait for the socket itself: as long as it
// does not read, the server may not either.
type urgent struct {
	closing atomic.Bool // the server's close frame came: nothing but the answer is sent

	mu      sync.Mutex
	frames  []ws.Frame
	sending bool
	done    sync.WaitGroup
}

// send has a frame sent by another goroutine, of which there is one at the most.
func (u *urgent) send(l *life, f ws.Frame) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.frames = append(u.frames, f)
	if !u.sending {
		u.sending = true
		u.done.Go(func() { u.flush(l) })
	}
}

func (u *urgent) flush(l *life) {
	for {
		u.mu.Lock()
		if len(u.frames) == 0 {
			u.sending = false
			u.mu.Unlock()
			return
		}
		f := u.frames[0]
		u.frames = u.frames[1:]
		u.mu.Unlock()
		_ = l.transmit(f) // if it fails, the listener hears of the end too
	}
}

func (u *urgent) wait() { u.done.Wait() }
