package stress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// OverloadOptions are the options of [Overload]. Zero values mean the defaults named here.
type OverloadOptions struct {
	Server Handle `json:"server"` // the subject
	// Conns is how many connections are ticked (2,000), and Work how long each tick computes (100 µs), so
	// that it is the server that can't go on and not the client that reads.
	Conns int           `json:"conns"`
	Work  time.Duration `json:"work_ns"`
	// Rate is the ticks a second, all together, that the server can carry; 0 finds it out.
	Rate float64 `json:"rate_per_second,omitempty"`
	// Times are the loads, in times of Rate (2 and 10), each for Duration (5 s).
	Times    []float64     `json:"times"`
	Duration time.Duration `json:"duration_ns"`
	// Echoes is how many messages a second connections beside the load have echoed (200), and Closes how
	// many of them say goodbye (20).
	Echoes float64 `json:"echoes_per_second"`
	Closes float64 `json:"closes_per_second"`
	// Busy records how many processes compute beside the run. The caller starts them; see [bench.StartBusy].
	Busy int `json:"busy,omitempty"`
}

func (o OverloadOptions) withDefaults() OverloadOptions {
	orElse(&o.Conns, 2_000)
	orElse(&o.Work, 100*time.Microsecond)
	orElse(&o.Duration, 5*time.Second)
	orElse(&o.Echoes, 200)
	orElse(&o.Closes, 20)
	if len(o.Times) == 0 {
		o.Times = []float64{2, 10}
	}
	return o
}

func (o OverloadOptions) validate() error {
	if o.Conns < 0 || o.Work < 0 || o.Rate < 0 || o.Duration < 0 || o.Echoes < 0 || o.Closes < 0 {
		return errors.New("stress: a negative number, or a negative time")
	}
	for _, times := range o.Times {
		if times <= 1 {
			return fmt.Errorf("stress: %v times what the server can carry is no overload", times)
		}
	}
	if uint64(o.Conns+besideConns+o.closers()+spareDescriptors) > bench.DescriptorLimit() {
		return fmt.Errorf("stress: %d connections are more than a process may have here: the limit of open files is %d",
			o.Conns+besideConns+o.closers(), bench.DescriptorLimit())
	}
	return nil
}

// closers is how many connections say goodbye in one load.
func (o OverloadOptions) closers() int { return int(o.Closes * o.Duration.Seconds()) }

// lightShare is the part of what the server can carry that it has before and after each overload.
const lightShare = 4

// Overload has more ticks come due than the server can carry, and measures how that treats connections
// beside them, how evenly ticks are left out, and how long it lasts when the load goes.
//
// An error may come beside a result: what was measured until then.
func Overload(ctx context.Context, o OverloadOptions) (*OverloadResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	subs, err := o.Server.subscribe(ctx, o.Conns, time.Second)
	if err != nil {
		return nil, err
	}
	defer subs.Close()
	v := &overload{options: o, subs: subs, result: &OverloadResult{Options: o}}
	return v.result, v.run(ctx)
}

// overload is one that is under way.
type overload struct {
	options OverloadOptions
	subs    *bench.Subscribers
	result  *OverloadResult
}

func (v *overload) run(ctx context.Context) (err error) {
	if v.result.RatePerSecond = v.options.Rate; v.options.Rate == 0 {
		if v.result.RatePerSecond, err = v.search(ctx); err != nil {
			return err
		}
	}
	if v.result.Light, err = v.load(ctx, 1./lightShare); err != nil {
		return err
	}
	for _, times := range v.options.Times {
		l, err := v.load(ctx, times)
		if l != nil {
			v.result.Loads = append(v.result.Loads, l)
		}
		if err == nil {
			l.Recovery, err = v.recover(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// every is the interval of each connection at which there are so many ticks a second, in whole
// milliseconds.
func (v *overload) every(rate float64) time.Duration {
	d := time.Duration(float64(v.options.Conns) / rate * float64(time.Second))
	return max(time.Millisecond, d.Round(time.Millisecond))
}

// load has so many times the sustainable rate come due for a while, and measures what is beside it.
func (v *overload) load(ctx context.Context, times float64) (*Load, error) {
	o, every := v.options, v.every(times*v.result.RatePerSecond)
	l := &Load{Times: times, EverySeconds: every.Seconds(), AskedPerSecond: float64(o.Conns) / every.Seconds()}
	b, err := newBeside(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if err := o.Server.load(ctx, every, o.Work); err != nil {
		return nil, err
	}
	before, err := o.Server.stats(ctx)
	if err != nil {
		return nil, err
	}
	v.subs.Listen(every)
	start := time.Now()
	client, err := bench.CPUTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	server, err := bench.CPUTime(o.Server.PID)
	if err != nil {
		return nil, err
	}
	if err := b.measure(ctx, l); err != nil {
		return nil, err
	}
	heard, took := v.subs.Heard(), time.Since(start)
	after, err := o.Server.stats(ctx)
	if err != nil {
		return nil, err
	}
	l.Seconds, l.PerSecond = took.Seconds(), float64(heard.Messages)/took.Seconds()
	l.Deposed = after.Deposed - before.Deposed
	l.Server, l.Share = viewOf(before, after), shareOf(heard.Ticks)
	l.Lost = v.subs.Count().Lost
	if l.ClientCPUPercent, err = cpuSince(os.Getpid(), client, took); err != nil {
		return nil, err
	}
	l.ServerCPUPercent, err = cpuSince(o.Server.PID, server, took)
	return l, err
}
