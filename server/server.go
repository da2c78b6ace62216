package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpool/stillpool/netpoll"
	"github.com/stillpool/stillpool/server/wheel"
)

// Server holds connections and writes to them on time. The zero value is ready to use; the fields
// must not be changed once it serves. Its methods may be called from any goroutine.
type Server struct {
	// Addr is what ListenAndServe listens on, host:port as for net.Listen. Empty is localhost:8080.
	Addr string
	// Handler answers requests whose path is no endpoint's, on the same port: HTTP/1.0 and 1.1 by the
	// standard library's server. Nil answers 404. A connection that it hijacks has the methods of a
	// *net.TCPConn or *net.UnixConn that need the stream: CloseRead, CloseWrite, ReadFrom, WriteTo, SyscallConn.
	Handler http.Handler
	// Logger takes what the server has to say. Nil is slog.Default.
	Logger *slog.Logger

	// Poller is the backend of the event loops. Empty is netpoll.Epoll.
	Poller netpoll.Backend
	// Loops is how many event loops share the connections. 0 is one for every two processors.
	Loops int
	// Workers bounds the goroutines for handlers that proved slow: so many of them may block at
	// once and cost nobody else anything. 0 is 1024. Options.Authorize has as many beside it, and
	// ticks and close events that prove slow an eighth of that each, which blocking message handlers
	// can't take.
	Workers int
	// ReusePort lets several processes share the port of ListenAndServe (SO_REUSEPORT).
	ReusePort bool

	// MaxConns bounds the connections of any stage, those that Handler has too; one too many is told
	// 503. 0 is what the descriptors allow.
	MaxConns int
	// MaxConnsPerAddress bounds the connections of one client address, of any stage; one too many is
	// told 429. 0 is none, because behind a proxy all clients have one. What counts is the
	// address that RemoteAddr says; unix sockets, and clients that a trusted proxy hides, have none.
	MaxConnsPerAddress int
	// IPv4Prefix and IPv6Prefix are the length, in bits, of what MaxConnsPerAddress takes for one
	// address. 0 is 32 and 64: an IPv6 client mostly has a network of 64 bits to itself.
	IPv4Prefix, IPv6Prefix int
	// MaxHandshakes bounds the connections that are not upgraded yet, nor handed to Handler; one too
	// many is told 503. 0 is 65536.
	MaxHandshakes int
	// HandshakeRate bounds the connections that come in a second, over the whole server; past it they
	// are told 503. 0 is none.
	HandshakeRate int
	// HandshakeBurst is how many may come at once before HandshakeRate counts. 0 is as many as may
	// come in a second.
	HandshakeBurst int
	// TrustedProxies are the networks of proxies. From those, X-Forwarded-For and Forwarded (RFC 7239)
	// give the client's address to RemoteAddr: the last that they name which is not a proxy's itself.
	// An endpoint's handshakes are read so, and not the requests that Handler gets. The zero Prefix
	// stands for peers of unix sockets. A client whose address the proxy hides, or writes in no form that is known,
	// has none: RemoteAddr is the zero AddrPort, and MaxConnsPerAddress does not count it. Where Forwarded is malformed,
	// or the two differ, the peer gets 400. X-Forwarded-Host, or the host of Forwarded, is what the origin of a
	// page is compared with.
	TrustedProxies []netip.Prefix
	// MaxHeaderBytes bounds the head of a handshake or of the first plain request of a connection;
	// a longer one is rejected with 431. 0 is 16 KiB, which leaves room for several cookies.
	MaxHeaderBytes int
	// HandshakeTimeout bounds the time from accept to a whole head; a slower one is told 408. It
	// bounds Options.Authorize too; there the peer is told 503. 0 is 10 s.
	HandshakeTimeout time.Duration
	// BodyTimeout bounds the wait for the body of a request that Handler or Options.Plain serves. Reading the
	// body fails with os.ErrDeadlineExceeded when less than 4 KiB of it, or less than its rest, come in that
	// time; the time between two reads does not count. A handler that sets a read deadline of its own, by
	// http.ResponseController, takes the place of the timeout. The size of a body is the handler's to bound
	// (http.MaxBytesReader), and so is the time that the response takes. 0 is 1 min; negative is never.
	BodyTimeout time.Duration
	// CloseTimeout bounds the wait for the answer to a close frame, from when the peer has taken that frame. While
	// the frame and what is queued before it wait, the peer has to make progress: to take 4 KiB, or all that is
	// left, in each CloseTimeout. 0 is 5 s.
	CloseTimeout time.Duration
	// DrainDelay is how long Shutdown waits before it refuses handshakes and says goodbye to anybody, while
	// Ready says no: longer than a balancer takes to notice. 0 does not wait.
	DrainDelay time.Duration
	// DrainTime is how long Shutdown takes to say goodbye to all connections, evenly, so that their
	// clients don't come back all at once. Until each is told, it is served as ever; new handshakes are
	// told 503 with Retry-After. 0 tells all of them at once.
	DrainTime time.Duration
	// DrainCode is what Shutdown's close frames say: one that may be sent, as CodeRestart. 0 is
	// CodeGoingAway.
	DrainCode Code
	// DrainReason is the text with it, at most 123 bytes of UTF-8. Empty is a fixed text.
	DrainReason string
	// UserTimeout ends a connection whose peer acknowledges nothing for this time though bytes are under way;
	// Options.Keepalive finds the peers to which nothing is sent. A peer that does not read is not gone: its kernel
	// acknowledges. So TCP_USER_TIMEOUT, which ends both, is not set. 0 is 30 s; negative leaves it to the kernel.
	UserTimeout time.Duration
	// InboundBudget bounds, in bytes, all half-received messages and handshakes of the process
	// together, and one connection to as much as is left for all others. A handshake over it is told
	// 503, and a message over it closes its connection with 1013. 0 is 256 MiB.
	InboundBudget int64
	// OutboundBudget bounds, in bytes, all that waits in the process for peers to read. When it is spent,
	// those give way for which most waits, give or take a factor of two, and the others never notice:
	// where Options.Overflow forgets, the older half of their messages; elsewhere they are closed with 1013,
	// and what waits for them is dropped. 0 is 256 MiB.
	OutboundBudget int64
	// WindowBudget bounds, in bytes, the windows of all connections with Compression.ContextTakeover.
	// When it is spent, further connections are agreed with without context takeover. 0 is 256 MiB.
	WindowBudget int64

	// NoTrim leaves it to Go's runtime when to collect what a storm of connections left behind and
	// when to give free memory back to the operating system. Otherwise that is done once when, after
	// a thousand connections or more, none has come or gone for a second (debug.FreeOSMemory); it
	// concerns the memory of the whole process.
	NoTrim bool

	inbound, outbound, windows budget
	trim                       trimmer
	pool                       pool
	squeezing                  turnstile // long messages that are being deflated or inflated
	ids                        atomic.Uint64
	conns                      atomic.Int64
	plain                      atomic.Int64                  // of conns, those that net/http has
	told                       atomic.Int64                  // of conns, those that are there only to be told that they can't be
	proxies                    proxies                       // TrustedProxies
	shaking                    atomic.Int64                  // of conns, those whose handshake is under way
	refusedOutside             [RefusalReasons]atomic.Uint64 // handshakes that net/http had
	addresses                  addresses
	pace                       bucket
	spares                     spares
	complaints                 [limits]complaint
	badOrigins                 originRejections
	complains                  atomic.Bool // there is something to say of them
	exhausted                  atomic.Bool // an acceptor rests for want of a descriptor
	goodbyes                   goodbyes
	stopping                   atomic.Bool     // Close was called, or Shutdown and its times are over
	sealed                     atomic.Bool     // since then the last acceptor has ended: no connection comes any more
	cutShort                   atomic.Int64    // connections that a shutdown ended before their peers had taken what waited
	cut                        atomic.Bool     // Close was called, or the time of Shutdown is over
	wanted                     context.Context // until Shutdown or Close: what a handshake waits for
	unwanted                   context.CancelFunc

	begin     sync.Once
	beginErr  error
	running   atomic.Pointer[[]*loop] // set once, by begin
	clock     clock
	endpoints atomic.Pointer[map[string]*Endpoint]

	mu         sync.Mutex
	acceptors  map[*acceptor]bool
	web        *web
	idle       chan struct{} // closed when, after stopping, no connection is left
	ended      chan struct{} // closed when the loops end
	goroutines sync.WaitGroup
	number     uint64       // among the servers of the process, see inside.go
	inside     atomic.Int64 // handlers that are inside Shutdown
}

// Handle makes an endpoint at path, which requests must name exactly. It panics if path does not
// begin with a slash, is taken, or if o is wrong: that is the program's mistake. It may be called
// while the server serves.
func (s *Server) Handle(path string, o Options) *Endpoint {
	if !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("server: path %q does not begin with a slash", path))
	}
	opts, origins, err := o.withDefaults()
	if err != nil {
		panic(err)
	}
	ep := &Endpoint{srv: s, path: path, opts: opts, origins: origins}
	ep.slow.lane, ep.slowTicks.lane = &s.pool.handlers, &s.pool.ticks
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*Endpoint{path: ep}
	if old := s.endpoints.Load(); old != nil {
		for p, e := range *old {
			if p == path {
				panic(fmt.Sprintf("server: path %q has an endpoint already", path))
			}
			all[p] = e
		}
	}
	s.endpoints.Store(&all)
	return ep
}

func (s *Server) endpoint(path []byte) *Endpoint {
	if all := s.endpoints.Load(); all != nil {
		return (*all)[string(path)]
	}
	return nil
}

// ListenAndServe listens on Addr and serves until Shutdown or Close; then it returns
// ErrServerClosed. A port that is taken, and the like, is an error at once.
func (s *Server) ListenAndServe() error {
	if s.stopping.Load() {
		return ErrServerClosed
	}
	addr := s.Addr
	if addr == "" {
		addr = "localhost:8080"
	}
	l, err := netpoll.Listen(addr, s.ReusePort)
	if err != nil {
		return err
	}
	return s.serve(l, false)
}

// Serve serves connections from l until Shutdown or Close, which close l; then it returns
// ErrServerClosed. It takes any listener with a descriptor: TCP, unix, or inherited, but not one of
// crypto/tls; and one of ProxyProtocol. Several listeners may be served at once.
func (s *Server) Serve(l net.Listener) error {
	through, proxied := l.(proxyListener)
	if proxied {
		l = through.Listener
	}
	own, err := netpoll.FromListener(l)
	if err != nil {
		return err
	}
	return s.serve(own, proxied)
}

func (s *Server) serve(l *netpoll.Listener, proxied bool) error {
	if err := s.start(); err != nil {
		l.Close()
		return err
	}
	a, err := s.accept(l, proxied)
	if err != nil {
		l.Close()
		return err
	}
	<-a.done
	return ErrServerClosed
}

// accept puts a listener on a loop.
func (s *Server) accept(l *netpoll.Listener, proxied bool) (*acceptor, error) {
	a := &acceptor{srv: s, listener: l, proxied: proxied, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Draining() {
		return nil, ErrServerClosed
	}
	s.spares.open()
	loops := s.loops()
	a.loop = loops[len(s.acceptors)%len(loops)]
	s.acceptors[a] = true
	token := a.loop.addAcceptor(a)
	if err := a.loop.poll.Add(l.FD, token, netpoll.Read); err != nil {
		delete(s.acceptors, a)
		return nil, err
	}
	return a, nil
}

// loops are the event loops; none before the server started.
func (s *Server) loops() []*loop {
	if p := s.running.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Server) log() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}

func (s *Server) maxHeader() int { return orDefault(s.MaxHeaderBytes, defaultMaxHeader) }

func (s *Server) maxHandshakes() int64 { return int64(orDefault(s.MaxHandshakes, defaultHandshakes)) }

func (s *Server) handshakeTimeout() time.Duration {
	return orDefault(s.HandshakeTimeout, defaultHandshakeTimeout)
}

func (s *Server) bodyTimeout() time.Duration { return orDefault(s.BodyTimeout, defaultBodyTimeout) }

func (s *Server) closeTimeout() wheel.Time {
	return ticksOf(orDefault(s.CloseTimeout, defaultCloseTimeout))
}

// userTimeout returns 0 for none.
func (s *Server) userTimeout() wheel.Time {
	return ticksOf(max(0, orDefault(s.UserTimeout, defaultUserTimeout)))
}

// cutOff tells that connections are to end without any more ado.
func (s *Server) cutOff() bool { return s.cut.Load() }

func orDefault[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
