package main

import "sync"

// roster is the connections of /broadcast, for a library that has no such set of its own.
type roster[C comparable] struct {
	mu    sync.Mutex
	conns map[C]struct{}
}

func newRoster[C comparable](s *settings) *roster[C] {
	r := &roster[C]{conns: map[C]struct{}{}}
	s.count("members", r.len)
	return r
}

func (r *roster[C]) join(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = struct{}{}
}

func (r *roster[C]) leave(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *roster[C]) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// all is a copy: who is sent to may leave because of it.
func (r *roster[C]) all() []C {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]C, 0, len(r.conns))
	for c := range r.conns {
		all = append(all, c)
	}
	return all
}

// memberQueue is how many broadcasts may wait for a connection that has a writing goroutine. A
// member that is so far behind is closed, as in the chat examples of gorilla and coder.
const memberQueue = 256
