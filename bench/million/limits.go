package million

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// Limits are what the machine allows, and what of it is taken already. A number that the kernel does
// not tell is -1, which is taken for no limit.
type Limits struct {
	Processors  int    `json:"processors"`
	Descriptors uint64 `json:"descriptors"` // of a process (RLIMIT_NOFILE)
	DescMax     int    `json:"nr_open"`     // that Descriptors may be raised to
	Files       int    `json:"file_max"`    // of the machine
	FilesOpen   int    `json:"file_nr"`
	Ports       int    `json:"ports"` // of one address, for connections of its own
	SoMaxConn   int    `json:"somaxconn"`
	SynBacklog  int    `json:"tcp_max_syn_backlog"`
	Watches     int    `json:"max_user_watches"`
	// TCPPages bounds the memory of TCP's queues, in pages: from the second on the kernel saves, and it
	// goes up to the third only.
	TCPPages [3]int `json:"tcp_mem"`
	// TCPHash is how many chains the kernel keeps its TCP sockets in; it goes along one for each packet.
	TCPHash int `json:"tcp_ehash_entries"`

	MemTotal     int64 `json:"mem_total"`
	MemAvailable int64 `json:"mem_available"`

	// Conntrack is the most that the connection tracking holds; -1 also if it is not loaded, or does not
	// look at loopback connections.
	Conntrack        int `json:"nf_conntrack_max"`
	ConntrackEntries int `json:"nf_conntrack_count"`

	Cgroups []CgroupLimit `json:"cgroups,omitempty"`
}

// CgroupLimit is a limit of a control group that this process is in.
type CgroupLimit struct {
	File string `json:"file"`
	Max  int64  `json:"max"`
	Used int64  `json:"used"`
}

const unknown = -1

// readLimits reads what files tell. root is where proc and sys are.
func readLimits(root fs.FS) *Limits {
	l := &Limits{
		DescMax:    number(root, "proc/sys/fs/nr_open"),
		Files:      number(root, "proc/sys/fs/file-max"),
		FilesOpen:  max(0, number(root, "proc/sys/fs/file-nr")),
		SoMaxConn:  number(root, "proc/sys/net/core/somaxconn"),
		SynBacklog: number(root, "proc/sys/net/ipv4/tcp_max_syn_backlog"),
		Watches:    number(root, "proc/sys/fs/epoll/max_user_watches"),
		Ports:      readPorts(root),
		TCPHash:    number(root, "proc/sys/net/ipv4/tcp_ehash_entries"),
		TCPPages:   [3]int{unknown, unknown, unknown},
		Conntrack:  number(root, "proc/sys/net/netfilter/nf_conntrack_max"),
	}
	l.ConntrackEntries = max(0, number(root, "proc/sys/net/netfilter/nf_conntrack_count"))
	if pages := numbers(root, "proc/sys/net/ipv4/tcp_mem"); len(pages) == 3 {
		l.TCPPages = [3]int{clampInt(pages[0]), clampInt(pages[1]), clampInt(pages[2])}
	}
	meminfo, _ := fs.ReadFile(root, "proc/meminfo")
	l.MemTotal, l.MemAvailable = memoryOf(meminfo, "MemTotal:"), memoryOf(meminfo, "MemAvailable:")
	l.Cgroups = readCgroups(root)
	return l
}

// number returns the first number in a file, or unknown if there is none.
func number(root fs.FS, name string) int { return clampInt(number64(root, name)) }

// number64 is number for values that a 32-bit int can't hold, such as bytes.
func number64(root fs.FS, name string) int64 {
	if all := numbers(root, name); len(all) > 0 {
		return all[0]
	}
	return unknown
}

// clampInt returns n, or the nearest int: a 64-bit kernel writes file-max as 1<<63-1 for a 32-bit process too.
func clampInt(n int64) int { return int(min(max(n, math.MinInt), math.MaxInt)) }

func numbers(root fs.FS, name string) (all []int64) {
	data, _ := fs.ReadFile(root, name)
	for _, word := range strings.Fields(string(data)) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// readPorts counts the ports that the kernel gives to connections of its own choice.
func readPorts(root fs.FS) int {
	bounds := numbers(root, "proc/sys/net/ipv4/ip_local_port_range")
	if len(bounds) != 2 || bounds[1] < bounds[0] {
		return unknown
	}
	return clampInt(bounds[1] - bounds[0] + 1)
}

// memoryOf finds a line of /proc/meminfo.
func memoryOf(meminfo []byte, name string) int64 {
	for line := range strings.Lines(string(meminfo)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != name || f[2] != "kB" {
			continue
		}
		if kB, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			return kB << 10
		}
	}
	return unknown
}

// readCgroups finds the limits of the control groups of this process and of all groups that those are
// in, version 1 and 2, where both are mounted by custom.
func readCgroups(root fs.FS) (all []CgroupLimit) {
	data, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number:controllers:path
		if len(f) != 3 {
			continue
		}
		for _, of := range cgroupFiles[f[1]] {
			for dir := path.Join(of.mount, f[2]); ; dir = path.Dir(dir) {
				if limit := number64(root, path.Join(dir, of.max)); limit > 0 && limit < noCgroupLimit {
					all = append(all, CgroupLimit{
						File: "/" + path.Join(dir, of.max), Max: limit, Used: max(0, number64(root, path.Join(dir, of.used))),
					})
				}
				if dir == of.mount {
					break
				}
			}
		}
	}
	return all
}

// noCgroupLimit: version 1 writes the highest number of pages for none; version 2 the word max, which is
// no number.
const noCgroupLimit int64 = 1 << 60

// cgroupFiles are by the controllers that /proc/self/cgroup names, of which version 2 names none.
var cgroupFiles = map[string][]struct{ mount, max, used string }{
	"": {
		{"sys/fs/cgroup", "memory.max", "memory.current"},
		{"sys/fs/cgroup", "pids.max", "pids.current"},
	},
	"memory": {{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"}},
	"pids":   {{"sys/fs/cgroup/pids", "pids.max", "pids.current"}},
}

// isMemory tells limits of bytes from limits of tasks.
func (c CgroupLimit) isMemory() bool { return strings.HasPrefix(path.Base(c.File), "memory.") }

// size is bench's, for one type more.
func size[T int | int64](bytes T) string { return bench.Size(float64(bytes)) }
