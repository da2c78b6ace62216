package soak

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/stillpool/stillpool/server"
)

// Parent and server speak in lines of JSON: orders to the server's standard input, reports from its standard
// output. The server ends when its input does.

// order is what the server is to do.
type order struct {
	Seq  int    `json:"seq"`
	Seed uint64 `json:"seed,omitempty"` // with the first one: begin to serve
	// Settle is how long to wait at most until nothing of any connection is left.
	Settle time.Duration `json:"settle_ns,omitempty"`
}

// report is what the server says: one of the fields is set.
type report struct {
	Records  []record  `json:"records,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	State    *state    `json:"state,omitempty"` // the answer to an order
}

// record is the server's account of a connection that has closed.
type record struct {
	Number   uint32       `json:"n"`
	Path     string       `json:"path"`
	Got      uint32       `json:"got"`      // messages of the client's
	Accepted uint32       `json:"accepted"` // messages for the client, Sent or Queued, broadcasts left out
	Chain    chain        `json:"chain"`    // of those
	Last     chain        `json:"last"`     // of the last of them
	Refused  uint32       `json:"refused"`  // messages for it, broadcasts left out
	Dropped  uint32       `json:"dropped"`  // likewise
	AllFrom  uint32       `json:"all_from"` // broadcasts from here on began after it was open,
	AllTo    uint32       `json:"all_to"`   // and those below were done at its last event but the close
	Cause    server.Cause `json:"cause"`
	Code     server.Code  `json:"code"`
	Err      string       `json:"err,omitempty"`
}

// state is what the server says of itself.
type state struct {
	Seq   int    `json:"seq"`
	Addr  string `json:"addr,omitempty"` // host and port
	Error string `json:"error,omitempty"`

	Opens   int64 `json:"opens"`
	Closes  int64 `json:"closes"`
	In      int64 `json:"in"`  // messages of clients
	Out     int64 `json:"out"` // messages accepted for clients, broadcasts included
	Refused int64 `json:"refused"`
	Dropped int64 `json:"dropped"`

	Conns   int   `json:"conns"`   // of any stage, by Server.Stats
	Held    int64 `json:"held"`    // bytes, by its budgets
	Working int   `json:"working"` // goroutines of the pool and of wishes

	Goroutines      int `json:"goroutines"`
	Descriptors     int `json:"descriptors"`
	MoreGoroutines  int `json:"more_goroutines"` // than before the first connection
	MoreDescriptors int `json:"more_descriptors"`
	// Heap is what the last collection left of it, which is one of now if it was to settle.
	Heap int64 `json:"heap"`

	Did Counts `json:"did"`
}

// mouth is where reports go, one at a time.
type mouth struct {
	mu  sync.Mutex
	out *json.Encoder
	// records wait to be told together.
	waiting []record
}

func newMouth(w io.Writer) *mouth { return &mouth{out: json.NewEncoder(w)} }

// say tells what waited, and then r. When nobody listens any more, the orders end too.
func (m *mouth) say(r report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) > 0 {
		_ = m.out.Encode(report{Records: m.waiting})
		m.waiting = nil
	}
	if r.State != nil || r.Findings != nil {
		_ = m.out.Encode(r)
	}
}

// keep has a record told with the next ones. They are told often, so that no more wait than connections
// close in a moment.
func (m *mouth) keep(r record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, r)
}
