package stress

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/server"
)

// Paths of a subject.
const (
	tickedPath = "/ticked" // ?every= is the interval
	echoPath   = "/echo"
	idlePath   = "/idle" // nothing happens by itself: for those who come and go

	statsPath = "/stats" // server.Stats as JSON
	loadPath  = "/load"  // POST ?every= and ?work=, for all that are ticked
	dropPath  = "/drop"  // POST: the server closes all that are idle
)

// Subject is a server under stress.
type Subject struct {
	srv    *server.Server
	ticked *server.Endpoint
	idle   *server.Endpoint
	work   atomic.Int64 // nanoseconds that a tick handler computes
	woohoo *server.Prepared
}

// NewSubject makes a server that is ready to serve.
func NewSubject(logger *slog.Logger) *server.Server {
	s := &Subject{srv: &server.Server{Logger: logger}, woohoo: server.PrepareText("Woohoo!")}
	echo := func(c *server.Conn, m server.Message) { c.Forward(m) }
	s.ticked = s.srv.Handle(tickedPath, server.Options{OnOpen: s.opened, OnTick: s.tick, OnMessage: echo})
	s.idle = s.srv.Handle(idlePath, server.Options{OnMessage: echo})
	s.srv.Handle(echoPath, server.Options{OnMessage: echo})
	s.srv.Handler = s.steering()
	return s.srv
}

// opened takes the interval from the query; none is no ticks.
func (s *Subject) opened(c *server.Conn, r *server.Request) {
	if every := r.Query().Get("every"); every != "" {
		if d, err := time.ParseDuration(every); err != nil || c.SetEvery(d) != nil {
			c.CloseWith(server.CodePolicy, "every is no interval")
		}
	}
}

// tick works as long as it was told to, as a handler does that computes what it sends.
func (s *Subject) tick(c *server.Conn) {
	if work := time.Duration(s.work.Load()); work > 0 {
		for start := time.Now(); time.Since(start) < work; {
		}
	}
	c.Send(s.woohoo)
}

// steering is what is asked and ordered by plain HTTP.
func (s *Subject) steering() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statsPath, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(s.srv.Stats())
	})
	mux.HandleFunc("POST "+loadPath, func(w http.ResponseWriter, r *http.Request) {
		if err := s.load(r.FormValue("every"), r.FormValue("work")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("POST "+dropPath, func(http.ResponseWriter, *http.Request) {
		for c := range s.idle.Conns() {
			c.CloseWith(server.CodeRestart, "")
		}
	})
	return mux
}

// load changes what ticks cost, and then their interval on every connection. Each gets the next phase of
// the endpoint's sequence, so they are spread over the new interval.
func (s *Subject) load(every, work string) error {
	d, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	w, err := time.ParseDuration(work)
	if err != nil {
		return err
	}
	s.work.Store(int64(w))
	for c := range s.ticked.Conns() {
		if err := c.SetEvery(d); err != nil && err != server.ErrClosed {
			return fmt.Errorf("every %v: %w", d, err)
		}
	}
	return nil
}
