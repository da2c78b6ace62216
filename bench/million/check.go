package million

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// Check is one thing that a machine must allow, or had better.
type Check struct {
	Name string `json:"name"`
	// Says is what is needed and what there is.
	Says string `json:"says"`
	Fine bool   `json:"fine"`
	// Needed: while it is not fine, a run can't succeed.
	Needed bool `json:"needed"`
	// Change is what to do about it, as commands for a shell of root; Fix does what is a Setting of them.
	Change []string `json:"change,omitempty"`

	settings []Setting
	err      error
}

// Why a run is refused: errors.Is tells them apart in a [Refusal].
var (
	ErrDescriptors = errors.New("too few descriptors for a process")
	ErrFiles       = errors.New("too few descriptors for the machine")
	ErrPorts       = errors.New("too few ports")
	ErrMemory      = errors.New("too little memory")
	ErrConntrack   = errors.New("too small a table of connection tracking")
	ErrWatches     = errors.New("too few descriptors that epoll may wait for")
	ErrCgroup      = errors.New("too low a limit of a control group")
)

// Refusal is why a run was not begun. It wraps an error for each check that failed.
type Refusal struct {
	Conns    int // asked for
	Greatest int // number of connections that the machine allows as it is
	Checks   []Check
}

func (r *Refusal) Error() string {
	var why []string
	for _, c := range r.Checks {
		why = append(why, fmt.Sprintf("%v (%s)", c.err, c.Says))
	}
	return fmt.Sprintf("million: %d connections are more than this machine allows: %s; as it is, --conns %d would do",
		r.Conns, strings.Join(why, "; "), r.Greatest)
}

// Unwrap is for errors.Is.
func (r *Refusal) Unwrap() (all []error) {
	for _, c := range r.Checks {
		all = append(all, c.err)
	}
	return all
}

// What things take. Measured with 100,000 and 1,000,000 connections over loopback, Linux 6.18 on amd64, and
// rounded up.
const (
	kernelPair   = 10_500  // bytes of the kernel for both ends of a connection, by how its slabs grow
	serverConn   = 400     // bytes of the server process for one, garbage of opening it included
	clientConn   = 700     // bytes of the client process
	processBytes = 9 << 20 // of a process without any
	taskCount    = 12      // threads of a process
	processFiles = 32      // descriptors of a process without any connection

	// spareMemory is what must stay free of all memory, as a part of it: for the rest of the machine.
	spareMemory = 20
	// mostProcesses is where it is better to raise the limit than to start more.
	mostProcesses = 1_000
)

// Sources of connections in package bench: so many loopback addresses.
const sources = 250

// check holds a plan against the limits.
func check(l *Limits, p plan) []Check {
	all := []Check{
		checkDescriptors(l, p), checkFiles(l, p), checkPorts(l, p), checkMemory(l, p), checkTCPMemory(l, p),
		checkHash(l, p), checkConntrack(l, p), checkBacklog(l, p), checkWatches(l, p),
	}
	return append(all, checkCgroups(l, p)...)
}

// enough makes a check of two numbers of which the first must not be more than the second.
func enough(name string, err error, need, have int64, says string) Check {
	return Check{Name: name, Says: says, Fine: have == unknown || need <= have, Needed: true, err: err}
}

// by says what to change if the check is not fine.
func (c Check) by(name string, value any) Check {
	if !c.Fine {
		s := Setting{name, fmt.Sprint(value)}
		c.settings = append(c.settings, s)
		c.Change = append(c.Change, s.command())
	}
	return c
}

func checkDescriptors(l *Limits, p plan) Check {
	children := p.servers + p.clients
	room := min(mostProcesses, (int(min(l.Descriptors, math.MaxInt32))-parentReserve)/perChild)
	c := enough("descriptors", ErrDescriptors, int64(children), int64(room), fmt.Sprintf(
		"%d a process (ulimit -n): %d servers of at most %d connections each and %d clients", l.Descriptors, p.servers, p.room, p.clients))
	if !c.Fine {
		c.Says += fmt.Sprintf("; more than %d processes are too many", max(room, 0))
		need := p.conns + serverReserve
		if l.DescMax != unknown && need > l.DescMax {
			c = c.by("fs.nr_open", roundUp(need))
		}
		c.Change = append(c.Change, fmt.Sprintf("ulimit -n %d", need))
	}
	return c
}

func checkFiles(l *Limits, p plan) Check {
	need := 2*p.conns + processFiles*(p.servers+p.clients)
	return enough("fs.file-max", ErrFiles, int64(need), left(l.Files, l.FilesOpen), fmt.Sprintf(
		"two sockets a connection: %d of the %d descriptors of the machine, where %d are open", need, l.Files, l.FilesOpen)).
		by("fs.file-max", roundUp(need+l.FilesOpen))
}

// left is what is left of a limit, or unknown.
func left(limit, used int) int64 {
	if limit == unknown {
		return unknown
	}
	return int64(max(0, limit-used))
}

// checkPorts leaves a tenth, so that the kernel need not look for a free port for long.
func checkPorts(l *Limits, p plan) Check {
	need := ceil(p.conns, sources) * 10 / 9
	return enough("ports", ErrPorts, int64(need), int64(l.Ports), fmt.Sprintf(
		"%d of %d on each of %d source addresses (127.0.0.x)", ceil(p.conns, sources), l.Ports, sources)).
		by("net.ipv4.ip_local_port_range", "1024 65535")
}

// memoryFor is what a run takes, in bytes.
func memoryFor(p plan) int64 {
	return int64(p.conns)*(kernelPair+serverConn+clientConn) + int64(p.servers+p.clients)*processBytes
}

func checkMemory(l *Limits, p plan) Check {
	need, spare := memoryFor(p), max(0, l.MemTotal/spareMemory)
	have := l.MemAvailable
	if have != unknown {
		have = max(0, have-spare)
	}
	return enough("memory", ErrMemory, need, have, fmt.Sprintf("about %s, of it %s the kernel's for both ends of all; %s are available, of which %s stay free",
		size(need), size(int64(p.conns)*kernelPair), size(l.MemAvailable), size(spare)))
}

// checkTCPMemory is for the overload: a queue that is not empty is charged a page at least, and past
// the last number the kernel takes nothing into it. Of a million connections a few thousand had something
// in a queue at a time; a tenth is for a machine whose clients are slower than its servers.
func checkTCPMemory(l *Limits, p plan) Check {
	need := p.conns / 10
	c := enough("tcp_mem", nil, int64(need), int64(l.TCPPages[1]), fmt.Sprintf(
		"%d pages, if something waits on a tenth of them; the kernel saves from %d on and has %d", need, l.TCPPages[1], l.TCPPages[2]))
	c.Needed = false
	return c.by("net.ipv4.tcp_mem", fmt.Sprintf("%d %d %d", roundUp(need), roundUp(need), roundUp(2*need)))
}

// longestChain of sockets is where looking for one begins to show among what a packet costs.
const longestChain = 4

// checkHash is only advice, and only for the next start of the machine.
func checkHash(l *Limits, p plan) Check {
	c := enough("tcp_ehash", nil, int64(ceil(2*p.conns, longestChain)), int64(l.TCPHash), fmt.Sprintf(
		"%d sockets in %d chains", 2*p.conns, l.TCPHash))
	if c.Needed = false; !c.Fine {
		c.Says += fmt.Sprintf(": each packet costs less if the kernel is started with thash_entries=%d", 2*p.conns)
	}
	return c
}

func checkConntrack(l *Limits, p plan) Check {
	if l.Conntrack == unknown {
		return Check{Name: "conntrack", Says: "loopback connections are not tracked", Fine: true}
	}
	return enough("conntrack", ErrConntrack, int64(p.conns), left(l.Conntrack, l.ConntrackEntries), fmt.Sprintf(
		"an entry a connection: %d of %d, where %d are taken", p.conns, l.Conntrack, l.ConntrackEntries)).
		by("net.netfilter.nf_conntrack_max", roundUp(p.conns+l.ConntrackEntries))
}

// checkBacklog is always fine, because the plan goes by the queue.
func checkBacklog(l *Limits, p plan) Check {
	return Check{Name: "backlog", Fine: true, Says: fmt.Sprintf(
		"%d connections are opened at a time, at most %.0f of them on one server, whose queue takes %d",
		p.opening, min(most(p.opening, p.servers), float64(p.opening)), min(known(l.SoMaxConn), known(l.SynBacklog)))}
}

func checkWatches(l *Limits, p plan) Check {
	need := 2*p.conns + processFiles*(p.servers+p.clients)
	return enough("epoll", ErrWatches, int64(need), int64(l.Watches), fmt.Sprintf(
		"both ends of each wait in an epoll set: %d of the %d that a user may have", need, l.Watches)).
		by("fs.epoll.max_user_watches", roundUp(need))
}

// checkCgroups holds what is left of each group's limit against what the run takes.
func checkCgroups(l *Limits, p plan) (all []Check) {
	for _, g := range l.Cgroups {
		need, unit := int64(taskCount*(p.servers+p.clients)), func(n int64) string { return fmt.Sprintf("%d threads", n) }
		if g.isMemory() {
			need, unit = memoryFor(p), func(n int64) string { return size(n) }
		}
		c := enough("cgroup", ErrCgroup, need, max(0, g.Max-g.Used), fmt.Sprintf(
			"%s allows %s, of which %s are taken; it takes %s", g.File, unit(g.Max), unit(g.Used), unit(need)))
		if !c.Fine {
			c.Change = []string{fmt.Sprintf("echo %d > %s", g.Used+need+need/10, g.File)}
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		all = []Check{{Name: "cgroup", Says: "no limit", Fine: true}}
	}
	return all
}

// roundUp is n up to its second digit, so that a number to be typed is short.
func roundUp(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return ceil(n, unit) * unit
}

// refused are the checks that a run can't do without.
func refused(all []Check) []Check {
	return slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return c.Fine || !c.Needed })
}

// greatest is the highest number of connections that no check refuses.
func greatest(o Options, l *Limits) int {
	return sort.Search(o.Conns, func(n int) bool {
		less := o
		less.Conns = n + 1
		return len(refused(check(l, newPlan(less, l)))) > 0
	})
}

// thisMachine reads the limits of this process on this machine.
func thisMachine() *Limits {
	l := readLimits(os.DirFS("/"))
	m := bench.ThisMachine()
	l.Processors, l.Descriptors = m.Processors, m.Descriptors
	if l.Conntrack != unknown && !tracked(l) {
		l.Conntrack = unknown
	}
	return l
}
