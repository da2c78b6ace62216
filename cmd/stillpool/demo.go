package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/stillpool/stillpool/server"
)

// maxBroadcast bounds a message to /broadcast, in bytes: it goes out once for each connection.
const maxBroadcast = 64 << 10

// maxEcho bounds a message to /echo, in bytes: conformance suites go up to 16 MiB.
const maxEcho = 16 << 20

// loopbackOrigins are the pages that may connect while only this machine can reach the server: those
// that this machine serves, and those opened from a file, whose origin is null.
var loopbackOrigins = []string{
	"http://localhost:*", "https://localhost:*",
	"http://*.localhost:*", "https://*.localhost:*",
	"http://127.0.0.1:*", "https://127.0.0.1:*",
	"http://[::1]:*", "https://[::1]:*",
	"null",
}

// demo is the demonstration application: what /ws, /echo, /broadcast and the page do.
type demo struct {
	logger  *slog.Logger
	woohoo  *server.Prepared
	stuff   *sampler // messages that were stuff
	refused *sampler // messages that were not
}

func newDemo(logger *slog.Logger) *demo {
	return &demo{
		logger:  logger,
		woohoo:  server.PrepareText("Woohoo!"),
		stuff:   newSampler(logger, slog.LevelInfo, "Got stuff!"),
		refused: newSampler(logger, slog.LevelWarn, "Refused a message"),
	}
}

// ws are the options of /ws, beside those that all endpoints have: a Woohoo! every so often, and stuff back.
func (d *demo) ws(o server.Options, every time.Duration) server.Options {
	o.Every = every
	o.MaxMessage = maxStuff
	o.OnTick = func(c *server.Conn) { c.Send(d.woohoo) }
	o.OnMessage = d.message
	// A handler that has nothing to say need not be called for each of a million connections.
	if d.logger.Enabled(context.Background(), slog.LevelDebug) {
		o.OnOpen = d.opened
		o.OnClose = d.closed
	}
	return o
}

func (d *demo) message(c *server.Conn, m server.Message) {
	no := judge(m.Kind, m.Data)
	if no == nil {
		if d.stuff.count() {
			d.stuff.line(who(c)...)
		}
		return
	}
	if d.refused.count() {
		d.refused.line(append(who(c), slog.Int("code", int(no.code)), slog.String("reason", no.reason),
			slog.Int("bytes", len(m.Data)), slog.String("data", excerpt(m.Data)))...)
	}
	c.CloseWith(no.code, no.reason)
}

func (d *demo) opened(c *server.Conn, _ *server.Request) {
	d.logger.LogAttrs(context.Background(), slog.LevelDebug, "Opened", who(c)...)
}

func (d *demo) closed(c *server.Conn, why server.Closing) {
	attrs := append(who(c), slog.String("cause", why.Cause.String()), slog.Int("code", int(why.Code)),
		slog.String("reason", excerpt([]byte(why.Reason))))
	if why.Err != nil {
		attrs = append(attrs, slog.String("error", why.Err.Error()))
	}
	d.logger.LogAttrs(context.Background(), slog.LevelDebug, "Closed", attrs...)
}

// who says which connection a line is about.
func who(c *server.Conn) []slog.Attr {
	return []slog.Attr{slog.Uint64("conn", c.ID()), slog.String("remote", c.RemoteAddr().String())}
}

// compressions are the values of --compression.
var compressions = map[string]server.Compression{
	"off":     {},
	"on":      {Enabled: true},
	"context": {Enabled: true, ContextTakeover: true},
}

// echo are the options of /echo, beside those that all endpoints have: every message back as it came.
func echo(o server.Options, compression server.Compression) server.Options {
	o.MaxMessage = maxEcho
	// Reading pauses when PauseReadingAt is passed, and at half of the backlog at the latest. So this takes
	// the largest message and its header while one like it is being read.
	o.Backlog = 2*maxEcho + 64
	o.Compression = compression
	o.OnMessage = func(c *server.Conn, m server.Message) { c.Forward(m) }
	return o
}

// broadcast are the options of /broadcast, beside those that all endpoints have: a message from any connection
// goes to all of them. Who is so slow that its backlog is full is closed; the others don't wait for it.
func broadcast(o server.Options) server.Options {
	o.MaxMessage = maxBroadcast
	o.OnMessage = func(c *server.Conn, m server.Message) {
		// A message that came has been checked, so this can't fail.
		if p, err := server.Prepare(m.Kind, m.Data); err == nil {
			c.Endpoint().Broadcast(p)
		}
	}
	return o
}

// mount makes srv serve the demonstration. What o says holds for all of its endpoints.
func (d *demo) mount(srv *server.Server, o server.Options, every time.Duration, compression server.Compression) {
	ticked := srv.Handle("/ws", d.ws(o, every))
	echoed := srv.Handle("/echo", echo(o, compression))
	everybody := srv.Handle("/broadcast", broadcast(o))
	srv.Handler = newPage(func() counts {
		s := srv.Stats()
		return counts{
			EveryMS:     every.Milliseconds(),
			Connections: int64(ticked.Len() + echoed.Len() + everybody.Len()),
			Stuff:       d.stuff.total(),
			Ticks:       int64(s.Ticks),
			Skipped:     int64(s.Skipped),
		}
	})
}

// allowedOrigins are the given origins and, while only this machine can reach the listeners, its own. A unix
// socket is for a proxy, which others can reach.
func allowedOrigins(ls []net.Listener, more []string) []string {
	for _, l := range ls {
		if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
			return more
		}
	}
	return append(loopbackOrigins[:len(loopbackOrigins):len(loopbackOrigins)], more...)
}
