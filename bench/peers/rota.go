package main

import (
	"sync"
	"time"
)

// rota ticks the connections of a library that has no timers of its own: one goroutine, and each
// connection on its own schedule, counted from when it joined. All have the same period, so that
// the order in which they are due never changes and a queue does what would else take a heap.
//
// A connection leaves when it can't be sent to any more, at its first tick after its end.
type rota[C any] struct {
	every time.Duration
	send  func(C) error // an error ends the connection's turns

	mu    sync.Mutex
	ring  []turn[C]
	head  int
	count int
}

type turn[C any] struct {
	due  time.Time
	conn C
}

func newRota[C any](s *settings, send func(C) error) *rota[C] {
	r := &rota[C]{every: s.every, send: send}
	s.count("ticked", r.len)
	go r.run()
	return r
}

// join gives c its first tick a period from now.
func (r *rota[C]) join(c C) {
	r.push(turn[C]{due: time.Now().Add(r.every), conn: c})
}

func (r *rota[C]) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *rota[C]) run() {
	for {
		t, wait := r.pop(time.Now())
		if wait > 0 {
			time.Sleep(wait)
			continue
		}
		r.take(t)
	}
}

// take sends the tick that was due.
func (r *rota[C]) take(t turn[C]) {
	if r.send(t.conn) == nil {
		t.due = t.due.Add(r.every)
		r.push(t)
	}
}

// pop takes the first turn off if it is due, and tells how long to wait if it is not.
func (r *rota[C]) pop(now time.Time) (turn[C], time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == 0 {
		return turn[C]{}, r.every / 10 // a newcomer is not due before
	}
	t := r.ring[r.head]
	if wait := t.due.Sub(now); wait > 0 {
		return turn[C]{}, min(wait, r.every/10)
	}
	r.ring[r.head] = turn[C]{}
	r.head = (r.head + 1) % len(r.ring)
	r.count--
	return t, 0
}

func (r *rota[C]) push(t turn[C]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == len(r.ring) {
		r.grow()
	}
	r.ring[(r.head+r.count)%len(r.ring)] = t
	r.count++
}

func (r *rota[C]) grow() {
	ring := make([]turn[C], max(1024, 2*len(r.ring)))
	n := copy(ring, r.ring[r.head:])
	copy(ring[n:], r.ring[:r.head])
	r.ring, r.head = ring, 0
}
