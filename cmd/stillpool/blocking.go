package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

// This file is both ends of one measurement: an echo whose handler sleeps where a message asks for it,
// and the clients that ask.

const (
	blockedHandlers = 200
	blockTime       = 100 * time.Millisecond
	longestBlock    = time.Second
	// blockPatience is how long a blocking client waits for an answer beyond what it asked for.
	blockPatience = 10 * time.Second
)

// blockingCmd serves an echo at /echo, where a text message is how long the handler is to block before
// it sends it back: a duration as Go writes it. It is not for people.
type blockingCmd struct {
	Addr string `default:"127.0.0.1:0"`
}

// Run implements the subcommand.
func (c *blockingCmd) Run(to streams) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	s := &serveCmd{Addr: c.Addr, LogLevel: "warn", LogFormat: "text"}
	l, err := s.listen()
	if err != nil {
		return err
	}
	defer l.Close()
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		return fmt.Errorf("%v is not a loopback address", ip)
	}
	logger := s.logger(to.err)
	srv := &server.Server{Logger: logger}
	srv.Handle("/echo", server.Options{OnMessage: blockAndEcho})
	fmt.Fprintf(to.out, "Blocking is at %s\n", s.url(l.Addr()))
	return supervise(srv, l, drainTime, signals, logger)
}

func blockAndEcho(c *server.Conn, m server.Message) {
	if m.Kind == server.Text {
		d, err := time.ParseDuration(string(m.Data))
		if err != nil || d < 0 || d > longestBlock {
			c.CloseWith(server.CodePolicy, "want a duration of a second at the most")
			return
		}
		time.Sleep(d)
	}
	c.Write(m.Kind, m.Data)
}

// blockers are clients that keep handlers blocked: each sends when it has its answer.
type blockers struct {
	stop     context.CancelFunc
	done     sync.WaitGroup
	answered atomic.Int64
	failed   chan error // the first error, if there is one
}

// startBlockers has n of them at work, each with an answer already, when it returns.
func startBlockers(ctx context.Context, addr string, n int, block time.Duration) (*blockers, error) {
	ctx, stop := context.WithCancel(ctx)
	b := &blockers{stop: stop, failed: make(chan error, 1)}
	var first sync.WaitGroup
	first.Add(n)
	for range n {
		b.done.Go(func() {
			if err := b.keepBlocking(ctx, addr, block, sync.OnceFunc(first.Done)); err != nil && ctx.Err() == nil {
				select {
				case b.failed <- err:
				default:
				}
			}
		})
	}
	first.Wait()
	if err := b.err(); err != nil {
		return nil, errors.Join(err, b.end())
	}
	return b, nil
}

// keepBlocking is one of them. It calls ready when it has had an answer, or never will.
func (b *blockers) keepBlocking(ctx context.Context, addr string, block time.Duration, ready func()) error {
	defer ready()
	dialed, cancel := context.WithTimeout(ctx, blockPatience)
	defer cancel()
	conn, _, _, err := ws.Dial(dialed, "ws://"+addr+"/echo") // it sends nothing before it is asked
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	want := block.String()
	for {
		if err := conn.SetDeadline(time.Now().Add(block + blockPatience)); err != nil {
			return err
		}
		if err := wsutil.WriteClientText(conn, []byte(want)); err != nil {
			return err
		}
		got, err := wsutil.ReadServerText(conn)
		if err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("asked to block for %s, answered %q", want, got)
		}
		b.answered.Add(1)
		ready()
	}
}

// err is why one of them gave up, or nil.
func (b *blockers) err() error {
	select {
	case err := <-b.failed:
		return fmt.Errorf("a client that lets handlers block: %w", err)
	default:
		return nil
	}
}

// end ends them, and tells whether all were at work until then.
func (b *blockers) end() error {
	err := b.err()
	b.stop()
	b.done.Wait()
	return err
}

// compareBlocking measures the echoes of others on an endpoint of which so many handlers block, and
// before that while none does.
func compareBlocking(ctx context.Context, rounds int, duration time.Duration) (*bench.Comparison, error) {
	j := bench.Job{Echo: &bench.EchoOptions{
		Options: bench.Options{Conns: 500, Duration: duration, Settle: 200 * time.Millisecond, SlopeFrom: -1}, Size: 64, Rate: 1_000,
	}}
	result := &bench.Comparison{
		Name: "blocking", Title: fmt.Sprintf("Echoes beside %d handlers that block for %v", blockedHandlers, blockTime),
		Started: time.Now(), Machine: bench.ThisMachine(), Job: j,
		Servers: []bench.Contestant{{Name: own}, {Name: undisturbed}},
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, own)
		beside, quiet, err := measureBlocking(ctx, j)
		if err != nil {
			return nil, err
		}
		result.Servers[0].Rounds = append(result.Servers[0].Rounds, beside)
		result.Servers[1].Rounds = append(result.Servers[1].Rounds, quiet)
	}
	return result, nil
}

// measureBlocking is one round.
func measureBlocking(ctx context.Context, j bench.Job) (beside, quiet bench.Sample, err error) {
	srv, err := startServer(ctx, "bench", "blocking")
	if err != nil {
		return beside, quiet, err
	}
	defer func() { err = errors.Join(err, srv.end()) }()
	j = j.At(srv.addr, srv.pid, "")
	if quiet, err = j.Run(ctx); err != nil {
		return beside, quiet, err
	}
	b, err := startBlockers(ctx, srv.addr, blockedHandlers, blockTime)
	if err != nil {
		return beside, quiet, err
	}
	beside, err = j.Run(ctx)
	err = errors.Join(err, b.end())
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what an interruption left is no measurement
	}
	return beside, quiet, err
}
