package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// This file begins to serve: it checks what the embedder set, and makes loops and pool.

// start opens the loops, once. An endpoint in somebody else's http.Server starts them too.
func (s *Server) start() error {
	s.begin.Do(func() { s.beginErr = s.open() })
	if s.beginErr == nil && s.stopping.Load() {
		return ErrServerClosed
	}
	return s.beginErr
}

func (s *Server) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return ErrServerClosed
	}
	if err := s.check(); err != nil {
		return err
	}
	s.number, s.clock.start = serverNumbers.Add(1), time.Now()
	s.wanted, s.unwanted = context.WithCancel(context.Background())
	s.inbound.limit = orDefault(s.InboundBudget, defaultInboundBudget)
	s.outbound.limit = orDefault(s.OutboundBudget, defaultOutboundBudget)
	s.windows.limit = orDefault(s.WindowBudget, defaultWindowBudget)
	var err error
	if s.proxies, err = listProxies(s.TrustedProxies); err != nil {
		return err
	}
	s.addresses.set(s.MaxConnsPerAddress, orDefault(s.IPv4Prefix, defaultIPv4Prefix), orDefault(s.IPv6Prefix, defaultIPv6Prefix))
	if s.HandshakeRate > 0 {
		s.pace.set(s.HandshakeRate, orDefault(s.HandshakeBurst, s.HandshakeRate))
	}
	workers, procs := orDefault(s.Workers, defaultWorkers), runtime.GOMAXPROCS(0)
	s.pool.handlers.open(s, onHandlers, procs, workers)
	s.pool.ticks.open(s, onTicks, procs, max(workers/8, 1))
	s.pool.closes.open(s, onCloses, procs, max(workers/8, 1))
	s.pool.inflates.open(s, onInflates, procs, max(procs/2, 1))
	s.pool.questions.open(s, onQuestions, procs, workers)
	s.squeezing.limit = int32(s.pool.inflates.limit)
	s.acceptors = make(map[*acceptor]bool)
	s.idle, s.ended = make(chan struct{}), make(chan struct{})
	var loops []*loop
	for range orDefault(s.Loops, max(1, procs/2)) {
		l, err := newLoop(s)
		if err != nil {
			for _, l := range loops {
				l.close()
			}
			return err
		}
		loops = append(loops, l)
	}
	s.web = newWeb(s)
	s.running.Store(&loops)
	for _, l := range loops {
		l.start()
	}
	s.goroutines.Add(1)
	go s.pulse()
	return nil
}

// check finds limits that can't be held. Negative ones are no way to say "without bound", but for
// UserTimeout.
func (s *Server) check() error {
	switch {
	case s.Loops < 0, s.Workers < 0, s.MaxConns < 0, s.MaxHeaderBytes < 0, s.HandshakeTimeout < 0,
		s.CloseTimeout < 0, s.DrainDelay < 0, s.DrainTime < 0, s.InboundBudget < 0, s.OutboundBudget < 0, s.WindowBudget < 0,
		s.MaxConnsPerAddress < 0, s.IPv4Prefix < 0, s.IPv6Prefix < 0, s.MaxHandshakes < 0,
		s.HandshakeRate < 0, s.HandshakeBurst < 0:
		return errors.New("server: negative limit in Server")
	case s.IPv4Prefix > 32 || s.IPv6Prefix > 128:
		return fmt.Errorf("server: prefixes of %d and %d bits, of addresses of 32 and 128", s.IPv4Prefix, s.IPv6Prefix)
	case s.HandshakeRate > maxRate || s.HandshakeBurst > maxBurst:
		return fmt.Errorf("server: HandshakeRate of more than %d a second, or HandshakeBurst of more than %d", maxRate, maxBurst)
	case max(s.HandshakeTimeout, s.CloseTimeout, s.DrainDelay, s.DrainTime, s.UserTimeout) > maxTimer:
		return fmt.Errorf("server: timeout longer than %v", maxTimer)
	}
	if bye := s.goodbye(); checkGoodbye(bye.Code, bye.Reason) != nil {
		return fmt.Errorf("server: DrainCode or DrainReason: %w", checkGoodbye(bye.Code, bye.Reason))
	}
	return nil
}
