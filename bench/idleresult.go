package bench

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

// RuntimePerConn are parts of a server's resident memory that sum up to all of it.
type RuntimePerConn struct {
	HeapBytes  float64 `json:"heap_bytes"`  // in use, with what is lost to its division into spans
	StackBytes float64 `json:"stack_bytes"` // of goroutines
	RestBytes  float64 `json:"rest_bytes"`  // see IdleStep.Rest
}
