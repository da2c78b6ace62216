package bench

import (
	"errors"
	"io"
	"time"
)

// Options says whom to measure, and with how many connections. Zero values mean the defaults named
// here, except for URL, which must be given.
type Options struct {
	// URL of the endpoint, ws://host:port/path.
	URL string `json:"url"`
	// Conns is how many connections to open (1,000).
	Conns int `json:"conns"`
	// Duration of measuring, which begins when all connections are open (10 s).
	Duration time.Duration `json:"duration_ns"`
	// PID of the server, on this machine. With it, its processor time and memory are measured.
	PID int `json:"pid,omitempty"`
	// PprofURL is where a net/http/pprof server in the server's process listens: a host and port, or a
	// URL. With it, [Idle] asks the runtime how its memory is divided.
	PprofURL string `json:"pprof_url,omitempty"`
	// SlopeFrom is the number of connections at which the server's memory is taken a first time, so
	// that the growth from there to Conns tells what one connection costs apart from what a server
	// costs by itself. The default is 3,000 if Conns is at least twice that, and else none; a
	// negative number is none.
	SlopeFrom int `json:"slope_from,omitempty"`
	// Settle is how long to wait after opening before memory is taken or measuring begins (2 s). A
	// negative one is none.
	Settle time.Duration `json:"settle_ns,omitempty"`
	// Loops is how many event loops the client runs (1).
	Loops int `json:"loops,omitempty"`
	// OpenTime spreads the opening of all connections evenly over a time, so that a server whose ticks count from the
	// opening does not send them in one burst. The default is as fast as ConnectBurst lets them open.
	OpenTime time.Duration `json:"open_time_ns,omitempty"`
	// Busy records how many processes compute beside the measurement. The caller starts them; see [StartBusy].
	Busy int `json:"busy,omitempty"`
	// ConnectBurst bounds the connections that are being opened at the same time (100).
	ConnectBurst int `json:"connect_burst,omitempty"`
	// ConnectTimeout bounds the time from connect to the answer of the upgrade (10 s).
	ConnectTimeout time.Duration `json:"connect_timeout_ns,omitempty"`
	// Progress is where a progress bar is drawn while connecting; nil for nowhere.
	Progress io.Writer `json:"-"`
}

// slopeFrom is where the slope begins by default: low enough for a wide range, high enough for the
// server's smallest heap to be used up.
const slopeFrom = 3_000

func (o Options) withDefaults() Options {
	orElse(&o.Conns, 1_000)
	orElse(&o.Duration, 10*time.Second)
	orElse(&o.Settle, 2*time.Second)
	orElse(&o.Loops, 1)
	orElse(&o.ConnectBurst, 100)
	orElse(&o.ConnectTimeout, 10*time.Second)
	if o.SlopeFrom == 0 && o.Conns >= 2*slopeFrom {
		o.SlopeFrom = slopeFrom
	}
	o.SlopeFrom = max(o.SlopeFrom, 0)
	o.Settle = max(o.Settle, 0)
	o.Loops = min(o.Loops, o.Conns)
	return o
}

func (o Options) validate() error {
	switch {
	case o.Conns < 0, o.Duration < 0, o.Loops < 0, o.ConnectBurst < 0, o.ConnectTimeout < 0, o.OpenTime < 0, o.Busy < 0:
		return errors.New("bench: a negative number of connections, loops or a negative duration")
	case o.SlopeFrom >= o.Conns && o.SlopeFrom > 0:
		return errors.New("bench: the slope must begin below the number of connections")
	}
	return nil
}

// maxConns is above what the kernel lets a process have, and keeps indices in 32 bits.
const maxConns = 1 << 26

func orElse[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
