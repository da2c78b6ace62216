package server

import (
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file is the goroutines that take turns with connections, and what each may run. Those that serve a
// loop run everything that is quick. What proved slow runs on the pool, whose lanes can't take each
// other's capacity.

// role is the kind of work that a goroutine does.
type role uint8

const (
	onLoop      role = iota // serves a loop: must not be held up
	onHandlers              // pool: open and message events
	onTicks                 // pool: ticks
	onCloses                // pool: close events
	onInflates              // pool: long compressed messages, which cost processor time
	onQuestions             // pool: Authorize, for peers that may not be authorized
)

// worker is a goroutine that takes turns with connections: what it is there for, and its buffers.
type worker struct {
	role  role
	srv   *Server
	now   wheel.Time // when the batch was taken, for a loop; the present, for others
	stage state      // of the connection in hand, as it was when last looked at
	buf   []byte     // for one read
	dec   decoder    // for a connection that has nothing half received

	tailed []byte // for a compressed message and its tail

	// running is the kind of the handler that a loop's goroutine is in, for the watchdog.
	running atomic.Pointer[slowness]
	// out is that handler, once the loop was replaced while it ran.
	out atomic.Pointer[outCall]
	// tickAt is when the tick of connection tickOf came up, as the wheel had it; tickEvery is its interval.
	tickOf    uint64
	tickAt    wheel.Time
	tickEvery uint32

	batchRead int        // bytes that a loop read since it took its batch
	brief     bool       // the connection in hand has bulkFrom bytes for its turn, and not turnBytes
	yield     bool       // the connection in hand has had its share
	gaveWay   wheel.Time // to the loops, on the pool
	req       Request    // for a handshake
}

// mayHandle reports whether w may run open and message handlers of ep.
func (w *worker) mayHandle(ep *Endpoint) bool {
	return w.role == onHandlers || w.role == onLoop && !ep.slow.is(w.now)
}

// mayTick reports whether w may run tick handlers of ep.
func (w *worker) mayTick(ep *Endpoint) bool {
	return w.role == onTicks || w.role == onHandlers || w.role == onLoop && !ep.slowTicks.is(w.now)
}

// mayClose reports whether w may run close handlers of ep.
func (w *worker) mayClose(ep *Endpoint) bool {
	return w.role == onCloses || w.role == onLoop && !ep.slow.is(w.now)
}

// mayRead reports whether w may read, and so find messages. A worker of the other lanes may not:
// a message handler must not take the capacity of ticks.
func (w *worker) mayRead() bool { return w.role == onLoop || w.role == onHandlers }

// start and timed bracket a handler. On the pool they measure it; on a loop the watchdog looks at it, and
// no clock is read.
func (w *worker) start(s *slowness) time.Time {
	if w.role == onLoop {
		w.running.Store(s)
		return time.Time{}
	}
	s.inside.Add(1)
	return time.Now()
}

func (w *worker) timed(s *slowness, start time.Time) {
	if w.role != onLoop {
		s.inside.Add(-1)
		s.took(time.Since(start))
		return
	}
	w.running.Store(nil)
	if o := w.out.Load(); o != nil {
		w.out.Store(nil)
		o.returned()
	}
}
