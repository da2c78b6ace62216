package bench

import "errors"

// IdleOptions are the options of [Idle]. The default path of its URL is /echo by custom, where a server
// says nothing by itself. The process id of the server must be given.
type IdleOptions struct {
	Options
	// Steps is in how many even steps to open the connections (10). The memory is taken at each.
	Steps int `json:"steps"`
	// GC lets the runtime collect its garbage before each time that the memory is taken; it takes PprofURL.
	GC bool `json:"gc,omitempty"`
}

func (o IdleOptions) withDefaults() IdleOptions {
	o.Options = o.Options.withDefaults()
	orElse(&o.Steps, 10)
	return o
}

func (o IdleOptions) validate() error {
	switch {
	case o.PID == 0:
		return errors.New("bench: to measure memory takes the process id of the server")
	case o.Steps < 1 || o.Steps > o.Conns:
		return errors.New("bench: steps must be one at least, and no more than connections")
	case o.GC && o.PprofURL == "":
		return errors.New("bench: to collect garbage takes the address of the server's pprof")
	}
	return o.Options.validate()
}
