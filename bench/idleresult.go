package bench

import "slices"

// IdleResult is what [Idle] measured.
type IdleResult struct {
	Common
	GC    bool       `json:"gc,omitempty"` // garbage was collected before each step
	Steps []IdleStep `json:"steps"`        // the first is without connections
	// PerConn is what one connection more costs.
	PerConn PerConn `json:"per_conn"`
}

// IdleStep is the memory at a number of connections, in bytes.
type IdleStep struct {
	Conns    int   `json:"conns"`
	RSSBytes int64 `json:"rss_bytes"` // of the server
	// Runtime is the Go runtime's own account, with PprofURL.
	Runtime *RuntimeMemory `json:"runtime,omitempty"`
	Kernel  KernelMemory   `json:"kernel"`
}

// Rest is what the server has resident beside its heap and its stacks: what the runtime keeps about
// them, heap that is free and not given back, memory from outside the heap, and the program itself.
// It is 0 without the runtime's account.
func (s *IdleStep) Rest() int64 {
	if s.Runtime == nil {
		return 0
	}
	return s.RSSBytes - s.Runtime.HeapInuse - s.Runtime.StackInuse
}

// RuntimeMemory is a part of what runtime.MemStats says, in bytes.
type RuntimeMemory struct {
	Sys          int64 `json:"sys"`
	HeapAlloc    int64 `json:"heap_alloc"`
	HeapSys      int64 `json:"heap_sys"`
	HeapIdle     int64 `json:"heap_idle"`
	HeapInuse    int64 `json:"heap_inuse"`
	HeapReleased int64 `json:"heap_released"`
	StackInuse   int64 `json:"stack_inuse"`
	StackSys     int64 `json:"stack_sys"`
	MSpanSys     int64 `json:"mspan_sys"`
	MCacheSys    int64 `json:"mcache_sys"`
	BuckHashSys  int64 `json:"buck_hash_sys"`
	GCSys        int64 `json:"gc_sys"`
	OtherSys     int64 `json:"other_sys"`
}

// KernelMemory is what the kernel of this machine holds for itself, in bytes: for both ends of every
// connection, and for all other processes too.
type KernelMemory struct {
	Slab       int64 `json:"slab"`
	Stacks     int64 `json:"stacks"`
	PageTables int64 `json:"page_tables"`
}

// Total is the sum.
func (k KernelMemory) Total() int64 { return k.Slab + k.Stacks + k.PageTables }

// PerConn is the growth of memory by connections, in bytes: the slope of the line that fits the steps
// from FromConns on best (least squares).
type PerConn struct {
	FromConns int     `json:"from_conns"`
	RSSBytes  float64 `json:"rss_bytes"`
	// Runtime divides RSSBytes; nil without PprofURL.
	Runtime *RuntimePerConn `json:"runtime,omitempty"`
	// KernelBytes is one end's share: half of the growth, because both ends are on this machine.
	KernelBytes float64 `json:"kernel_bytes"`
}

// perConnOf fits the lines. From is the number of connections to begin at, if two steps are left then; the
// step without connections counts only if there is no other.
func perConnOf(steps []IdleStep, from int) PerConn {
	first := slices.IndexFunc(steps, func(s IdleStep) bool { return s.Conns >= max(from, 1) })
	if first < 0 || first > len(steps)-2 {
		first = max(0, len(steps)-2)
	}
	steps = steps[first:]
	of := func(bytes func(*IdleStep) int64) float64 {
		conns, values := make([]float64, len(steps)), make([]float64, len(steps))
		for i := range steps {
			conns[i], values[i] = float64(steps[i].Conns), float64(bytes(&steps[i]))
		}
		return slope(conns, values)
	}
	p := PerConn{
		FromConns:   steps[0].Conns,
		RSSBytes:    of(func(s *IdleStep) int64 { return s.RSSBytes }),
		KernelBytes: of(func(s *IdleStep) int64 { return s.Kernel.Total() }) / 2,
	}
	if steps[0].Runtime != nil {
		p.Runtime = &RuntimePerConn{
			HeapBytes:  of(func(s *IdleStep) int64 { return s.Runtime.HeapInuse }),
			StackBytes: of(func(s *IdleStep) int64 { return s.Runtime.StackInuse }),
			RestBytes:  of((*IdleStep).Rest),
		}
	}
	return p
}

// slope is that of the line with the least sum of squared distances in y; 0 if all x are the same.
func slope(x, y []float64) float64 {
	n := float64(len(x))
	var sumX, sumY float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
	}
	var xx, xy float64
	for i := range x {
		dx := x[i] - sumX/n
		xx, xy = xx+dx*dx, xy+dx*(y[i]-sumY/n)
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

func (i *idleRun) result() *IdleResult {
	r := i.run
	res := &IdleResult{GC: i.options.GC, Steps: i.steps, PerConn: perConnOf(i.steps, i.options.SlopeFrom)}
	for _, s := range i.steps {
		w := Weight{s.Conns, s.RSSBytes}
		if s.Conns == 0 {
			r.memory.Before = w
		} else if s.Conns == res.PerConn.FromConns {
			r.memory.SlopeStart = w
		}
		r.memory.Open = w
	}
	r.fleet.each(func(l *loop) { res.Messages += l.scenario.(*held).messages })
	r.fill(&res.Common)
	return res
}

// RuntimePerConn are parts of a server's resident memory that sum up to all of it.
type RuntimePerConn struct {
	HeapBytes  float64 `json:"heap_bytes"`  // in use, with what is lost to its division into spans
	StackBytes float64 `json:"stack_bytes"` // of goroutines
	RestBytes  float64 `json:"rest_bytes"`  // see IdleStep.Rest
}
