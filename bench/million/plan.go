package million

import "math"

// plan is how the connections are shared out among processes.
type plan struct {
	conns   int
	servers int
	clients int
	room    int // connections that one server process takes at most
	opening int // connections that are being opened at the same time, over all clients
}

const (
	// serverReserve are descriptors of a server process beside the connections it has room for: its own,
	// and those of connections that are being refused for want of room.
	serverReserve = 256
	// clientReserve are descriptors of a client process beside its connections.
	clientReserve = 128
	// parentReserve and perChild are the same of the process that starts them: a child has three pipes
	// and, where the kernel has them, a descriptor of the process.
	parentReserve = 64
	perChild      = 4

	// mostOpening is enough to keep every process busy while connections open.
	mostOpening = 2_000
)

// deviations is how far from the mean a process may be in what the hash gives it: one in a billion
// is farther.
const deviations = 6

// newPlan takes as few processes as a limit of descriptors leaves.
func newPlan(o Options, l *Limits) plan {
	p := plan{conns: o.Conns, servers: o.Servers, clients: o.Clients, room: room(o, l, serverReserve)}
	if p.servers == 0 {
		p.servers = serversFor(o.Conns, p.room)
	}
	if p.clients == 0 {
		p.clients = ceil(o.Conns, room(o, l, clientReserve))
	}
	p.opening = openingFor(p.servers, min(known(l.SoMaxConn), known(l.SynBacklog)))
	return p
}

func room(o Options, l *Limits, reserve int) int {
	n := max(minPerProcess, int(min(l.Descriptors, math.MaxInt32))-reserve)
	if o.PerProcess > 0 {
		n = min(n, o.PerProcess)
	}
	return n
}

// known is a queue's length, or what kernels had when they were smallest.
func known(queue int) int {
	if queue == unknown {
		return 128
	}
	return queue
}

// ceil does not add before it divides: a limit that is none fills an int of 32 bits.
func ceil(n, parts int) int { return (n-1)/parts + 1 }

// most is the highest share, but for one case in a billion, when n are spread by hash over parts.
func most(n, parts int) float64 {
	mean := float64(n) / float64(parts)
	return mean + deviations*math.Sqrt(mean*(1-1/float64(parts)))
}

// serversFor is how few processes can share a port, when the kernel spreads connections over them by
// hash (SO_REUSEPORT) and each has room for so many.
func serversFor(conns, room int) int {
	n := max(1, ceil(conns, room))
	for most(conns, n) > float64(room) {
		n++
	}
	return n
}

// openingFor is how many connections may be opened at the same time, so that none of the servers has
// more of them waiting than its queue takes.
func openingFor(servers, queue int) int {
	n := mostOpening
	for n > 1 && most(n, servers) > float64(queue) {
		n = n * 9 / 10
	}
	return n
}

// share is the i-th of n parts of total, as even as can be.
func share(total, n, i int) int {
	if i < total%n {
		return total/n + 1
	}
	return total / n
}
