package server

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// originRejections is what the log says of handshakes that were rejected by their origin: a page of another
// site, or a proxy that changes Host, which its operator finds here.
type originRejections struct {
	complaint
	last atomic.Pointer[rejectedOrigin]
}

// rejectedOrigin is one of them.
type rejectedOrigin struct{ origin, host, path string }

// noteOrigin counts a handshake for the log if err says that it was rejected by its origin. The caller calls
// complain afterwards.
func (s *Server) noteOrigin(ep *Endpoint, h *head, err error) {
	if err != errOrigin {
		return
	}
	b := &s.badOrigins
	// The log shows one in complainEvery, so the others cost no copy.
	if time.Now().Unix()-b.said.Load() >= int64(complainEvery/time.Second) {
		b.last.Store(&rejectedOrigin{clip(h.origin), clip(h.askedHost()), ep.path})
	}
	b.n.Add(1)
	s.complains.Store(true)
}

// log writes a line for all rejections since the last, if it is time.
func (b *originRejections) log(to *slog.Logger, now int64) {
	if last := b.last.Load(); last != nil && b.due(now) {
		to.Info("handshakes rejected by origin", "count", b.n.Swap(0), "origin", last.origin, "host", last.host, "path", last.path)
	}
}

// clip returns what the log shows of a peer's words.
func clip(p []byte) string { return string(p[:min(len(p), 200)]) }
