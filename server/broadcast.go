package server

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Tally counts the connections of a broadcast by Outcome.
type Tally struct{ Sent, Queued, Refused, Dropped int }

// Broadcast sends a prepared message to every open connection of the endpoint and counts the outcomes.
// It never blocks for a slow reader. Beyond 256 connections, goroutines help the caller's, up to one a
// processor. Two broadcasts of one goroutine reach every connection in their order. Safe for concurrent
// use.
func (ep *Endpoint) Broadcast(p *Prepared) (all Tally) {
	var (
		mu   sync.Mutex
		next atomic.Int64
		help sync.WaitGroup
	)
	_ = p.Len() // a nil message is the caller's mistake: panic here, where the caller can recover
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

// pages returns the pages of all loops as they are now.
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
