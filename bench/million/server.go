package million

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server"
)

// endpoint is the path that the servers serve.
const endpoint = "/ws"

// serverWorker is a process that embeds package server.
type serverWorker struct {
	srv  *server.Server
	ep   *server.Endpoint
	addr net.Addr
}

func (w *serverWorker) obey(_ context.Context, o order, r *report) error {
	switch {
	case o.Serve != nil:
		if err := w.serve(*o.Serve); err != nil {
			return err
		}
		r.Addr = w.addr.String()
	case o.Every != nil:
		return w.setEvery(*o.Every)
	}
	return nil
}

func (w *serverWorker) serve(o serveOrder) error {
	l, err := netpoll.ListenTCP(o.Addr, true)
	if err != nil {
		return err
	}
	woohoo := server.PrepareText("Woohoo!")
	w.addr = l.Addr()
	w.srv = &server.Server{MaxConns: o.Conns, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	w.ep = w.srv.Handle(endpoint, server.Options{OnTick: func(c *server.Conn) {
		if o.Work > 0 {
			spin(o.Work)
		}
		c.Send(woohoo)
	}})
	go w.srv.Serve(l)
	return nil
}

// setEvery changes the interval of every connection. Each gets the next phase of the endpoint's sequence,
// so they are spread over the new interval however fast this goes through them.
func (w *serverWorker) setEvery(every time.Duration) error {
	for c := range w.ep.Conns() {
		if err := c.SetEvery(every); err != nil && err != server.ErrClosed {
			return err
		}
	}
	return nil
}

func (w *serverWorker) count(r *report) {
	if w.srv == nil {
		return
	}
	st := w.srv.Stats()
	r.Counts[sent], r.Counts[ticks], r.Counts[skipped] = int64(st.MessagesOut), int64(st.Ticks), int64(st.Skipped)
	r.Late = st.Lateness.Counts
	for i, bound := range st.Lateness.Bounds {
		if bound <= onTime {
			r.Counts[punctual] += int64(r.Late[i])
		}
	}
}

// close leaves the connections to the end of the process: their clients are gone.
func (w *serverWorker) close() {}

// spin takes processor time, as a handler that works does.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}
