package bench

import (
	"context"
	"errors"
)

// Job is one scenario with its options: just one field is set. It travels as JSON to a client that
// runs as a process of its own.
type Job struct {
	Tick      *TickOptions      `json:"tick,omitempty"`
	Echo      *EchoOptions      `json:"echo,omitempty"`
	Broadcast *BroadcastOptions `json:"broadcast,omitempty"`
	Connect   *ConnectOptions   `json:"connect,omitempty"`
	Idle      *IdleOptions      `json:"idle,omitempty"`
	Attack    *AttackOptions    `json:"attack,omitempty"`
}

// Sample is the result of a Job: the field of the same name is set.
type Sample struct {
	Tick      *TickResult      `json:"tick,omitempty"`
	Echo      *EchoResult      `json:"echo,omitempty"`
	Broadcast *BroadcastResult `json:"broadcast,omitempty"`
	Connect   *ConnectResult   `json:"connect,omitempty"`
	Idle      *IdleResult      `json:"idle,omitempty"`
	Attack    *AttackResult    `json:"attack,omitempty"`
}

// Run does the job.
func (j Job) Run(ctx context.Context) (s Sample, err error) {
	switch {
	case j.Tick != nil:
		s.Tick, err = Tick(ctx, *j.Tick)
	case j.Echo != nil:
		s.Echo, err = Echo(ctx, *j.Echo)
	case j.Broadcast != nil:
		s.Broadcast, err = Broadcast(ctx, *j.Broadcast)
	case j.Connect != nil:
		s.Connect, err = Connect(ctx, *j.Connect)
	case j.Idle != nil:
		s.Idle, err = Idle(ctx, *j.Idle)
	case j.Attack != nil:
		s.Attack, err = Attack(ctx, *j.Attack)
	default:
		err = errors.New("bench: a job without a scenario")
	}
	return s, err
}

// Scenario is the name of the job's scenario.
func (j Job) Scenario() string {
	switch {
	case j.Tick != nil:
		return "tick"
	case j.Echo != nil:
		return "echo"
	case j.Broadcast != nil:
		return "broadcast"
	case j.Connect != nil:
		return "connect"
	case j.Idle != nil:
		return "idle"
	case j.Attack != nil:
		return "attack"
	}
	return ""
}

// Options are those that all scenarios have; nil without a scenario.
func (j Job) Options() *Options {
	switch {
	case j.Tick != nil:
		return &j.Tick.Options
	case j.Echo != nil:
		return &j.Echo.Options
	case j.Broadcast != nil:
		return &j.Broadcast.Options
	case j.Connect != nil:
		return &j.Connect.Options
	case j.Idle != nil:
		return &j.Idle.Options
	case j.Attack != nil:
		return &j.Attack.Options
	}
	return nil
}

// At is the job for a server at host:port with the process id pid, each scenario at the path that it
// has by custom. The address of the control is of use to attacks only.
func (j Job) At(addr string, pid int, control string) Job {
	switch {
	case j.Tick != nil:
		o := *j.Tick
		o.URL, o.PID = "ws://"+addr+"/ws", pid
		return Job{Tick: &o}
	case j.Echo != nil:
		o := *j.Echo
		o.URL, o.PID = "ws://"+addr+"/echo", pid
		return Job{Echo: &o}
	case j.Broadcast != nil:
		o := *j.Broadcast
		o.URL, o.PID = "ws://"+addr+"/broadcast", pid
		return Job{Broadcast: &o}
	case j.Connect != nil:
		o := *j.Connect
		o.URL, o.PID = "ws://"+addr+"/echo", pid
		return Job{Connect: &o}
	case j.Idle != nil:
		o := *j.Idle
		o.URL, o.PID = "ws://"+addr+"/echo", pid
		return Job{Idle: &o}
	case j.Attack != nil:
		o := *j.Attack
		o.URL, o.PID = "ws://"+addr+"/echo", pid
		if control != "" {
			o.ControlURL = "ws://" + control + "/echo"
		}
		return Job{Attack: &o}
	}
	return j
}

// Common is what all results but those of attacks have in common; nil for those.
func (s Sample) Common() *Common {
	switch {
	case s.Tick != nil:
		return &s.Tick.Common
	case s.Echo != nil:
		return &s.Echo.Common
	case s.Broadcast != nil:
		return &s.Broadcast.Common
	case s.Connect != nil:
		return &s.Connect.Common
	case s.Idle != nil:
		return &s.Idle.Common
	}
	return nil
}

// Warnings are what the client said of its own run.
func (s Sample) Warnings() (all []string) {
	if c := s.Common(); c != nil {
		return c.Warnings
	}
	if s.Attack != nil {
		return s.Attack.warnings()
	}
	return nil
}
