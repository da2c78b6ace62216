package server

import (
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file is who may run what. Goroutines that serve a loop run everything that is quick; what
// proved slow runs on the pool, whose lanes can't take each other's capacity.

// role is what a goroutine is there for.
type role uint8

const (
	onLoop      role = iota // serves a loop: must not be held up
	onHandlers              // pool: open and message events
	onTicks                 // pool: ticks
	onCloses                // pool: close events
	onInflates              // pool: long compressed messages, which cost processor time
	onQuestions             // pool: Authorize, for peers who may be anybody
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

	// running is the kind of handlers that was called last, for the watcher to blame.
	running atomic.Pointer[slowness]
	// tickAt is when the tick of connection tickOf came up, as the wheel had it; tickEvery is its interval.
	tickOf    uint64
	tickAt    wheel.Time
	tickEvery uint32

	yield   bool       // the connection in hand has had its share
	gaveWay wheel.Time // to the loops, on the pool
	req     Request    // for a handshake
}

// mayHandle tells whether w may run open and message handlers of ep.
func (w *worker) mayHandle(ep *Endpoint) bool {
	return w.role == onHandlers || w.role == onLoop && !ep.slow.is(w.now)
}

// mayTick tells whether w may run tick handlers of ep.
func (w *worker) mayTick(ep *Endpoint) bool {
	return w.role == onTicks || w.role == onHandlers || w.role == onLoop && !ep.slowTicks.is(w.now)
}

// mayClose tells whether w may run close handlers of ep.
func (w *worker) mayClose(ep *Endpoint) bool {
	return w.role == onCloses || w.role == onLoop && !ep.slow.is(w.now)
}

// mayRead tells whether w may read, and so come upon messages. A worker of the other lanes may not:
// a message handler must not take the capacity of ticks.
func (w *worker) mayRead() bool { return w.role == onLoop || w.role == onHandlers }

// start and timed bracket a handler. On the pool they measure it; on a loop the watcher does that, and
// no clock is read.
func (w *worker) start(s *slowness) time.Time {
	if w.role == onLoop {
		w.running.Store(s)
		return time.Time{}
	}
	return time.Now()
}

func (w *worker) timed(s *slowness, start time.Time) {
	if w.role != onLoop {
		s.took(time.Since(start))
	}
}

// pool runs what was handed over.
type pool struct {
	handlers, ticks, closes, inflates, questions lane
}

// lane is a share of the pool: goroutines, up to a limit, that come when there is work and go when
// there is none; and a queue behind them. A connection stands in a lane once at the most, so the
// queue is bounded by the connections.
//
// How many there are is for handlers that wait for something: of those that compute, more than there
// are processors get nothing done sooner, and each that waits for a processor makes an event loop that
// has become ready wait behind it. So a lane grows only while the processors keep up.
type lane struct {
	srv   *Server
	role  role
	limit int
	procs int // processors of Go's

	mu      sync.Mutex
	running int
	asks    bool // the lane grows by one, crowded or not, when a timer comes
	sample  [1]metrics.Sample
	queue   jobs
	large   jobs // what takes longest, which takes turns with the others
	turns   bool // whose turn is next
	// gone are those of queue that ended without a worker. Nobody can find them there, so they are taken
	// out when they are many.
	gone map[*Conn]bool
}

// forgetFrom is how many of a queue have ended at the least when they are taken out.
const forgetFrom = 64

type jobs []job

// job is a connection to take a turn with, and the mark it has for standing in the queue.
type job struct {
	conn *Conn
	mark state
}

// submit queues a connection. It may be called with the connection's lock held.
func (l *lane) submit(c *Conn, mark state, large bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := &l.queue
	if large {
		to = &l.large
	}
	*to = append(*to, job{c, mark})
	l.recruit()
}

// forget is for a connection that does not wait any more. It may be called with the connection's lock held.
func (l *lane) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return
	}
	if l.gone == nil {
		l.gone = make(map[*Conn]bool)
	}
	l.gone[c] = true
	if len(l.gone) >= max(forgetFrom, len(l.queue)/2) { // so each costs little, whatever their order
		left := slices.DeleteFunc(l.queue, func(j job) bool { return l.gone[j.conn] })
		l.queue, l.gone = slices.Clip(slices.Clone(left)), nil // the room of a storm is given back
	}
}

// workerBuffers are smaller than a loop's: there may be many, and each is held while a handler
// blocks.
const workerBuffer = 8 << 10

var workerBuffers = sync.Pool{New: func() any { return &worker{buf: make([]byte, workerBuffer)} }}

func (l *lane) work() {
	defer l.srv.goroutines.Done()
	defer l.srv.handling.enter()()
	w := workerBuffers.Get().(*worker)
	defer workerBuffers.Put(w)
	w.role, w.srv, w.gaveWay = l.role, l.srv, l.srv.now()
	for fresh := true; ; fresh = false {
		j, ok := l.take(fresh)
		if !ok {
			return
		}
		l.do(w, j)
	}
}

// giveWayEvery is how often who runs one handler after the other lets the loops have their turn, in
// milliseconds: where handlers compute, on all processors, nobody else would.
const giveWayEvery = wheel.Time(2)

func (l *lane) do(w *worker, j job) {
	returned := false
	defer func() {
		if !returned { // the handler called runtime.Goexit, which nothing can stop
			l.quit()
			j.conn.goexited(w)
		}
	}()
	if w.now = l.srv.now(); w.now-w.gaveWay >= giveWayEvery {
		w.gaveWay = w.now
		l.srv.yield()
	}
	j.conn.resume(w, j.mark)
	returned = true
}

// quit ends a goroutine's place in the lane, and has another take it if there is work.
func (l *lane) quit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.recruit()
}

// recruit starts a goroutine if there is work and room for one. The lane's lock is held.
func (l *lane) recruit() {
	switch {
	case len(l.queue)+len(l.large) == 0 || l.running >= l.limit:
	case l.crowded():
		l.askLater()
	default:
		l.enlist()
	}
}

// enlist starts a goroutine. The lane's lock is held.
func (l *lane) enlist() {
	l.running++
	l.srv.goroutines.Add(1)
	go l.work()
}

// crowded tells whether another goroutine would only wait for a processor. The lane's lock is held.
func (l *lane) crowded() bool { return l.running >= l.procs && l.runnable() >= uint64(l.procs) }

// runnable is how many goroutines of the process wait for a processor. To ask takes some 50 ns.
func (l *lane) runnable() uint64 {
	l.sample[0].Name = "/sched/goroutines/runnable:goroutines"
	metrics.Read(l.sample[:])
	if l.sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return l.sample[0].Value.Uint64()
}

// crowdedGrowth is how often a lane grows by one that has work and no processor for it. It may be others
// who keep the processors busy while all of its own wait for something: then it is this that has them
// served.
const crowdedGrowth = 5 * time.Millisecond

// askLater has the lane grow by one after a while, if there is still work. The lane's lock is held.
func (l *lane) askLater() {
	if l.asks {
		return
	}
	l.asks = true
	time.AfterFunc(crowdedGrowth, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asks = false
		if len(l.queue)+len(l.large) > 0 && l.running < l.limit {
			l.enlist()
		}
	})
}

// take gives the next connection, or ends the goroutine's place in the lane. Who has had one already makes
// room in a crowd: that is how a lane of handlers that compute becomes small again.
func (l *lane) take(fresh bool) (job, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := &l.queue
	if l.turns = !l.turns; len(l.queue) == 0 || l.turns && len(l.large) > 0 {
		from = &l.large
	}
	if len(*from) == 0 || !fresh && l.running > l.procs && l.crowded() {
		l.running--
		l.recruit()
		return job{}, false
	}
	j := from.first()
	if len(l.queue) == 0 {
		l.gone = nil
	}
	l.recruit() // who comes first looks whether there is a processor for another one by now
	return j, true
}

// first takes the first job out of a queue that has one.
func (q *jobs) first() job {
	j := (*q)[0]
	(*q)[0] = job{} // what was taken must not be kept alive by the array
	if *q = (*q)[1:]; len(*q) == 0 {
		*q = nil
	}
	return j
}

// full tells whether the next connection would have to wait.
func (l *lane) full() bool {
	if l == nil {
		return false
	}
	running, _ := l.load()
	return running >= l.limit
}

// load tells how many goroutines the lane has and how many connections wait for one.
func (l *lane) load() (running, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running, max(0, len(l.queue)+len(l.large)-len(l.gone))
}
