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

// misdeed is what handlers do, and how many clients keep them at it.
type misdeed struct {
	name     string // of the contest, and of its budget
	sentence string // what is promised
	ask      string // what makes a handler do it
	clients  int
	pause    time.Duration // of a client between two
	// code is that of the close frame by which it ends; with none the answer is the question.
	code ws.StatusCode
}

// misdeedLimit is what the others may have to wait, in milliseconds, by the 99th percentile.
const misdeedLimit = 10

var misdeeds = []misdeed{
	{name: "blocking", ask: "block 100ms", clients: 200,
		sentence: "Beside 200 handlers that block for 100 ms, the others' echoes on the same endpoint come within 10 ms."},
	{name: "blocking-long", ask: "block 2s", clients: 200,
		sentence: "The same beside 200 handlers that block for 2 seconds."},
	{name: "panics", ask: "panic", clients: 20, pause: 100 * time.Millisecond, code: ws.StatusInternalServerError,
		sentence: "The same beside 200 handlers a second that panic, whose clients come again."},
	{name: "allocations", ask: "allocate 104857600", clients: 1, pause: 100 * time.Millisecond,
		sentence: "The same beside a handler that allocates 100 MB and uses it, and again after 100 ms."},
	{name: "callbacks", ask: "call", clients: 20, pause: 100 * time.Millisecond, code: ws.StatusNormalClosure,
		sentence: "The same beside 200 handlers a second that call back: go over all connections, ask the server for its state, close another connection and their own."},
}

// The servers of the contests about misdeeds, beside the own one.
const (
	undisturbed = "nobody misbehaves"
	// elsewhere is the same misdeed in another process: what it takes of the machine, and not of the server.
	elsewhere = "in another process"
)

func (m misdeed) contest() contest {
	return contest{name: m.name, by: m.compare, budgets: []bench.Budget{{
		Name: m.name, Server: own, Metric: "latency_p99", Beside: []string{undisturbed, elsewhere}, Limit: misdeedLimit,
		Sentence: m.sentence,
	}}}
}

func misdeedContests() (all []contest) {
	for _, m := range misdeeds {
		all = append(all, m.contest())
	}
	return all
}

// compare measures the echoes of others on an endpoint whose handlers misbehave, while none does, and while
// those of another process do. The three are measured in turn, in an order that changes.
func (m misdeed) compare(ctx context.Context, rounds int, duration time.Duration) (*bench.Comparison, error) {
	j := bench.Job{Echo: &bench.EchoOptions{
		Options: bench.Options{Conns: 500, Duration: duration, Settle: 200 * time.Millisecond, SlopeFrom: -1},
		Size:    64, Rate: 1_000, Warmup: min(duration, time.Second),
	}}
	result := &bench.Comparison{
		Name: m.name, Title: fmt.Sprintf("Echoes beside %d clients that have handlers %s", m.clients, m.ask),
		Started: time.Now(), Machine: bench.ThisMachine(), Job: j,
		Servers: []bench.Contestant{{Name: own}, {Name: undisturbed}, {Name: elsewhere}},
	}
	for round := range rounds {
		for i := range result.Servers {
			s := &result.Servers[(round+i)%len(result.Servers)]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, s.Name)
			sample, err := m.measure(ctx, j, s.Name)
			if err != nil {
				return nil, err
			}
			s.Rounds = append(s.Rounds, sample)
		}
	}
	return result, nil
}

// measure starts servers of its own, so that none has to do with what was measured before.
func (m misdeed) measure(ctx context.Context, j bench.Job, where string) (sample bench.Sample, err error) {
	srv, err := startServer(ctx, "bench", "misbehaving")
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, srv.end()) }()
	scene := srv
	if where == elsewhere {
		if scene, err = startServer(ctx, "bench", "misbehaving"); err != nil {
			return sample, err
		}
		defer func() { err = errors.Join(err, scene.end()) }()
	}
	j = j.At(srv.addr, srv.pid, "")
	if where == undisturbed {
		return j.Run(ctx)
	}
	c, err := startCulprits(ctx, scene.addr, m)
	if err != nil {
		return sample, err
	}
	sample, err = j.Run(ctx)
	err = errors.Join(err, c.end())
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what an interruption left is no measurement
	}
	return sample, err
}
