package server

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// This file sends one message to all connections of an endpoint. Any goroutine runs it.

// Tally is how many connections a message was sent to, queued for, refused by, and dropped for: those of
// each Outcome.
type Tally struct{ Sent, Queued, Refused, Dropped int }

// Broadcast sends a prepared message to every open connection, and returns when each has it or
// queues it; slow readers do not slow it down. Where the connections are many, other goroutines help the
// caller's, one for each processor, so that the last of them does not wait for the first processor only. Of
// two broadcasts, one after the other, all connections have the messages in that order.
func (ep *Endpoint) Broadcast(p *Prepared) (all Tally) {
	var (
		mu   sync.Mutex
		next atomic.Int64
		help sync.WaitGroup
	)
	_ = p.Len() // nil is the caller's mistake, and must not panic on a goroutine that nobody guards
	pages := ep.srv.pages()
	send := func() {
		var part Tally
		var conns []*Conn
		for i := next.Add(1) - 1; i < int64(len(pages)); i = next.Add(1) - 1 {
			conns, _ = pages[i].loop.page(pages[i].page, conns[:0])
			for _, c := range conns {
				if c.isOpenOn(ep) {
					part.count(c.Send(p))
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all.add(part)
	}
	for range min(runtime.GOMAXPROCS(0), len(pages)) - 1 {
		help.Go(send)
	}
	send()
	help.Wait()
	return all
}

func (t *Tally) count(o Outcome, _ error) {
	switch o {
	case Sent:
		t.Sent++
	case Queued:
		t.Queued++
	case Refused:
		t.Refused++
	case Dropped:
		t.Dropped++
	}
}

func (t *Tally) add(part Tally) {
	t.Sent += part.Sent
	t.Queued += part.Queued
	t.Refused += part.Refused
	t.Dropped += part.Dropped
}

// pageOf is a page of a loop's table.
type pageOf struct {
	loop *loop
	page int
}

// pages are those of all loops, at the moment.
func (s *Server) pages() (all []pageOf) {
	for _, l := range s.loops() {
		l.mu.Lock()
		n := len(l.table.pages)
		l.mu.Unlock()
		for i := range n {
			all = append(all, pageOf{l, i})
		}
	}
	return all
}
