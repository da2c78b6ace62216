package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server"
)

// closeTimeout is so long that even a client that gets no processor for a while hears what it is owed.
const closeTimeout = 20 * time.Second

// ServeChild is the whole work of the server's process. It ends when in does; ^C is not for it.
func ServeChild(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt)
	return serve(in, out, ways{})
}

// ways are how the server does what it may do wrong. The zero value does it right; tests have others.
type ways struct {
	send    func(g *guest, kind server.Kind, data []byte) (server.Outcome, error)
	message func(g *guest, m server.Message, then func(server.Message))
	closed  func(g *guest, then func())
	all     func(r *room, p *server.Prepared) server.Tally
}

func (w *ways) fill() {
	if w.send == nil {
		w.send = (*guest).write
	}
	if w.message == nil {
		w.message = func(_ *guest, m server.Message, then func(server.Message)) { then(m) }
	}
	if w.closed == nil {
		w.closed = func(_ *guest, then func()) { then() }
	}
	if w.all == nil {
		w.all = func(r *room, p *server.Prepared) server.Tally { return r.ep.Broadcast(p) }
	}
}

// house is the server and what it knows of its connections.
type house struct {
	srv   *server.Server
	book  *book
	ways  ways
	mouth *mouth
	rooms []*room
	did   *tally

	baseline footprint
	opens    atomic.Int64
	closes   atomic.Int64
	in, out  atomic.Int64
	refused  atomic.Int64
	dropped  atomic.Int64
	aside    atomic.Int64 // goroutines of wishes

	mu     sync.Mutex
	guests []*guest // that are open, in no order
}

// room is a place that is served.
type room struct {
	*place
	ep          *server.Endpoint
	mu          sync.Mutex // held while a broadcast is under way
	begun, done atomic.Uint32
}

// serve carries orders out, one after the other, until there are no more.
func serve(in io.Reader, out io.Writer, w ways) error {
	w.fill()
	h := &house{mouth: newMouth(out), ways: w, did: newTally(deeds)}
	defer h.end()
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("soak: orders of the server: %w", err)
		}
		h.mouth.say(report{State: h.obey(o)})
	}
}

func (h *house) obey(o order) *state {
	if o.Seed != 0 {
		addr, err := h.begin(o.Seed)
		if err != nil {
			return &state{Seq: o.Seq, Error: err.Error()}
		}
		s := h.state(o.Seq)
		s.Addr = addr
		return s
	}
	if o.Settle > 0 {
		h.settle(o.Settle)
	}
	return h.state(o.Seq)
}

func (h *house) begin(seed uint64) (addr string, err error) {
	h.book = newBook(seed)
	h.srv = &server.Server{Logger: slog.New(slog.DiscardHandler), CloseTimeout: closeTimeout, HandshakeTimeout: closeTimeout}
	for _, p := range places {
		h.rooms = append(h.rooms, h.open(p))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- h.srv.Serve(l) }()
	for h.srv.Ready() != nil {
		select {
		case err := <-ended:
			return "", err
		case <-time.After(time.Millisecond):
		}
	}
	go h.tellRecords()
	h.baseline = takeFootprint()
	return l.Addr().String(), nil
}

// tellRecords is there until the process ends.
func (h *house) tellRecords() {
	for range time.Tick(20 * time.Millisecond) {
		h.mouth.say(report{})
	}
}

func (h *house) end() {
	if h.srv != nil {
		_ = h.srv.Shutdown(context.Background())
	}
}

func (h *house) found(what, format string, values ...any) {
	h.mouth.say(report{Findings: []Finding{{what, fmt.Sprintf(format, values...)}}})
}

// footprint is what a process has that must not grow.
type footprint struct{ goroutines, descriptors int }

func takeFootprint() footprint {
	entries, _ := os.ReadDir("/proc/self/fd")
	return footprint{runtime.NumGoroutine(), len(entries)}
}

// settle waits until nothing of any connection is left, and collects. What is left after so long is told by
// the state.
func (h *house) settle(most time.Duration) {
	for deadline := time.Now().Add(most); time.Now().Before(deadline) && !h.quiet(); {
		time.Sleep(10 * time.Millisecond)
	}
	runtime.GC() // pools keep what they have over one collection
	runtime.GC()
	debug.FreeOSMemory()
}

func (h *house) quiet() bool {
	s, now := h.state(0), takeFootprint()
	return s.Conns == 0 && s.Held == 0 && s.Working == 0 && s.Opens == s.Closes &&
		now.goroutines <= h.baseline.goroutines && now.descriptors <= h.baseline.descriptors
}

func (h *house) state(seq int) *state {
	st, now := h.srv.Stats(), takeFootprint()
	s := &state{
		Seq: seq, Opens: h.opens.Load(), Closes: h.closes.Load(), In: h.in.Load(), Out: h.out.Load(), Refused: h.refused.Load(), Dropped: h.dropped.Load(),
		Conns: st.Conns, Held: st.InboundHeld + st.OutboundHeld + st.WindowsHeld,
		Working:    int(h.aside.Load()) + st.Handlers.Running + st.TickLane.Running + st.Closes.Running + st.Inflates.Running,
		Goroutines: now.goroutines, Descriptors: now.descriptors, Heap: liveHeap(),
		MoreGoroutines: now.goroutines - h.baseline.goroutines, MoreDescriptors: now.descriptors - h.baseline.descriptors,
		Did: h.did.counts(),
	}
	return s
}

// liveHeap is what the last collection left.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
