package stress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// StormOptions are the options of [Storm]. Zero values mean the defaults named here, but for Within.
type StormOptions struct {
	// Server is the subject, and Control another one, which has the same storm first while those that
	// stay are on Server. Without an address there is no control.
	Server  Handle `json:"server"`
	Control Handle `json:"control"`
	// Stay is how many connections stay (1,000), and Every is how often they are ticked (100 ms).
	Stay  int           `json:"stay"`
	Every time.Duration `json:"every_ns"`
	// Storm is how many connections are dropped and come back (18,000), and Drop how they are (ByReset).
	Storm int  `json:"storm"`
	Drop  Drop `json:"drop"`
	// Within is the time over which those who come back are spread. Zero is not at all: all are dialled
	// at once, as fast as this process can.
	Within time.Duration `json:"within_ns"`
	// Settle is for a server to come to rest before a storm (3 s): it trims what gathering left behind
	// after a second of quiet. A negative one is none.
	Settle time.Duration `json:"settle_ns"`
	// Quiet is how long those that stay are watched before, and again after (3 s).
	Quiet time.Duration `json:"quiet_ns"`
	// ConnectTimeout bounds each try to come back (10 s); another one is made then.
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	// Busy records how many processes compute beside the run. The caller starts them; see [bench.StartBusy].
	Busy int `json:"busy,omitempty"`
}

func (o StormOptions) withDefaults() StormOptions {
	orElse(&o.Stay, 1_000)
	orElse(&o.Every, 100*time.Millisecond)
	orElse(&o.Storm, 18_000)
	orElse(&o.Drop, ByReset)
	orElse(&o.Settle, 3*time.Second)
	o.Settle = max(o.Settle, 0)
	orElse(&o.Quiet, 3*time.Second)
	orElse(&o.ConnectTimeout, 10*time.Second)
	return o
}

func orElse[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func (o StormOptions) validate() error {
	switch {
	case o.Stay < 0, o.Storm < 0, o.Within < 0, o.Quiet < 0, o.ConnectTimeout < 0:
		return errors.New("stress: a negative number of connections, or a negative time")
	case o.Every < time.Millisecond:
		return errors.New("stress: an interval of less than a millisecond")
	case o.Drop != ByReset && o.Drop != ByEnd && o.Drop != ByServer:
		return fmt.Errorf("stress: connections can't be dropped by %q", o.Drop)
	case uint64(o.Stay+o.Storm+spareDescriptors) > bench.DescriptorLimit():
		return fmt.Errorf("stress: %d connections are more than a process may have here: the limit of open files is %d",
			o.Stay+o.Storm, bench.DescriptorLimit())
	}
	return nil
}

// spareDescriptors are for what is no connection: pollers, files of /proc, the steering.
const spareDescriptors = 64

// Storm drops most of the clients of a server, has them come back, and measures how late those meanwhile
// have their ticks that stay.
//
// An error may come beside a result: what was measured until then.
func Storm(ctx context.Context, o StormOptions) (*StormResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	stay, err := o.Server.subscribe(ctx, o.Stay, o.Every)
	if err != nil {
		return nil, err
	}
	defer stay.Close()
	s := &storm{options: o, stay: stay, result: &StormResult{Options: o}}
	if o.Control.Addr != "" {
		if s.result.Control, err = s.on(ctx, o.Control); err != nil {
			return nil, err
		}
	}
	s.result.Own, err = s.on(ctx, o.Server)
	s.result.Stayed = stay.Count().Open
	return s.result, err
}

// storm is one that is under way.
type storm struct {
	options StormOptions
	stay    *bench.Subscribers
	result  *StormResult
}

// on lets a storm come over a subject.
func (s *storm) on(ctx context.Context, subject Handle) (*StormRun, error) {
	h, err := gather(ctx, s.options, subject)
	defer h.leave()
	if err != nil {
		return nil, err
	}
	if err := bench.Pause(ctx, s.options.Settle); err != nil {
		return nil, err
	}
	r := &StormRun{Server: subject}
	w, err := beginSpells(ctx, s.stay, s.options.Server, s.options.Every)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		spell **Spell
		do    func() error
	}{
		{&r.Before, func() error { return bench.Pause(ctx, s.options.Quiet) }},
		{&r.During, func() error { return s.blow(ctx, h, r) }},
		{&r.After, func() error { return bench.Pause(ctx, s.options.Quiet) }},
	} {
		if err := part.do(); err != nil {
			return nil, err
		}
		if *part.spell, err = w.next(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// blow is the storm itself: all are dropped, and then all come back.
func (s *storm) blow(ctx context.Context, h *herd, r *StormRun) error {
	before, err := h.of.stats(ctx)
	if err != nil {
		return err
	}
	network := bench.Network()
	client, err := bench.CPUTime(os.Getpid())
	if err != nil {
		return err
	}
	server, err := bench.CPUTime(h.of.PID)
	if err != nil {
		return err
	}
	g := watch(ctx, h.of)
	start := time.Now()
	err = h.drop(ctx)
	r.DropSeconds = time.Since(start).Seconds()
	if err == nil {
		err = h.comeBack(ctx)
	}
	r.BackSeconds = time.Since(start).Seconds()
	r.Peaks = g.stop()
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := h.of.stats(ctx)
	if err != nil {
		return err
	}
	r.Network = bench.Grown(network, bench.Network())
	count := h.subs.Count()
	r.Back, r.Failed, r.Lost = count.Open, count.Failed, count.Lost
	r.Refused, r.Rests = after.Handshakes-before.Handshakes, after.Rests-before.Rests
	if r.ClientCPUPercent, err = cpuSince(os.Getpid(), client, took); err != nil {
		return err
	}
	r.ServerCPUPercent, err = cpuSince(h.of.PID, server, took)
	return err
}

// cpuSince is the processor time of a process since it had taken before, in percent of a core.
func cpuSince(pid int, before, took time.Duration) (float64, error) {
	now, err := bench.CPUTime(pid)
	return 100 * (now - before).Seconds() / took.Seconds(), err
}
