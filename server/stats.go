package server

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// Stats are counts since the server was made, but for those that are said to be of now.
type Stats struct {
	Conns       int // now: connections of any stage, from accept to the end of OnClose
	Handshaking int // now: of Conns, those whose handshake is under way
	Open        int // now: those that are upgraded and not closing
	Closing     int // now: those whose end has begun, or that are told why they are refused
	PlainHTTP   int // now: those that Server.Handler has
	Parting     int // now: those that Shutdown has yet to say goodbye to
	MaxConns    int // Server.MaxConns

	// AcceptQueue is now: connections that wait in the kernel for the server's TCP listeners, and
	// AcceptQueueLimit how many may. Past it tries are dropped, and each comes again a second later.
	AcceptQueue, AcceptQueueLimit int
	HandshakingLimit              int // Server.MaxHandshakes, as it is in force

	Accepted  uint64 // connections that came, also those refused
	Rests     uint64 // times that accepting rested, with no descriptor or memory left to turn anybody away with
	Closed    uint64 // connections that had been upgraded
	Abandoned uint64 // that ended before their upgrade, neither answered nor refused
	BadInput  uint64 // that broke the protocol or a limit
	Panics    uint64 // of handlers, and those that ended their goroutine (runtime.Goexit)

	// Handshakes are those that got an HTTP error, or no answer for RefusedPreface; also by
	// Endpoint.ServeHTTP, where their connection is net/http's and not among those accepted.
	Handshakes    uint64
	RefusedBy     [RefusalReasons]uint64 // Handshakes by RefusalReason
	ClosedByCause [Causes]uint64         // Closed by Closing.Cause
	ClosedByCode  [CodeClasses]uint64    // Closed by the class of Closing.Code

	MessagesIn  uint64 // whole messages from peers
	MessagesOut uint64 // frames taken for peers, sent or queued
	Refused     uint64 // messages refused for a full backlog
	DroppedNew  uint64 // messages forgotten for a full backlog before they were taken
	DroppedOld  uint64 // of MessagesOut, those that waited, and were forgotten for the sake of later ones
	BytesIn     uint64 // read from peers
	BytesOut    uint64 // of the frames taken for peers

	DeflatedIn     uint64 // of MessagesIn, those that came compressed
	DeflatedOut    uint64 // of MessagesOut, those that went compressed
	InflatedIn     uint64 // bytes of the former, after inflating
	InflatedOut    uint64 // bytes of the latter, before compressing
	DeflateSkipped uint64 // long messages that went as they were, because enough were being compressed

	Ticks    uint64    // ticks run
	Late     uint64    // of Ticks, those late by more than a tenth of their interval
	Skipped  uint64    // ticks left out, because they were late by a whole interval
	Lateness Histogram // of the ticks run, from due to written

	Pings uint64 // sent by Options.Keepalive

	// ReadPauses are the times that a connection's messages were not read on, because its peer did not
	// read: Options.PauseReadingAt, or half of Options.Backlog.
	ReadPauses uint64

	InboundHeld   int64 // now: bytes of half-received messages and handshakes
	InboundLimit  int64 // Server.InboundBudget, as it is in force
	OutboundHeld  int64 // now: bytes that wait for peers, in the process
	OutboundLimit int64 // Server.OutboundBudget
	Slow          int   // now: connections for which a KiB waits in the process, or more

	Shed      uint64 // times that a connection gave way to others, because OutboundBudget was spent
	ShedBytes uint64 // what it had waiting, and has not any more

	WindowsHeld  int64 // now: bytes reserved for windows of compression
	WindowsLimit int64 // Server.WindowBudget

	Handlers    Lane // now: the pool's share for open and message handlers
	TickLane    Lane // now: its share for ticks
	Closes      Lane // now: its share for close handlers
	Inflates    Lane // now: its share for inflating long messages
	Authorizing Lane // now: its share for Options.Authorize
	// Deposed counts replacements of a loop's goroutine that made no progress for 4 to 8 ms: its handler
	// takes long, or it lacked a processor.
	Deposed  uint64
	Offloads [OffloadReasons]uint64 // verdicts that an endpoint's handlers are slow and run on the pool, by OffloadReason

	Loops    int // event loops; 0 before the server serves
	RunQueue int // now: connections that wait for another turn on their loop
	// LoopLag is how long the loops took to answer when asked whether they get on, each once a second and
	// by Server.Healthy: what an event that came at that moment waited for those before it.
	LoopLag Histogram
	// LoopStalled is now: for how long a loop has not answered, the longest of all loops. While they get
	// on it is next to nothing.
	LoopStalled time.Duration

	Endpoints []EndpointStats // by path
}

// EndpointStats are of an endpoint, now.
type EndpointStats struct {
	Path string // as given to Server.Handle
	Open int    // connections; one whose OnClose has not returned counts
	// HandedOver reports that its handlers proved slow a moment ago, so they run on the pool.
	HandedOver bool
}

// Lane is the state of a share of the worker pool.
type Lane struct {
	Limit   int // goroutines at the most
	Running int // goroutines
	Waiting int // connections that wait for one
}

// Histogram counts durations by upper bound.
type Histogram struct {
	Bounds []time.Duration // upper bounds, inclusive, ascending
	Counts []uint64        // one more than Bounds: the last is for what is above all of them
	Sum    time.Duration   // of all of them
}

func newHistogram() Histogram {
	return Histogram{Bounds: latenessBounds[:], Counts: make([]uint64, len(latenessBounds)+1)}
}

func (h *Histogram) add(from *histogram) {
	addAll(h.Counts, from.counts[:])
	h.Sum += time.Duration(from.sum.Load())
}

// Count is how many durations there were.
func (h *Histogram) Count() uint64 { return sum(h.Counts) }

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
// change. It may be called from any goroutine, and takes each loop's lock for a moment.
func (s *Server) Stats() Stats {
	st := Stats{
		Conns:            int(s.conns.Load()),
		Handshaking:      int(s.shaking.Load()),
		PlainHTTP:        int(s.plain.Load()),
		Parting:          int(s.goodbyes.untold.Load()),
		MaxConns:         s.MaxConns,
		HandshakingLimit: int(s.maxHandshakes()),
		InboundHeld:      s.inbound.used.Load(),
		OutboundHeld:     s.outbound.used.Load(),
		WindowsHeld:      s.windows.used.Load(),
		Lateness:         newHistogram(),
		LoopLag:          newHistogram(),
		Endpoints:        s.endpointStats(),
	}
	for i := range s.refusedOutside {
		st.RefusedBy[i] = s.refusedOutside[i].Load()
	}
	loops := s.loops()
	st.Loops = len(loops)
	for _, l := range loops {
		st.add(&l.stats)
		st.RunQueue += l.waiting()
		st.addAcceptors(l)
		st.Slow += int(l.ranks.n.Load())
		st.LoopStalled = max(st.LoopStalled, l.stalled())
	}
	st.addOffloads(s)
	st.Handshakes, st.Closed = sum(st.RefusedBy[:]), sum(st.ClosedByCause[:])
	if loops != nil { // or limits and pool may be in the making
		st.InboundLimit, st.OutboundLimit, st.WindowsLimit = s.inbound.limit, s.outbound.limit, s.windows.limit
		st.lanes(&s.pool)
	}
	return st
}

// endpointStats are those of all endpoints, by path.
func (s *Server) endpointStats() (all []EndpointStats) {
	if eps := s.endpoints.Load(); eps != nil {
		for _, path := range slices.Sorted(maps.Keys(*eps)) {
			ep := (*eps)[path]
			all = append(all, EndpointStats{path, ep.Len(), ep.slow.marked(s) || ep.slowTicks.marked(s)})
		}
	}
	return all
}

// addOffloads adds the verdicts on the handlers of all endpoints.
func (st *Stats) addOffloads(s *Server) {
	if eps := s.endpoints.Load(); eps != nil {
		for _, ep := range *eps {
			addAll(st.Offloads[:], ep.slow.offloads[:])
			addAll(st.Offloads[:], ep.slowTicks.offloads[:])
		}
	}
}

// addAcceptors adds the kernel's queues of the loop's listeners.
func (st *Stats) addAcceptors(l *loop) {
	l.mu.Lock()
	all := l.acceptors // what it has is never changed, only added to
	l.mu.Unlock()
	for _, a := range all {
		waiting, most := a.queue()
		st.AcceptQueue += waiting
		st.AcceptQueueLimit += most
	}
}

func (st *Stats) lanes(p *pool) {
	for _, x := range []struct {
		to   *Lane
		from *lane
	}{
		{&st.Handlers, &p.handlers}, {&st.TickLane, &p.ticks}, {&st.Closes, &p.closes},
		{&st.Inflates, &p.inflates}, {&st.Authorizing, &p.questions},
	} {
		x.to.Limit = x.from.limit
		x.to.Running, x.to.Waiting = x.from.load()
	}
}

func (st *Stats) add(c *counters) {
	for _, x := range []struct {
		to   *uint64
		from *atomic.Uint64
	}{
		{&st.Accepted, &c.accepted}, {&st.Abandoned, &c.abandoned}, {&st.Rests, &c.rests},
		{&st.MessagesIn, &c.messagesIn}, {&st.MessagesOut, &c.messagesOut},
		{&st.BytesIn, &c.bytesIn}, {&st.BytesOut, &c.bytesOut},
		{&st.Skipped, &c.skipped}, {&st.Pings, &c.pings}, {&st.ReadPauses, &c.readPauses},
		{&st.Refused, &c.refused}, {&st.DroppedNew, &c.droppedNew}, {&st.DroppedOld, &c.droppedOld},
		{&st.Shed, &c.shed}, {&st.ShedBytes, &c.shedBytes}, {&st.BadInput, &c.badInput}, {&st.Panics, &c.panics}, {&st.Deposed, &c.deposed},
		{&st.DeflatedIn, &c.deflatedIn}, {&st.DeflatedOut, &c.deflatedOut},
		{&st.InflatedIn, &c.saidIn}, {&st.InflatedOut, &c.saidOut}, {&st.DeflateSkipped, &c.deflateSkipped},
	} {
		*x.to += x.from.Load()
	}
	// Late is read once, so that Ticks less Late are those on time, and never fewer than before.
	late := c.late.Load()
	st.Ticks, st.Late = st.Ticks+c.onTime.Load()+late, st.Late+late
	addAll(st.RefusedBy[:], c.handshakes[:])
	addAll(st.ClosedByCause[:], c.causes[:])
	addAll(st.ClosedByCode[:], c.codes[:])
	st.Lateness.add(&c.lateness)
	st.LoopLag.add(&c.lag)
	st.Open += int(c.open.Load())
	st.Closing += int(c.closing.Load())
}

func addAll(to []uint64, from []atomic.Uint64) {
	for i := range from {
		to[i] += from[i].Load()
	}
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
