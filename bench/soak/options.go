package soak

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Options say what is soaked for how long. The zero value of each field but Command is a default.
type Options struct {
	// Command starts the server: this program, so that [ServeChild] is called with its standard streams.
	Command []string `json:"-"`
	// Conns is how many clients there are at a time. 0 is 500.
	Conns int `json:"conns"`
	// Duration is how long they come and go. 0 is a minute.
	Duration time.Duration `json:"duration_ns"`
	// Tide is about how long they do until all leave, and the server has to be as it was. 0 is a twelfth of
	// Duration, but not less than 5 s, or a third if that is less.
	Tide time.Duration `json:"tide_ns"`
	// Interval is that of the curve of memory and descriptors. 0 is a second.
	Interval time.Duration `json:"interval_ns"`
	// Pause is the mean between two things that a client does. 0 is 200 ms.
	Pause time.Duration `json:"pause_ns"`
	// Patience bounds what a client waits for, and the server's rest when all have left. It is only for
	// what would never come. 0 is a minute.
	Patience time.Duration `json:"patience_ns"`
	// Seed gives what the clients do: client number N of two runs with the same seed does the same, as far as
	// the server and the clock let it. 0 is one at random.
	Seed uint64 `json:"seed"`
	// Busy records how many processes compute beside the run. The caller starts them; see [bench.StartBusy].
	Busy int `json:"busy,omitempty"`
	// Progress takes lines about how far the run is; nil is nothing.
	Progress io.Writer `json:"-"`
	// Terminal is whether Progress is one: then lines are written over.
	Terminal bool `json:"-"`

	things, goings []*thing // what clients do, and the ways out; nil is all
}

// spareDescriptors are for what is no connection, with some for sockets that close late.
const spareDescriptors = 256

func (o Options) withDefaults() (Options, error) {
	o.Conns = cmp.Or(o.Conns, 500)
	o.Duration = cmp.Or(o.Duration, time.Minute)
	o.Tide = cmp.Or(o.Tide, min(max(o.Duration/12, 5*time.Second), o.Duration/3))
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.Pause = cmp.Or(o.Pause, 200*time.Millisecond)
	o.Patience = cmp.Or(o.Patience, time.Minute)
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	switch limit := bench.DescriptorLimit(); {
	case len(o.Command) == 0:
		return o, errors.New("soak: no command to start the server with")
	case o.Conns < 1 || o.Duration < 0 || o.Tide < time.Millisecond || o.Interval < time.Millisecond || o.Pause < 0 || o.Patience < time.Second:
		return o, errors.New("soak: an option is negative, or too small")
	case limit != 0 && uint64(o.Conns)+spareDescriptors > limit:
		return o, fmt.Errorf("soak: %d connections at a time are more than the limit of %d open files has room for", o.Conns, limit)
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o, nil
}
