package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/bench"
)

// misbehaviour names one thing that handlers do wrong, and the clients that keep them at it.
type misbehaviour struct {
	name    string // of the contest, and of its budget
	what    string // in words
	clients bench.Misbehaving
	// limit bounds the 99th percentile of the others' echoes, in milliseconds, on a quiet machine. busyRatio bounds it
	// on a busy one, where an absolute time says little: in times of what it is there while no handler misbehaves.
	// busyLimit does in milliseconds, where others wait for processors that the handlers themselves have.
	limit, busyRatio, busyLimit float64
}

var misbehaviours = []misbehaviour{
	{name: "blocking", what: "200 handlers that block for 100 ms", limit: 10, busyRatio: 3,
		clients: bench.Misbehaving{Ask: "block 100ms", Clients: 200}},
	{name: "blocking-long", what: "200 handlers that block for 2 seconds", limit: 10, busyRatio: 3,
		clients: bench.Misbehaving{Ask: "block 2s", Clients: 200}},
	{name: "computing", what: "50 connections whose handlers compute for 20 ms, and again a second later", limit: 100, busyLimit: 500,
		clients: bench.Misbehaving{Ask: "compute 20ms", Clients: 50, Pause: time.Second}},
	{name: "panics", what: "200 handlers a second that panic, whose clients come again", limit: 10, busyRatio: 3,
		clients: bench.Misbehaving{Ask: "panic", Clients: 20, Pause: 100 * time.Millisecond, Code: ws.StatusInternalServerError}},
	{name: "allocations", what: "a handler that allocates 100 MB and uses it, and again after 100 ms", limit: 10, busyRatio: 3,
		clients: bench.Misbehaving{Ask: "allocate 104857600", Clients: 1, Pause: 100 * time.Millisecond}},
	{name: "callbacks", what: "200 handlers a second that go over all connections, ask the server for its state, close another connection and their own",
		limit: 10, busyRatio: 3,
		clients: bench.Misbehaving{Ask: "call", Clients: 20, Pause: 100 * time.Millisecond, Code: ws.StatusNormalClosure}},
}

// The servers of the contests about misbehaviours, beside the own one.
const (
	undisturbed = "no handler misbehaves"
	// elsewhere is the same misbehaviour in another process: what it takes of the machine, and not of the server.
	elsewhere = "in another process"
)

func (m misbehaviour) contest() contest {
	budget := bench.Budget{Name: m.name, Server: own, Metric: "latency_p99"}
	quiet, busy := budget, budget
	quiet.Beside, quiet.Limit = []string{undisturbed, elsewhere}, m.limit
	quiet.Sentence = m.sentence(m.limit)
	busy.Against, busy.Beside, busy.Limit = undisturbed, []string{elsewhere}, m.busyRatio
	busy.Sentence = fmt.Sprintf("Beside %s, 99 of 100 echoes of others on the same endpoint take at most %.0f times what they take while no handler misbehaves.",
		m.what, m.busyRatio)
	if m.busyRatio == 0 {
		busy = quiet
		busy.Limit, busy.Sentence = m.busyLimit, m.sentence(m.busyLimit)
	}
	return contest{name: m.name, by: m.compare, quiet: []bench.Budget{quiet}, busy: []bench.Budget{busy}}
}

func (m misbehaviour) sentence(limit float64) string {
	return fmt.Sprintf("Beside %s, 99 of 100 echoes of others on the same endpoint take at most %.0f ms.", m.what, limit)
}

func misbehaviourContests() (all []contest) {
	for _, m := range misbehaviours {
		all = append(all, m.contest())
	}
	return all
}

// compare measures the echoes of others on an endpoint whose handlers misbehave, while none does, and while
// those of another process do. The three are measured in turn, in an order that changes.
func (m misbehaviour) compare(ctx context.Context, o checkOptions) (*bench.Comparison, error) {
	j := bench.Job{Echo: &bench.EchoOptions{
		Options: bench.Options{Conns: 500, Duration: o.duration, Settle: 200 * time.Millisecond, SlopeFrom: -1, Busy: o.busy},
		Size:    64, Rate: 1_000, Warmup: min(o.duration, time.Second), Misbehaving: &m.clients,
	}}
	result := &bench.Comparison{
		Name: m.name, Title: fmt.Sprintf("Echoes beside %s", m.what),
		Started: time.Now(), Machine: bench.ThisMachine(), Job: j,
		Servers: []bench.Contestant{{Name: own}, {Name: undisturbed}, {Name: elsewhere}},
	}
	for round := range o.rounds {
		for _, i := range bench.Order(len(result.Servers), round) {
			s := &result.Servers[i]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, o.rounds, s.Name)
			sample, err := m.measure(ctx, *j.Echo, s.Name)
			if err != nil {
				return nil, err
			}
			s.Rounds = append(s.Rounds, sample)
		}
	}
	return result, nil
}

// measure starts servers of its own, so that none has to do with what was measured before.
func (m misbehaviour) measure(ctx context.Context, o bench.EchoOptions, where string) (sample bench.Sample, err error) {
	srv, err := startServer(ctx, "bench", "misbehaving")
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, srv.end()) }()
	switch where {
	case undisturbed:
		o.Misbehaving = nil
	case elsewhere:
		other, err := startServer(ctx, "bench", "misbehaving")
		if err != nil {
			return sample, err
		}
		defer func() { _ = other.end() }() // the measured one has to end in order, as above
		at := m.clients
		at.URL = "ws://" + other.addr + "/echo"
		o.Misbehaving = &at
	}
	sample, err = bench.Job{Echo: &o}.At(srv.addr, srv.pid, "").Run(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what an interruption left is no measurement
	}
	return sample, err
}
