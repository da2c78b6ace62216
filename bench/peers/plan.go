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

	job bench.Job // if it is a single comparison

	parameter string // in which the points differ, with its unit
	points    []point
}

// point is one comparison of a series.
type point struct {
	value float64
	job   bench.Job
}

// plan is the suite. On two processors it takes less than a quarter of an hour, most of which is
// measuring: a server is opened to anew for each measurement, so that none has the other's memory.
var plan = []planned{
	{
		name: "tick", title: "A message a second to each of 9,000 connections",
		takes: 7 * time.Second, job: tick(time.Second, 5*time.Second),
	},
	{
		name: "tick-rate", title: "Ticks of 9,000 connections at several rates",
		servers: []string{"stillpool", "gws", "nbio", "floor-spread"}, takes: 4500 * time.Millisecond,
		parameter: "messages/s", points: []point{
			{18_000, tick(time.Second/2, 3*time.Second)},
			{36_000, tick(time.Second/4, 3*time.Second)},
		},
	},
	{
		name: "echo-64", title: "Echoes of 64 bytes, 500 in flight over 5,000 connections",
		takes: 5 * time.Second, job: echo(bench.EchoOptions{
			Options: bench.Options{Conns: 5_000}, Size: 64, Inflight: 500,
		}),
	},
	{
		name: "echo-1k", title: "Echoes of 1 KiB, 2,000 in flight over 9,000 connections",
		takes: 5 * time.Second, job: echo(bench.EchoOptions{
			Options: bench.Options{Conns: 9_000, Loops: 2}, Size: 1024, Inflight: 2_000,
		}),
	},
	{
		name: "echo-rate", title: "Echoes of 64 bytes at several rates, 5,000 connections",
		servers: []string{"stillpool", "gws", "nbio", "gorilla"}, takes: 4500 * time.Millisecond,
		parameter: "messages/s", points: []point{
			{5_000, echoAt(5_000)},
			{20_000, echoAt(20_000)},
			{50_000, echoAt(50_000)},
		},
	},
	{
		name: "attack", title: "500 good clients beside 2,000 hostile ones of ten kinds",
		servers: []string{"stillpool", "nbio", "gws"}, takes: 24 * time.Second, rounds: 1,
		job: bench.Job{Attack: &bench.AttackOptions{
			Options: bench.Options{Conns: 500, Duration: 5 * time.Second}, Hostile: 2_000, Kinds: bench.KindNames(),
		}},
	},
}

// settleTime is what the servers have after opening. Memory is measured by a comparison of its own.
const settleTime = 700 * time.Millisecond

func tick(every, duration time.Duration) bench.Job {
	return bench.Job{Tick: &bench.TickOptions{Every: every, Options: bench.Options{
		Conns: 9_000, Duration: duration, Settle: settleTime, SlopeFrom: -1,
	}}}
}

func echo(o bench.EchoOptions) bench.Job {
	o.Duration, o.Settle, o.SlopeFrom = 3*time.Second, settleTime, -1
	o.Warmup, o.Pipeline = 500*time.Millisecond, 1
	return bench.Job{Echo: &o}
}

func echoAt(rate float64) bench.Job {
	return echo(bench.EchoOptions{Options: bench.Options{Conns: 5_000}, Size: 64, Rate: rate})
}

// contests are those of one entry, with the servers of those given that it is for.
func (p planned) contests(contestants []*contestant, rounds int) (all []*contest) {
	if p.points == nil {
		return []*contest{p.contest(p.name, nil, p.job, contestants, rounds)}
	}
	for _, x := range p.points {
		at := &bench.Point{Series: p.name, Parameter: p.parameter, Value: x.value}
		name := p.name + "-" + strconv.FormatFloat(x.value, 'f', -1, 64)
		all = append(all, p.contest(name, at, x.job, contestants, rounds))
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
