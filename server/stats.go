package server

import (
	"sync/atomic"
	"time"
)

// counters are kept a loop, so that loops don't share cache lines; Stats adds them up.
type counters struct {
	accepted, closed        atomic.Uint64
	messagesIn, messagesOut atomic.Uint64
	bytesIn, bytesOut       atomic.Uint64
	ticks, skipped          atomic.Uint64
	pings                   atomic.Uint64
	refused                 atomic.Uint64
	badInput, panics        atomic.Uint64
	deposed                 atomic.Uint64
	refusedHandshakes       atomic.Uint64
	turned                  [limits]atomic.Uint64
	rests                   atomic.Uint64
	deflatedIn, deflatedOut atomic.Uint64
	saidIn, saidOut         atomic.Uint64
	deflateSkipped          atomic.Uint64
	lateness                histogram
}

// latenessBounds are the upper bounds of the lateness histogram, but for the last bucket, which has
// none.
var latenessBounds = [...]time.Duration{
	500 * time.Microsecond, 1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 500 * time.Millisecond, 1 * time.Second, 2 * time.Second, 5 * time.Second,
}

type histogram struct {
	counts [len(latenessBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(latenessBounds) && d > latenessBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Stats are counts since the server was made, but for those that are said to be of now.
type Stats struct {
	Conns       int    // now: connections of any stage, also before the upgrade
	Handshaking int    // now: of Conns, those whose handshake is under way
	Parting     int    // now: connections that Shutdown has yet to say goodbye to
	Accepted    uint64 // connections that came, also those refused
	Closed      uint64 // that had been upgraded
	Handshakes  uint64 // refused: those that got an HTTP error
	BadInput    uint64 // connections that broke the protocol or a limit
	Panics      uint64 // of handlers

	TurnedAway TurnedAway // of Accepted, those that a limit of the server was against
	Rests      uint64     // times that accepting rested, with no descriptor left to turn anybody away with

	MessagesIn  uint64 // whole messages from peers
	MessagesOut uint64 // frames taken for peers, sent or queued
	Refused     uint64 // messages refused for a full backlog
	BytesIn     uint64 // read from peers
	BytesOut    uint64 // of the frames taken for peers

	DeflatedIn     uint64 // of MessagesIn, those that came compressed
	DeflatedOut    uint64 // of MessagesOut, those that went compressed
	InflatedIn     uint64 // bytes of the former, after inflating
	InflatedOut    uint64 // bytes of the latter, before compressing
	DeflateSkipped uint64 // long messages that went as they were, because enough were being compressed

	Ticks    uint64    // ticks run
	Skipped  uint64    // ticks left out, because they were late by a whole interval
	Lateness Histogram // of the ticks run

	Pings uint64 // sent by Options.Keepalive

	InboundHeld  int64 // now: bytes of half-received messages and handshakes
	OutboundHeld int64 // now: bytes that wait for peers, in the process
	WindowsHeld  int64 // now: bytes reserved for windows of compression

	Handlers    Lane   // now: the pool's share for open and message handlers
	TickLane    Lane   // now: its share for ticks
	Closes      Lane   // now: its share for close handlers
	Inflates    Lane   // now: its share for inflating long messages
	Authorizing Lane   // now: its share for Options.Authorize
	Deposed     uint64 // times that a handler overstayed, and its loop went to another goroutine
}

// TurnedAway counts connections by the bound that they met.
type TurnedAway struct {
	Descriptors uint64 // the process had none left
	Conns       uint64 // Server.MaxConns
	Address     uint64 // Server.MaxConnsPerAddress
	Handshakes  uint64 // Server.MaxHandshakes
	Rate        uint64 // Server.HandshakeRate
	Preface     uint64 // no PROXY header, or a wrong one: closed without an answer
}

// Lane is the state of a share of the worker pool.
type Lane struct {
	Limit   int // goroutines at the most
	Running int // goroutines
	Waiting int // connections that wait for one
}

// Histogram counts durations by upper bound. From due to written, for ticks.
type Histogram struct {
	Bounds []time.Duration // upper bounds, inclusive, ascending
	Counts []uint64        // one more than Bounds: the last is for what is above all of them
	Sum    time.Duration   // of all of them
}

// Count is how many durations there were.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile is the upper bound of the bucket that holds the q-quantile, 0 ≤ q ≤ 1; the highest bound
// if it is above all of them, and 0 without any counts.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := q * float64(h.Count())
	seen := 0.0
	for i, c := range h.Counts {
		if seen += float64(c); c > 0 && seen >= rank {
			return h.Bounds[min(i, len(h.Bounds)-1)]
		}
	}
	return 0
}

// Stats is a view of what the server counts. The numbers are read one after the other, while they
// change.
func (s *Server) Stats() Stats {
	st := Stats{
		Conns:        int(s.conns.Load()),
		Handshaking:  int(s.shaking.Load()),
		Parting:      int(s.goodbyes.untold.Load()),
		InboundHeld:  s.inbound.used.Load(),
		OutboundHeld: s.outbound.used.Load(),
		WindowsHeld:  s.windows.used.Load(),
		Lateness:     Histogram{Bounds: latenessBounds[:], Counts: make([]uint64, len(latenessBounds)+1)},
	}
	loops := s.loops()
	if loops == nil {
		return st // the pool may be in the making
	}
	for _, l := range loops {
		st.add(&l.stats)
	}
	for _, x := range []struct {
		to   *Lane
		from *lane
	}{
		{&st.Handlers, &s.pool.handlers}, {&st.TickLane, &s.pool.ticks},
		{&st.Closes, &s.pool.closes}, {&st.Inflates, &s.pool.inflates}, {&st.Authorizing, &s.pool.questions},
	} {
		x.to.Limit = x.from.limit
		x.to.Running, x.to.Waiting = x.from.load()
	}
	return st
}

func (st *Stats) add(c *counters) {
	for _, x := range []struct {
		to   *uint64
		from *atomic.Uint64
	}{
		{&st.Accepted, &c.accepted}, {&st.Closed, &c.closed},
		{&st.MessagesIn, &c.messagesIn}, {&st.MessagesOut, &c.messagesOut},
		{&st.BytesIn, &c.bytesIn}, {&st.BytesOut, &c.bytesOut},
		{&st.Ticks, &c.ticks}, {&st.Skipped, &c.skipped}, {&st.Pings, &c.pings}, {&st.Refused, &c.refused},
		{&st.BadInput, &c.badInput}, {&st.Panics, &c.panics}, {&st.Deposed, &c.deposed},
		{&st.Handshakes, &c.refusedHandshakes}, {&st.Rests, &c.rests},
		{&st.TurnedAway.Descriptors, &c.turned[limitDescriptors]}, {&st.TurnedAway.Conns, &c.turned[limitConns]},
		{&st.TurnedAway.Address, &c.turned[limitAddress]}, {&st.TurnedAway.Handshakes, &c.turned[limitHandshakes]},
		{&st.TurnedAway.Rate, &c.turned[limitRate]}, {&st.TurnedAway.Preface, &c.turned[limitPreface]},
		{&st.DeflatedIn, &c.deflatedIn}, {&st.DeflatedOut, &c.deflatedOut},
		{&st.InflatedIn, &c.saidIn}, {&st.InflatedOut, &c.saidOut}, {&st.DeflateSkipped, &c.deflateSkipped},
	} {
		*x.to += x.from.Load()
	}
	for i := range c.lateness.counts {
		st.Lateness.Counts[i] += c.lateness.counts[i].Load()
	}
	st.Lateness.Sum += time.Duration(c.lateness.sum.Load())
}
