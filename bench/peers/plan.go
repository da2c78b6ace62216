package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// planned is a comparison of the suite, or a series of them that differ in one thing.
type planned struct {
	name    string
	title   string
	servers []string      // nil for all that have the scenario
	takes   time.Duration // one measurement of one server, opening and closing included
	rounds  int           // unless a number is asked for; 0 for the usual
	asked   bool          // it is run only if it is asked for by its name

	job bench.Job // if it is a single comparison

	parameter string // in which the points differ, with its unit
	points    []point
}

// point is one comparison of a series, which has a value or a name.
type point struct {
	value float64
	name  string
	job   bench.Job
}

func (p point) String() string {
	if p.name != "" {
		return p.name
	}
	return strconv.FormatFloat(p.value, 'f', -1, 64)
}

// plan is the suite. On two processors it takes less than 20 minutes, most of which is measuring: a server is started
// anew for each measurement, so that none has the memory of the one before. What ends in -busy is the comparison of
// that name with fewer servers, beside busy processes.
var plan = []planned{
	{
		name: "tick", title: "A message a second to each of 9,000 connections",
		takes: 5 * time.Second, job: sloped(tick(time.Second, 3*time.Second)),
	},
	{
		name: "tick-rate", title: "Ticks of 9,000 connections at several rates",
		servers: []string{"stillpool", "gws", "nbio", "floor-spread"}, takes: 3500 * time.Millisecond,
		parameter: "messages a second", points: []point{
			{value: 18_000, job: tick(time.Second/2, 2*time.Second)},
			{value: 36_000, job: tick(time.Second/4, 2*time.Second)},
		},
	},
	{
		name: "echo-64", title: "Echoes of 64 bytes, 500 in flight over 5,000 connections",
		takes: 3800 * time.Millisecond, job: echo(5_000, bench.EchoOptions{Size: 64, Inflight: 500}),
	},
	{
		name: "echo-1k", title: "Echoes of 1 KiB, 2,000 in flight over 9,000 connections",
		takes: 4200 * time.Millisecond, job: echo(9_000, bench.EchoOptions{
			Options: bench.Options{Loops: 2}, Size: 1024, Inflight: 2_000,
		}),
	},
	{
		name: "echo-rate", title: "Echoes of 64 bytes at several rates, 5,000 connections",
		servers: []string{"stillpool", "gws", "nbio"}, takes: 4 * time.Second,
		parameter: "messages a second", points: []point{
			{value: 5_000, job: echo(5_000, bench.EchoOptions{Size: 64, Rate: 5_000})},
			{value: 20_000, job: echo(5_000, bench.EchoOptions{Size: 64, Rate: 20_000})},
			{value: 50_000, job: echo(5_000, bench.EchoOptions{Size: 64, Rate: 50_000})},
		},
	},
	{
		name: "connect", title: "5,000 connections opened and closed, again and again",
		takes: 2 * time.Second, job: bench.Job{Connect: &bench.ConnectOptions{
			Options: bench.Options{Conns: 5_000, Duration: 1500 * time.Millisecond},
		}},
	},
	{
		name: "idle", title: "9,000 connections that say nothing",
		takes: 4400 * time.Millisecond, job: bench.Job{Idle: &bench.IdleOptions{
			Options: bench.Options{Conns: 9_000, Duration: time.Second, Settle: 250 * time.Millisecond}, Steps: 4,
		}},
	},
	{
		name: "broadcast", title: "5 messages of 64 bytes a second, each to 5,000 connections",
		takes: 3700 * time.Millisecond, job: bench.Job{Broadcast: &bench.BroadcastOptions{
			Options: options(5_000, 2*time.Second), Size: 64, Rate: 5, Warmup: warmTime,
		}},
	},
	{
		name: "attack", title: "500 good clients beside 2,000 hostile ones of all kinds",
		servers: []string{"stillpool", "nbio", "gws"}, takes: 21 * time.Second, rounds: 1,
		job: attack(3*time.Second, bench.KindNames()...),
	},
	{
		name: "attack-kind", title: "500 good clients beside 2,000 hostile ones of one kind",
		servers: []string{"stillpool", "nbio", "gws"}, takes: 5 * time.Second, rounds: 1,
		parameter: "kind of attack", points: kindPoints(),
	},
	{
		name: "tick-busy", title: "A message a second to each of 9,000 connections",
		servers: []string{"stillpool", "gws", "floor-spread"},
		takes:   4 * time.Second, job: busy(tick(time.Second, 3*time.Second)),
	},
	{
		name: "echo-64-busy", title: "Echoes of 64 bytes, 500 in flight over 5,000 connections",
		servers: []string{"stillpool", "gws", "nbio"},
		takes:   4 * time.Second, job: busy(echo(5_000, bench.EchoOptions{Size: 64, Inflight: 500})),
	},
	{
		name: "echo-1k-busy", title: "Echoes of 1 KiB, 2,000 in flight over 9,000 connections",
		servers: []string{"stillpool", "gws", "quickws"},
		takes:   4500 * time.Millisecond, job: busy(echo(9_000, bench.EchoOptions{
			Options: bench.Options{Loops: 2}, Size: 1024, Inflight: 2_000,
		})),
	},
	{
		name: "connect-busy", title: "5,000 connections opened and closed, again and again",
		servers: []string{"stillpool", "gws", "nbio"},
		takes:   2 * time.Second, job: busy(bench.Job{Connect: &bench.ConnectOptions{
			Options: bench.Options{Conns: 5_000, Duration: 1500 * time.Millisecond},
		}}),
	},
	{
		name: "bulk-busy", title: "50 good clients beside 500 that send 60 kB every 300 ms and never read",
		servers: []string{"stillpool", "gws", "nbio"}, takes: 6 * time.Second, rounds: 1,
		job: busy(bench.Job{Attack: &bench.AttackOptions{
			Options: options(50, 2*time.Second), Hostile: 500, Kinds: []string{"bulk-never-reads"}, NoControl: true,
		}}),
	},
	{
		name: "tick-saturated", title: "Ticks of 12,000 connections at 10 a second, more than a thread can send", asked: true,
		servers: []string{"stillpool", "gws", "nbio", "floor", "floor-spread"},
		takes:   6 * time.Second, job: bench.Job{Tick: &bench.TickOptions{Every: time.Second / 10, Options: options(12_000, 4*time.Second)}},
	},
	{
		name: "tick-sparse", title: "Ticks of 2,000 connections at one in 20 s", asked: true,
		servers: []string{"stillpool", "gws", "nbio"},
		takes:   32 * time.Second, job: bench.Job{Tick: &bench.TickOptions{Every: 20 * time.Second, Options: bench.Options{
			Conns: 2_000, OpenTime: 20 * time.Second, Duration: 10 * time.Second, Settle: settleTime, SlopeFrom: -1,
		}}},
	},
}

// busyProcesses are as many as the machine that the figures of the README are from has processors.
const busyProcesses = 2

// busy lets processes compute beside what is measured.
func busy(j bench.Job) bench.Job {
	j.Options().Busy = busyProcesses
	return j
}

const (
	settleTime = 500 * time.Millisecond // that servers have after opening
	warmTime   = 500 * time.Millisecond // of the same as what is measured then
)

// options are without a slope of memory, which takes a second time to settle.
func options(conns int, duration time.Duration) bench.Options {
	return bench.Options{Conns: conns, Duration: duration, Settle: settleTime, SlopeFrom: -1}
}

func tick(every, duration time.Duration) bench.Job {
	return bench.Job{Tick: &bench.TickOptions{Every: every, Options: options(9_000, duration)}}
}

// sloped lets memory be measured by its growth from some connections on.
func sloped(j bench.Job) bench.Job {
	j.Tick.SlopeFrom = 3_000
	return j
}

func echo(conns int, o bench.EchoOptions) bench.Job {
	loops := o.Loops
	o.Options = options(conns, 2*time.Second)
	o.Loops, o.Warmup, o.Pipeline = loops, warmTime, 1
	return bench.Job{Echo: &o}
}

func attack(duration time.Duration, kinds ...string) bench.Job {
	return bench.Job{Attack: &bench.AttackOptions{Options: options(500, duration), Hostile: 2_000, Kinds: kinds}}
}

func kindPoints() (all []point) {
	for _, kind := range bench.KindNames() {
		j := attack(1500*time.Millisecond, kind)
		j.Attack.Warmup, j.Attack.NoControl = warmTime, true
		all = append(all, point{name: kind, job: j})
	}
	return all
}

// contests are those of one entry, with the servers of those given that it is for.
func (p planned) contests(contestants []*contestant, rounds int) (all []*contest) {
	if p.points == nil {
		return []*contest{p.contest(p.name, nil, p.job, contestants, rounds)}
	}
	for _, x := range p.points {
		at := &bench.Point{Series: p.name, Parameter: p.parameter, Value: x.value, Name: x.name}
		all = append(all, p.contest(p.name+"-"+x.String(), at, x.job, contestants, rounds))
	}
	return all
}

func (p planned) contest(name string, at *bench.Point, j bench.Job, contestants []*contestant, rounds int) *contest {
	able := slices.DeleteFunc(slices.Clone(contestants), func(c *contestant) bool {
		return p.servers != nil && !slices.Contains(p.servers, c.name) || !able(c.name, j)
	})
	if rounds == 0 {
		rounds = p.rounds
	}
	if rounds == 0 {
		rounds = usualRounds
	}
	t := newContest(name, p.title, j, able, rounds)
	t.result.Point = at
	t.bound = 5*p.takes + time.Minute
	t.takes = p.takes
	return t
}
