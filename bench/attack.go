package bench

import (
	"context"
	"errors"
	"time"

	"github.com/gobwas/ws"
)

// AttackOptions are the options of [Attack]. Those of the embedded Options are about the good clients,
// of which there are 500 by default; the default path of its URL is /echo by custom.
type AttackOptions struct {
	Options
	// Size of a good client's message in bytes (64).
	Size int `json:"size_bytes"`
	// Rate is how many messages the good clients send a second, all together (1,000).
	Rate float64 `json:"rate_per_second"`
	// Warmup is how long they send before measuring begins (1 s). A negative one is none.
	Warmup time.Duration `json:"warmup_ns"`
	// Newcomers is how many good clients a second come for a single message (20). A negative number
	// is none.
	Newcomers float64 `json:"newcomers_per_second"`

	// Hostile is the number of hostile connections (2,000), spread evenly over the Kinds; see
	// [KindNames]. No kinds are all of them.
	Hostile int      `json:"hostile"`
	Kinds   []string `json:"kinds,omitempty"`
	// Each lets the kinds attack one after the other, each with all the hostile connections, and
	// measures the good clients alone before each.
	Each bool `json:"each,omitempty"`
	// HostileRate bounds how many hostile connections come a second, at first and again after the
	// server has ended them (2,000).
	HostileRate float64 `json:"hostile_rate_per_second"`
	// Drip is the time between two bytes of those that send slowly (250 ms).
	Drip time.Duration `json:"drip_ns"`
	// ControlURL is the endpoint of another, idle server that is attacked first. What the good clients
	// suffer meanwhile is for want of processors, and not for what their own server does.
	ControlURL string `json:"control_url,omitempty"`
	// NoControl leaves the control out where servers are compared, to save its time.
	NoControl bool `json:"no_control,omitempty"`
	// AllowRemote lets targets be other than loopback addresses.
	AllowRemote bool `json:"allow_remote,omitempty"`
	// Command starts a process that calls [ServeHostile]. Without it the hostile connections are in
	// this process, where they take processor time from the good clients.
	Command []string `json:"-"`
}

func (o AttackOptions) withDefaults() AttackOptions {
	orElse(&o.Conns, 500)
	orElse(&o.Rate, 1_000)
	orElse(&o.Newcomers, 20)
	orElse(&o.Hostile, 2_000)
	orElse(&o.HostileRate, 2_000)
	orElse(&o.Drip, 250*time.Millisecond)
	if len(o.Kinds) == 0 {
		o.Kinds = KindNames()
	}
	e := o.echo().withDefaults()
	e.Progress = o.Progress
	o.Options, o.Size, o.Warmup = e.Options, e.Size, e.Warmup
	return o
}

// echo is what the good clients that stay do. Progress is shown of the whole attack only.
func (o AttackOptions) echo() EchoOptions {
	quiet := o.Options
	quiet.Progress = nil
	return EchoOptions{
		Options: quiet, Size: o.Size, Inflight: o.Conns, Pipeline: 1, Rate: o.Rate, Warmup: o.Warmup,
	}
}

func (o AttackOptions) validate() error {
	if o.Hostile < len(o.Kinds) || o.Hostile > maxConns || o.HostileRate <= 0 || o.Drip <= 0 {
		return errors.New("bench: hostile connections must be as many as their kinds or more, and their rate and drip positive")
	}
	for _, name := range o.Kinds {
		if _, err := kindNamed(name); err != nil {
			return err
		}
	}
	return o.echo().validate()
}

// rounds are the kinds that attack together.
func (o AttackOptions) rounds() (all [][]string) {
	if !o.Each {
		return [][]string{o.Kinds}
	}
	for _, name := range o.Kinds {
		all = append(all, []string{name})
	}
	return all
}

func (o AttackOptions) against(url string, kinds []string) HostileOptions {
	return HostileOptions{
		URL: url, Kinds: kinds, Conns: o.Hostile, Rate: o.HostileRate, Drip: o.Drip,
		ConnectTimeout: o.ConnectTimeout, AllowRemote: o.AllowRemote,
	}
}

// attack is an attack that is under way.
type attack struct {
	options AttackOptions
	target  target
	watch   *watch
	run     *run // of the good clients that stay; each round has its own
}

// Attack measures good clients of an echo server alone and then beside hostile ones. Good ones are
// connections that stay, each answer compared with what was sent, and newcomers that connect for one
// message.
//
// An error may come beside a result: what was measured until then. When ctx ends while measuring, the
// result is that of the time until then.
func Attack(ctx context.Context, o AttackOptions) (*AttackResult, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	a := &attack{options: o}
	if err := a.resolve(ctx); err != nil {
		return nil, err
	}
	a.watch = newWatch(o)
	defer a.watch.stop()
	res := &AttackResult{Options: o}
	for _, kinds := range o.rounds() {
		r := &Round{Kinds: kinds}
		err := a.round(ctx, r)
		if r.Alone != nil {
			res.Rounds = append(res.Rounds, r)
		}
		if len(res.Rounds) == 0 {
			return nil, err
		}
		if res.Interrupted = ctx.Err() != nil; res.Interrupted {
			return res, nil
		}
		if err != nil {
			return res, err
		}
	}
	return res, nil
}

// resolve looks the targets up, and refuses what must not be attacked.
func (a *attack) resolve(ctx context.Context) (err error) {
	o := a.options
	if a.target, err = attackTarget(ctx, o.URL, o.AllowRemote); err == nil && o.ControlURL != "" {
		_, err = attackTarget(ctx, o.ControlURL, o.AllowRemote)
	}
	return err
}

// round opens the good clients' connections, anew because those of the last round may be lost, and
// measures.
func (a *attack) round(ctx context.Context, r *Round) (err error) {
	e := a.options.echo()
	a.run, err = newRun(ctx, e.Options, e.Size+ws.MaxHeaderSize, func(l *loop, i int) scenario { return newEchoed(l, e, i) })
	if err != nil {
		return err
	}
	defer a.run.close()
	if err := a.run.open(ctx); err != nil {
		return err
	}
	r.Opening = a.run.opening
	r.Opening.Failed = a.run.fleet.census().failed
	a.run.fleet.each(func(l *loop) { l.scenario.(*echoed).queueAll() })
	return a.measure(ctx, r)
}

// measure measures the good clients alone, while another server is attacked, and while their own is.
func (a *attack) measure(ctx context.Context, r *Round) (err error) {
	o := a.options
	if r.Alone, err = a.phase(ctx, nil, "alone"); err != nil || a.run.interrupted {
		return err
	}
	if o.ControlURL != "" {
		r.Control, _, err = a.beside(ctx, o.against(o.ControlURL, r.Kinds), "control")
		if err != nil || a.run.interrupted {
			return err
		}
	}
	before, err := a.watch.weigh()
	if err != nil {
		return err
	}
	r.Beside, r.Hostile, err = a.beside(ctx, o.against(o.URL, r.Kinds), "beside")
	if err != nil || a.run.interrupted {
		return err
	}
	if err := a.run.wait(ctx, o.Settle); err != nil {
		return err
	}
	r.Memory, err = a.watch.memory(before, o.Hostile)
	return err
}

// beside measures the good clients beside hostile ones.
func (a *attack) beside(ctx context.Context, o HostileOptions, name string) (*Phase, []KindReport, error) {
	h, err := startHostile(o, a.options.Command, a.options.Busy)
	if err != nil {
		return nil, nil, err
	}
	a.watch.hostile(h)
	a.run.hostile = h.process
	p, err := a.phase(ctx, h, name)
	a.run.hostile = nil
	a.watch.hostile(nil)
	err = errors.Join(err, h.stop())
	return p, h.last.Load().Kinds, err
}
