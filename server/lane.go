package server

import (
	"runtime/metrics"
	"sync"
	"time"

	"github.com/stillpool/stillpool/server/wheel"
)

// This file is the pool's lanes: goroutines that take turns with connections off the loops.

// pool runs what may not run on a loop, or should not.
type pool struct {
	handlers, ticks, closes, inflates, questions lane
}

// lane is a share of the pool: goroutines, up to a limit, that come when there is work and end when
// there is none; and a queue for them. A connection is in a lane's queue at most once, so the queue is
// bounded by the connections.
//
// The limit is made for handlers that wait for something. More handlers that compute than there are
// processors get nothing done sooner, and each that waits for a processor makes an event loop that
// has become ready wait behind it. So a lane grows only while the processors keep up.
type lane struct {
	srv   *Server
	role  role
	limit int
	procs int // processors of Go's

	mu       sync.Mutex
	running  int       // goroutines that have a job, or are on their way to their first
	starting bool      // one is on its way, and starts the next if there is more work
	idle     int       // goroutines that wait for work
	wake     chan bool // for those: true is work, and false is the end
	sweeping bool      // a timer looks whether they are needed
	used     bool      // since it looked last
	closed   bool
	asks     bool // the lane grows by one, crowded or not, when a timer comes
	sample   [1]metrics.Sample
	queue    jobs
	large    jobs // what takes longest; the two queues alternate
	turns    bool // which queue is next
	// gone are those of queue that ended without a worker. They can't be found there, so they are taken
	// out when they are many.
	gone map[*Conn]bool
}

// forgetFrom is the least number of ended jobs that are taken out of a queue.
const forgetFrom = 64

// open makes a lane ready for work. Fields that a test set before stay.
func (l *lane) open(s *Server, r role, procs, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.srv, l.role, l.procs, l.limit = s, r, procs, limit
	l.wake = make(chan bool, procs) // a send never blocks: no more are idle
}

// close ends the goroutines that wait for work, and those that would.
func (p *pool) close() {
	for _, l := range []*lane{&p.handlers, &p.ticks, &p.closes, &p.inflates, &p.questions} {
		l.mu.Lock()
		l.closed = true
		l.dismiss()
		l.mu.Unlock()
	}
}

// submit queues a connection. It may be called with the connection's lock held.
func (l *lane) submit(c *Conn, mark state, large bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := &l.queue
	if large {
		to = &l.large
	}
	to.push(job{c, mark})
	l.recruit()
}

// trySubmit queues a connection if each that is queued will have a goroutine, even where all others block. It
// may be called with the connection's lock held.
func (l *lane) trySubmit(c *Conn, mark state) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running+l.queue.len() >= l.limit {
		return false
	}
	l.queue.push(job{c, mark})
	l.recruit()
	return true
}

// forget is for a connection that does not wait any more. It may be called with the connection's lock held.
func (l *lane) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.len() == 0 {
		return
	}
	if l.gone == nil {
		l.gone = make(map[*Conn]bool)
	}
	l.gone[c] = true
	if len(l.gone) >= max(forgetFrom, l.queue.len()/2) { // so each costs little, whatever their order
		l.queue.remove(func(j job) bool { return l.gone[j.conn] })
		l.gone = nil
	}
}

// workerBuffer is smaller than a loop's buffer: there may be many, and each is held while a handler
// blocks.
const workerBuffer = 8 << 10

var workerBuffers = sync.Pool{New: func() any { return &worker{buf: make([]byte, workerBuffer)} }}

func (l *lane) work() {
	defer l.srv.goroutines.Done()
	w := workerBuffers.Get().(*worker)
	defer workerBuffers.Put(w)
	w.role, w.srv, w.gaveWay = l.role, l.srv, l.srv.now()
	for j, ok := l.take(true); ok; j, ok = l.take(false) {
		l.do(w, j)
	}
}

// giveWayEvery is the period in which a worker that runs one handler after the other yields to the loops,
// in milliseconds. Where handlers compute on all processors, the loops would get none otherwise.
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

// quit takes a goroutine out of the lane, and recruits another if there is work.
func (l *lane) quit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.recruit()
}

// recruit gives a goroutine work, or starts one, if there is work and room. One at a time is on its way: it
// recruits the next when it arrives. So a burst of quick handlers has few goroutines, and where handlers
// block the processor is free for the next at once. l.mu must be held.
func (l *lane) recruit() {
	switch {
	case l.starting || l.waits() == 0 || l.running >= l.limit:
	case l.crowded():
		l.askLater()
	default:
		l.enlist()
	}
}

// waits returns how many jobs are queued. l.mu must be held.
func (l *lane) waits() int { return l.queue.len() + l.large.len() }

// enlist has an idle goroutine go to work, or starts one. l.mu must be held.
func (l *lane) enlist() {
	l.running++
	l.starting, l.used = true, true
	if l.idle > 0 {
		l.idle--
		l.wake <- true
		return
	}
	l.srv.goroutines.Add(1)
	go spell(l.srv.number, l.work)
}

// crowded reports whether another goroutine would only wait for a processor. l.mu must be held.
func (l *lane) crowded() bool { return l.running >= l.procs && l.runnable() >= uint64(l.procs) }

// runnable returns the number of goroutines of the process that wait for a processor. That takes some 50 ns.
func (l *lane) runnable() uint64 {
	l.sample[0].Name = "/sched/goroutines/runnable:goroutines"
	metrics.Read(l.sample[:])
	if l.sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return l.sample[0].Value.Uint64()
}

// crowdedGrowth is the period in which a lane grows by one goroutine though it is crowded. Other work may
// keep the processors busy while all goroutines of the lane wait for something.
const crowdedGrowth = 5 * time.Millisecond

// askLater lets the lane grow by one after a while, if there still is work. l.mu must be held.
func (l *lane) askLater() {
	if l.asks {
		return
	}
	l.asks = true
	time.AfterFunc(crowdedGrowth, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asks = false
		if !l.starting && l.waits() > 0 && l.running < l.limit {
			l.enlist()
		}
	})
}

// take returns the next connection. The calling goroutine waits if there is none and few wait already, and
// otherwise leaves the lane. One that has had a connection makes room in a crowd: that is how a lane of
// handlers that compute becomes small again.
func (l *lane) take(fresh bool) (job, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if fresh {
			l.starting = false
		}
		switch {
		case l.waits() == 0:
			if !l.rest() {
				return job{}, false
			}
			fresh = true
		case !fresh && l.running > l.procs && l.crowded():
			l.running--
			l.recruit()
			return job{}, false
		default:
			return l.next(), true
		}
	}
}

// next takes the first job. l.mu must be held.
func (l *lane) next() job {
	from := &l.queue
	if l.turns = !l.turns; l.queue.len() == 0 || l.turns && l.large.len() > 0 {
		from = &l.large
	}
	j := from.first()
	if l.queue.len() == 0 {
		l.gone = nil
	}
	l.recruit() // there may be a processor for another goroutine by now
	return j
}

// idleFor is the least time that a goroutine of a lane waits for work; twice that is the most. To start one
// for each message costs more.
const idleFor = 100 * time.Millisecond

// rest waits until there is work, and reports false when the goroutine is to end. l.mu must be held.
func (l *lane) rest() bool {
	l.running--
	if l.closed || l.idle >= l.procs {
		return false
	}
	l.idle++
	if !l.sweeping {
		l.sweeping = true
		time.AfterFunc(idleFor, l.sweep)
	}
	l.mu.Unlock()
	defer l.mu.Lock()
	return <-l.wake
}

// sweep ends the idle goroutines of a lane that had no work for a while.
func (l *lane) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sweeping = l.used && !l.closed; l.sweeping {
		l.used = false
		time.AfterFunc(idleFor, l.sweep)
		return
	}
	l.dismiss()
}

// dismiss ends the idle goroutines. l.mu must be held.
func (l *lane) dismiss() {
	for ; l.idle > 0; l.idle-- {
		l.wake <- false
	}
}

// full reports whether the next connection would have to wait.
func (l *lane) full() bool {
	if l == nil {
		return false
	}
	running, _ := l.load()
	return running >= l.limit
}

// load returns the number of goroutines that are at work, and of connections that wait for one.
func (l *lane) load() (running, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running, max(0, l.waits()-len(l.gone))
}
