package main

import "fmt"

const (
	// descriptorReserve is what the process opens beside connections: its standard streams, listeners,
	// a few descriptors for each event loop, those that package server holds back, the page's own requests,
	// a profile. A round number above.
	descriptorReserve = 128
	// reserveShare is the share of a low limit that is kept back instead, as 1/reserveShare: 40 of 200. The
	// process has 32 open on two processors, and rejects with a response when there are none left.
	reserveShare = 5
)

// roomFor returns how many connections a limit of descriptors has room for.
func roomFor(limit uint64) uint64 {
	return max(1, limit-min(descriptorReserve, limit/reserveShare))
}

// limitFor returns the lowest limit of descriptors that has room for maxConns.
func limitFor(maxConns int) uint64 {
	n := uint64(maxConns)
	return n + min(descriptorReserve, (max(n, 1)-1)/(reserveShare-1))
}

// advice says in one line what to change when a limit of descriptors has no room for maxConns, and
// is empty when it has.
func advice(limit uint64, maxConns int) string {
	if maxConns <= 0 || uint64(maxConns) <= roomFor(limit) {
		return ""
	}
	need := limitFor(maxConns)
	return fmt.Sprintf("%d connections need %d descriptors, but this process may open %d: raise the limit with "+
		"`ulimit -n %d` as root, or LimitNOFILE=%d in the systemd unit; if that is refused, "+
		"`sysctl fs.nr_open=%d` first", maxConns, need, limit, need, need, need)
}
