package server

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// This file turns away whom there is no room for to be told at leisure: those that come when there is
// no descriptor left, and those past the bound of connections that only wait to be told. They get the
// words and the end of the stream at once.

// spareCount is how many descriptors are held back: as many of the last that were turned away are kept
// for a while, so that what they still send does not become a reset that swallows the words.
const spareCount = 16

// spares are descriptors that the rest of the process can't take. Each is a spare one or that of a
// connection that was told, which has the place until the next one needs it. Any goroutine may use it.
type spares struct {
	short atomic.Bool // some were lost to others: the next one that is freed is for the reserve

	mu     sync.Mutex
	opened bool
	places [spareCount]place
	next   int // the place that is used next; of those that were told, it has the oldest
	sweeps bool
	buf    [4 << 10]byte
}

// place is one descriptor of the reserve.
type place struct {
	fd   int       // -1 if it was lost
	told time.Time // zero for a spare one
}

// open takes the reserve, as far as it is to be had. A second call does nothing.
func (r *spares) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened {
		return
	}
	r.opened = true
	for i := range r.places {
		r.places[i].fd = -1
	}
	r.refill()
}

// close gives the reserve back, and ends those that have a place in it.
func (r *spares) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opened {
		return
	}
	r.opened = false
	for i := range r.places {
		r.vacate(i)
	}
}

// fill takes back what was lost.
func (r *spares) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened {
		r.refill()
	}
}

// refill is fill for those who have the lock.
func (r *spares) refill() {
	for i := range r.places {
		if r.places[i].fd < 0 {
			if r.places[i].fd, _ = netpoll.Spare(); r.places[i].fd < 0 {
				r.short.Store(true)
				return
			}
		}
	}
	r.short.Store(false)
}

// turnAway accepts a connection for which there is no descriptor but those of the reserve, and tells it
// why. It answers err, the error of who tried without, if the reserve is lost too.
func (r *spares) turnAway(listener int, why *refusal, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.places {
		i := r.take()
		if !r.vacate(i) {
			continue
		}
		var fd int
		if fd, _, err = netpoll.Accept(listener); err == nil {
			r.tell(i, fd, why)
			return nil
		}
		// Somebody else may have been quicker: then this place is lost, and the next one is tried.
		r.refill()
		if !netpoll.IsExhausted(err) {
			return err
		}
	}
	return err
}

// turnOut is turnAway for a connection that has a descriptor already.
func (r *spares) turnOut(fd int, why *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opened {
		r.say(fd, why)
		r.discard(fd)
		return
	}
	i := r.take()
	r.vacate(i)
	r.tell(i, fd, why)
}

// netConn is netpoll.NetConn, which for a moment needs one descriptor more.
func (r *spares) netConn(fd int) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened {
		for range r.places {
			if r.vacate(r.take()) {
				break
			}
		}
		defer r.refill()
	}
	return netpoll.NetConn(fd)
}

// take chooses the place that is used next. The lock is held from here on.
func (r *spares) take() int {
	i := r.next
	r.next = (i + 1) % spareCount
	return i
}

// vacate closes what has place i, and tells whether there was anything.
func (r *spares) vacate(i int) bool {
	p := r.places[i]
	r.places[i] = place{fd: -1}
	switch {
	case p.fd < 0:
		return false
	case p.told.IsZero():
		netpoll.Close(p.fd)
	default:
		r.discard(p.fd)
	}
	return true
}

// tell turns a connection away, and keeps it in place i.
func (r *spares) tell(i, fd int, why *refusal) {
	r.say(fd, why)
	r.places[i] = place{fd: fd, told: time.Now()}
	if !r.sweeps {
		r.sweeps = true
		time.AfterFunc(lingerTime, r.sweep)
	}
}

// say sends the answer, and the end of the stream behind it.
func (r *spares) say(fd int, why *refusal) {
	n, _ := netpoll.Recv(fd, r.buf[:]) // mostly the request is there by now, and may be of HEAD
	netpoll.Send(fd, why.to(r.buf[:n]).response(time.Now()))
	netpoll.CloseWrite(fd)
}

// discard reads what has come, which would make a reset of the end, and closes.
func (r *spares) discard(fd int) {
	for range lingerBytes / len(r.buf) {
		if _, err := netpoll.Recv(fd, r.buf[:]); err != nil {
			break
		}
	}
	netpoll.Close(fd)
}

// sweep ends those that were told long enough ago.
func (r *spares) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeps = false
	if !r.opened {
		return
	}
	var soonest time.Duration
	for i, p := range r.places {
		if p.told.IsZero() {
			continue
		}
		if left := lingerTime - time.Since(p.told); left <= 0 {
			r.vacate(i)
		} else if soonest == 0 || left < soonest {
			soonest = left
		}
	}
	r.refill()
	if soonest > 0 {
		r.sweeps = true
		time.AfterFunc(soonest, r.sweep)
	}
}
