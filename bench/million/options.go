package million

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Options say how many connections, for how long and how they are loaded. Zero values mean the
// defaults named here.
type Options struct {
	// Conns is how many connections to hold (1,000,000).
	Conns int `json:"conns"`
	// Idle is how long they are open without any message, to see what the servers take then (10 s).
	// Negative is not at all, here and for Overload.
	Idle time.Duration `json:"idle_ns"`
	// Hold is how long they are held at the interval Every (10 min).
	Hold  time.Duration `json:"hold_ns"`
	Every time.Duration `json:"every_ns"`
	// Overload is how long they are then sent more than the machine can carry, which is a message each
	// OverloadEvery: by default three times Every, so that each connection's turn comes some times, and at
	// least 30 s. The intervals are in whole milliseconds. By default they make carriedRate and overloadRate
	// messages a second for each processor.
	Overload      time.Duration `json:"overload_ns"`
	OverloadEvery time.Duration `json:"overload_every_ns"`
	// PerProcess is how many connections a process may hold, if that is fewer than its descriptors allow.
	PerProcess int `json:"per_process,omitempty"`
	// Servers and Clients are how many processes share the connections, if not as few as can.
	Servers int `json:"servers,omitempty"`
	Clients int `json:"clients,omitempty"`
	// Fix changes the settings of the kernel that are in the way, and puts them back at the end.
	Fix bool `json:"fix,omitempty"`
	// Busy records how many processes compute beside the run. The caller starts them; see [bench.StartBusy].
	Busy int `json:"busy,omitempty"`

	// Command starts a child: a program and arguments, to which a role is appended, and which then calls
	// [ServeChild]. It must be given.
	Command []string `json:"-"`
	// Progress is where to tell how far things are; nil for nowhere. Terminal says that it is one, where
	// a bar can be drawn; elsewhere there is a plain line every few seconds.
	Progress io.Writer `json:"-"`
	Terminal bool      `json:"-"`

	// For tests.
	entered func(phase string, r *run) // called when a phase begins
	work    time.Duration              // what the handler of ticks takes
	settle  time.Duration              // instead of settleTime
	lull    time.Duration              // instead of lullTime
	answer  time.Duration              // instead of answerTime
	ending  time.Duration              // instead of endTime
	machine func() *Limits             // instead of thisMachine
	sysctls string                     // instead of /proc/sys
}

// What a processor carries of both ends of the connections together, and what it surely does not, in
// messages a second. Measured with 50 processes of each kind on two processors: a message costs some 35 to 50
// µs on both ends when connections are so many that nothing of one is in a cache.
const (
	carriedRate  = 16_000
	overloadRate = 500_000
)

const (
	minEvery      = time.Millisecond // of package server
	maxEvery      = 20 * 24 * time.Hour
	minPerProcess = 16
)

// withDefaults fills in what was left zero, for a machine with so many processors.
func (o Options) withDefaults(processors int) Options {
	orElse(&o.Conns, 1_000_000)
	orElse(&o.Idle, 10*time.Second)
	orElse(&o.Hold, 10*time.Minute)
	orElse(&o.settle, settleTime)
	orElse(&o.lull, lullTime)
	orElse(&o.answer, answerTime)
	orElse(&o.ending, endTime)
	orElse(&o.sysctls, "/proc/sys")
	orElse(&o.Every, intervalAt(o.Conns, carriedRate*processors))
	orElse(&o.OverloadEvery, intervalAt(o.Conns, overloadRate*processors))
	orElse(&o.Overload, max(30*time.Second, 3*o.Every))
	o.Idle, o.Overload = max(o.Idle, 0), max(o.Overload, 0)
	return o
}

// intervalAt is the interval that makes about so many messages a second of conns connections: a round
// one, 1, 2, 3 or 5 times a power of ten, and at least a millisecond.
func intervalAt(conns, rate int) time.Duration {
	exact := time.Duration(float64(conns) / float64(rate) * float64(time.Second))
	round := time.Millisecond
	for {
		for _, times := range []time.Duration{1, 2, 3, 5} {
			if round*times >= exact {
				return round * times
			}
		}
		round *= 10
	}
}

func (o Options) validate() error {
	for _, every := range []time.Duration{o.Every, o.OverloadEvery} {
		if every < minEvery || every > maxEvery || every%time.Millisecond != 0 {
			return fmt.Errorf("million: an interval of %v is not of whole milliseconds from %v to %v", every, minEvery, maxEvery)
		}
	}
	switch {
	case o.Conns < 0, o.Hold < 0, o.Servers < 0, o.Clients < 0:
		return errors.New("million: a negative number of connections or processes, or a negative time to hold them")
	case o.PerProcess != 0 && o.PerProcess < minPerProcess:
		return fmt.Errorf("million: fewer than %d connections a process", minPerProcess)
	case len(o.Command) == 0:
		return errors.New("million: no command to start children by")
	}
	return nil
}

func orElse[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
