package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stillpool/stillpool/server"
)

// serveCmd are the flags of "stillpool serve", each also a variable of the environment.
type serveCmd struct {
	Addr               string        `default:"localhost:8080" env:"STILLPOOL_ADDR" placeholder:"HOST:PORT" help:"Address to listen on; port 0 takes a free one; unix:/path is a unix socket (default: ${default})."`
	SocketMode         string        `env:"STILLPOOL_SOCKET_MODE" placeholder:"OCTAL" help:"Permissions of that unix socket, like 0660 (default: as the umask has it)."`
	Every              time.Duration `default:"1s" env:"STILLPOOL_EVERY" help:"How often each connection is sent Woohoo!"`
	WriteTimeout       time.Duration `default:"10s" env:"STILLPOOL_WRITE_TIMEOUT" help:"Give a connection up when its client takes less than 4 KiB of what waits in this time."`
	Keepalive          time.Duration `default:"50s" env:"STILLPOOL_KEEPALIVE" help:"Ping a connection that gave no sign of life for so long; 0 is never."`
	PongTimeout        time.Duration `default:"20s" env:"STILLPOOL_PONG_TIMEOUT" help:"Give a connection up when a ping has waited so long for an answer."`
	DrainDelay         time.Duration `default:"0s" env:"STILLPOOL_DRAIN_DELAY" help:"At the end, be not ready (/readyz) for so long before anything else, so that balancers notice."`
	DrainTime          time.Duration `default:"0s" env:"STILLPOOL_DRAIN_TIME" help:"Spread the closes at the end over such a time, so that the clients don't come back all at once."`
	DrainCode          int           `default:"1001" enum:"1001,1012" env:"STILLPOOL_DRAIN_CODE" help:"Close code at the end: 1001, going away, or 1012, service restart."`
	MaxConns           int           `env:"STILLPOOL_MAX_CONNS" placeholder:"N" help:"Refuse connections beyond N with status 503 (default: as many as the limit of descriptors has room for)."`
	MaxConnsPerAddress int           `env:"STILLPOOL_MAX_CONNS_PER_ADDRESS" placeholder:"N" help:"Refuse connections of one address beyond N with status 429 (default: no such bound)."`
	IPv4Prefix         int           `name:"ipv4-prefix" default:"32" env:"STILLPOOL_IPV4_PREFIX" placeholder:"BITS" help:"How much of an IPv4 address counts for that (default: ${default})."`
	IPv6Prefix         int           `name:"ipv6-prefix" default:"64" env:"STILLPOOL_IPV6_PREFIX" placeholder:"BITS" help:"How much of an IPv6 address counts for that (default: ${default})."`
	MaxHandshakes      int           `env:"STILLPOOL_MAX_HANDSHAKES" placeholder:"N" help:"Refuse connections with status 503 while N are not upgraded yet (default: 65536)."`
	HandshakeRate      int           `env:"STILLPOOL_HANDSHAKE_RATE" placeholder:"N" help:"Refuse connections beyond N a second with status 503 (default: no such bound)."`
	HandshakeBurst     int           `env:"STILLPOOL_HANDSHAKE_BURST" placeholder:"N" help:"Connections that may come at once before the rate counts (default: as many as in a second)."`
	MaxHeaderBytes     int           `env:"STILLPOOL_MAX_HEADER_BYTES" placeholder:"N" help:"Refuse a request head longer than N bytes, as of large cookies, with status 431 (default: 16384)."`
	TrustedProxies     []string      `env:"STILLPOOL_TRUSTED_PROXIES" placeholder:"PREFIX" help:"Proxies whose X-Forwarded-For, X-Forwarded-Host and Forwarded are believed: addresses, networks like 10.0.0.0/8, or unix; repeatable, or with commas."`
	ProxyProtocol      bool          `env:"STILLPOOL_PROXY_PROTOCOL" help:"Each connection begins with a PROXY header, version 1 or 2; with --trusted-proxies, from those only."`
	Loops              int           `env:"STILLPOOL_LOOPS" placeholder:"N" help:"Event loops (default: one for every two processors)."`
	Workers            int           `env:"STILLPOOL_WORKERS" placeholder:"N" help:"Goroutines at the most for handlers that block (default: 1024)."`
	Poller             string        `default:"epoll" enum:"epoll,easygo" env:"STILLPOOL_POLLER" help:"What waits for the sockets: ${enum}."`
	ReusePort          bool          `env:"STILLPOOL_REUSE_PORT" help:"Let several processes share the port (SO_REUSEPORT)."`
	Origins            []string      `env:"STILLPOOL_ORIGINS" placeholder:"ORIGIN" help:"Further origins whose pages may connect, like https://*.example.com:*, file:// or chrome-extension://id; repeatable, or with commas."`
	Compression        string        `default:"on" enum:"off,on,context" env:"STILLPOOL_COMPRESSION" help:"permessage-deflate on /echo, where the client offers it: off, on, or with the context kept from message to message."`
	LogLevel           string        `default:"info" enum:"debug,info,warn,error" env:"STILLPOOL_LOG_LEVEL" help:"How much to log: ${enum}."`
	LogFormat          string        `default:"text" enum:"text,json" env:"STILLPOOL_LOG_FORMAT" help:"How to log: ${enum}."`
	Profile            string        `default:"" enum:",cpu,heap,allocs,mutex,block,goroutine,threads,trace,clock" env:"STILLPOOL_PROFILE" placeholder:"MODE" help:"Write a profile: cpu, heap, allocs, mutex, block, goroutine, threads, trace or clock."`
	ProfileDir         string        `default:"." env:"STILLPOOL_PROFILE_DIR" placeholder:"DIR" help:"Folder of the profile; an older one of the same mode is replaced (default: ${default})."`
	Admin              string        `env:"STILLPOOL_ADMIN" placeholder:"[HOST:]PORT" help:"Serve metrics, health and live profiles there, on an address of their own; without a host for this machine only (default: nowhere)."`
	Pprof              string        `env:"STILLPOOL_PPROF" placeholder:"[HOST:]PORT" help:"Serve live profiles there, under /debug/pprof/, on an address of their own; without a host for this machine only (default: nowhere)."`
}

// Help is what "stillpool serve --help" says beside the flags.
func (*serveCmd) Help() string {
	return `Endpoints:

    /           a page that opens a connection and shows how late each message comes
    /ws         sends Woohoo! every second, and takes {"msg":"stuff!"}
    /echo       sends every message back as it came
    /broadcast  sends every message, of 64 KiB at the most, to all of its connections
    /stats      the server's counts, as JSON

Anything but stuff closes its /ws connection: binary, and text that is not JSON, with code 1003; other JSON with 1008.

With --addr unix:/path it listens on a unix socket, and replaces one that a process which was killed has left behind. Clients need the permission to write to it (--socket-mode); at the end it is removed. Under a service manager that passes sockets on (LISTEN_FDS, as systemd does), those are served in the place of --addr.

With --admin there are, on that address:

    /metrics       the server's counts and those of the Go runtime, for Prometheus
    /healthz       200 while the event loops answer, else 503: restart the process
    /readyz        200 while connections are taken, else 503: send them elsewhere
    /debug/pprof/  live profiles

Pages of the same origin may connect. While only this machine can reach the address, so may every page that this machine serves, and pages opened from a file; not behind a proxy.

The log goes to standard error. At level info the first ten "Got stuff!" of a second get a line each, and the others one line together, with their count; at debug every one gets its line, with the connection and its address.

SIGINT and SIGTERM close every connection in order and end the process; a second one ends it at once. With --drain-delay, /readyz says so for a while before anything else happens. With --drain-time the closes are spread over that time; meanwhile who comes is told 503 and when to come again. A profile is written whole either way.

Examples:

    stillpool serve
    stillpool serve --addr :8080 --origins https://example.com
    stillpool serve --addr unix:/run/stillpool.sock --socket-mode 0660 --trusted-proxies unix
    stillpool serve --every 100ms --log-level debug
    stillpool serve --profile cpu --profile-dir /tmp/profile
    stillpool serve --admin :9090    (in another shell: curl http://localhost:9090/metrics)
    stillpool serve --pprof :6060    (in another shell: go tool pprof http://localhost:6060/debug/pprof/profile)
    STILLPOOL_ADDR=:9000 STILLPOOL_LOG_FORMAT=json stillpool serve`
}

// longest bounds the durations among the flags: far beyond use, and well within what package server
// can time.
const longest = 24 * time.Hour

// mostHandshakes bounds --handshake-rate and --handshake-burst, well within what package server takes.
const mostHandshakes = 1_000_000

// Validate refuses what the flags' types let through.
func (s *serveCmd) Validate() error {
	switch {
	case s.Every < time.Millisecond || s.Every > longest || s.Every%time.Millisecond != 0:
		return fmt.Errorf("--every: want whole milliseconds from 1ms to %v, got %v", longest, s.Every)
	case s.WriteTimeout < time.Millisecond || s.WriteTimeout > longest:
		return fmt.Errorf("--write-timeout: want 1ms to %v, got %v", longest, s.WriteTimeout)
	case s.Keepalive < 0 || s.Keepalive > longest:
		return fmt.Errorf("--keepalive: want 0 to %v, got %v", longest, s.Keepalive)
	case s.PongTimeout < time.Millisecond || s.PongTimeout > longest:
		return fmt.Errorf("--pong-timeout: want 1ms to %v, got %v", longest, s.PongTimeout)
	case s.DrainDelay < 0 || s.DrainDelay > longest:
		return fmt.Errorf("--drain-delay: want 0 to %v, got %v", longest, s.DrainDelay)
	case s.DrainTime < 0 || s.DrainTime > longest:
		return fmt.Errorf("--drain-time: want 0 to %v, got %v", longest, s.DrainTime)
	case s.MaxConns < 0 || s.Loops < 0 || s.Workers < 0:
		return errors.New("--max-conns, --loops and --workers can't be negative")
	case s.MaxConnsPerAddress < 0 || s.MaxHandshakes < 0 || s.HandshakeRate < 0 || s.HandshakeBurst < 0:
		return errors.New("--max-conns-per-address, --max-handshakes, --handshake-rate and --handshake-burst can't be negative")
	case s.MaxHeaderBytes < 0:
		return errors.New("--max-header-bytes can't be negative")
	case s.HandshakeRate > mostHandshakes || s.HandshakeBurst > mostHandshakes:
		return fmt.Errorf("--handshake-rate and --handshake-burst: want %d at the most", mostHandshakes)
	case s.IPv4Prefix < 1 || s.IPv4Prefix > 32:
		return fmt.Errorf("--ipv4-prefix: want 1 to 32, got %d", s.IPv4Prefix)
	case s.IPv6Prefix < 1 || s.IPv6Prefix > 128:
		return fmt.Errorf("--ipv6-prefix: want 1 to 128, got %d", s.IPv6Prefix)
	}
	if _, err := proxies(s.TrustedProxies); err != nil {
		return err
	}
	for _, x := range []struct{ flag, addr string }{{"--admin", s.Admin}, {"--pprof", s.Pprof}} {
		if x.addr == "" {
			continue
		}
		if _, err := asideAddr(x.flag, x.addr); err != nil {
			return err
		}
	}
	if err := s.checkSocket(); err != nil {
		return err
	}
	return checkOrigins(s.Origins)
}

// checkOrigins finds malformed patterns, which package server would take for the program's mistake.
func checkOrigins(origins []string) error {
	if err := (server.Options{Origins: origins}).Check(); err != nil {
		return fmt.Errorf("--origins: %w", err)
	}
	return nil
}

// Run serves until a signal comes.
func (s *serveCmd) Run(to streams) error {
	// From here on a signal is noted, also while the rest is being set up.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	logger := s.logger(to.err)
	maxConns := s.connections(logger)
	ls, err := s.listen()
	if err != nil {
		return err
	}
	defer closeAll(ls)
	hide, err := servePprof(s.Pprof, logger)
	if err != nil {
		return err
	}
	defer hide() // last of all, so that one can look at an end that takes long
	stop, file, err := startProfile(s.Profile, s.ProfileDir)
	if err != nil {
		return err
	}
	defer stop() // after the connections are closed, so that their end is profiled too
	if file != "" {
		logger.Info("Profiling", "mode", s.Profile, "file", file)
	}
	return s.serve(ls, maxConns, logger, signals, to)
}
