package main

import "fmt"

// descriptorReserve is what the process opens beside connections: its standard streams, listeners,
// a few descriptors for each event loop, those that package server holds back, the page's own requests,
// a profile. A round number above.
const descriptorReserve = 128

// roomFor answers how many connections a limit of descriptors has room for.
func roomFor(limit uint64) uint64 {
	if limit <= descriptorReserve {
		return 1
	}
	return limit - descriptorReserve
}

// advice says in one line what to change when a limit of descriptors has no room for maxConns, and
// is empty when it has.
func advice(limit uint64, maxConns int) string {
	if maxConns <= 0 || uint64(maxConns) <= roomFor(limit) {
		return ""
	}
	need := uint64(maxConns) + descriptorReserve
	return fmt.Sprintf("%d connections need %d descriptors, but this process may open %d: raise the limit with "+
		"`ulimit -n %d` as root, or LimitNOFILE=%d in the systemd unit; if that is refused, "+
		"`sysctl fs.nr_open=%d` first", maxConns, need, limit, need, need, need)
}
