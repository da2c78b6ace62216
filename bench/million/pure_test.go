package million

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestDocNamesTheFiles keeps the list in doc.go complete and true.
func TestDocNamesTheFiles(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\w+\.go`).FindAllString(string(doc), -1)
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		special := strings.Contains(f, "_") || f == "doc.go" // a test, or for one system only
		if !special && !slices.Contains(named, f) {
			t.Errorf("doc.go does not name %s", f)
		}
	}
	for _, f := range named {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("doc.go names %s: %v", f, err)
		}
	}
}

func TestIntervalAt(t *testing.T) {
	for _, c := range []struct {
		conns, rate int
		want        time.Duration
	}{
		{1_000_000, 50_000, 20 * time.Second},
		{1_000_000, 40_000, 30 * time.Second},
		{1_000_000, 1_000_000, time.Second},
		{1_000_000, 999_999, 2 * time.Second},
		{40_000, 1_000_000, 50 * time.Millisecond},
		{1, 1_000_000, time.Millisecond},
		{9_000_000, 1_000, 10_000 * time.Second},
	} {
		if got := intervalAt(c.conns, c.rate); got != c.want {
			t.Errorf("%d connections, %d a second: %v, want %v", c.conns, c.rate, got, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{Command: []string{"true"}}.withDefaults(2)
	if err := good.validate(); err != nil || good.Conns != 1_000_000 || good.Hold != 10*time.Minute {
		t.Errorf("defaults: %v, %+v", err, good)
	}
	if good.Overload != 3*good.Every {
		t.Errorf("overloaded for %v at an interval of %v", good.Overload, good.Every)
	}
	if few := (Options{Conns: 100}).withDefaults(2); few.Overload != 30*time.Second {
		t.Errorf("a few are overloaded for %v", few.Overload)
	}
	if none := (Options{Idle: -1, Overload: -1}).withDefaults(2); none.Overload != 0 || none.Idle != 0 {
		t.Errorf("none: %+v", none)
	}
	if good.Every < 10*good.OverloadEvery {
		t.Errorf("intervals %v and %v are too close to each other", good.Every, good.OverloadEvery)
	}
	for name, spoil := range map[string]func(*Options){
		"conns":    func(o *Options) { o.Conns = -1 },
		"hold":     func(o *Options) { o.Hold = -1 },
		"servers":  func(o *Options) { o.Servers = -1 },
		"clients":  func(o *Options) { o.Clients = -1 },
		"every":    func(o *Options) { o.Every = time.Microsecond },
		"whole ms": func(o *Options) { o.OverloadEvery = 1500 * time.Microsecond },
		"too long": func(o *Options) { o.Every = 1000 * time.Hour },
		"process":  func(o *Options) { o.PerProcess = minPerProcess - 1 },
		"command":  func(o *Options) { o.Command = nil },
	} {
		o := good
		spoil(&o)
		if o.validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// procFiles is a machine as the kernel tells of it.
func procFiles() fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/sys/fs/nr_open":                                "1048576\n",
		"proc/sys/fs/file-max":                               "2466170\n",
		"proc/sys/fs/file-nr":                                "557\t0\t2466170\n",
		"proc/sys/fs/epoll/max_user_watches":                 "5491511\n",
		"proc/sys/net/core/somaxconn":                        "4096\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":              "2048\n",
		"proc/sys/net/ipv4/ip_local_port_range":              "32768\t60999\n",
		"proc/sys/net/ipv4/tcp_mem":                          "287898\t383867\t575796\n",
		"proc/sys/net/ipv4/tcp_ehash_entries":                "262144\n",
		"proc/sys/net/netfilter/nf_conntrack_max":            "262144\n",
		"proc/sys/net/netfilter/nf_conntrack_count":          "17\n",
		"proc/meminfo":                                       "MemTotal:       24683520 kB\nMemFree:  1 kB\nMemAvailable:   23000000 kB\n",
		"proc/self/cgroup":                                   "9:name=systemd:/\n8:pids:/\n5:cpu,cpuacct:/a\n4:memory:/api/one\n0::/\n",
		"sys/fs/cgroup/memory/api/memory.usage_in_bytes":     "4000\n",
		"sys/fs/cgroup/memory/api/memory.limit_in_bytes":     "8000000000\n",
		"sys/fs/cgroup/memory/api/one/memory.limit_in_bytes": "9223372036854771712\n",
		"sys/fs/cgroup/pids/pids.max":                        "max\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func TestReadLimits(t *testing.T) {
	l := readLimits(procFiles())
	want := Limits{
		DescMax: 1048576, Files: 2466170, FilesOpen: 557, Ports: 28232, SoMaxConn: 4096, SynBacklog: 2048, Watches: 5491511,
		TCPPages: [3]int{287898, 383867, 575796}, TCPHash: 262144, MemTotal: 24683520 << 10, MemAvailable: 23000000 << 10,
		Conntrack: 262144, ConntrackEntries: 17,
	}
	wantCgroups := []CgroupLimit{{File: "/sys/fs/cgroup/memory/api/memory.limit_in_bytes", Max: 8_000_000_000, Used: 4000}}
	if !slices.Equal(l.Cgroups, wantCgroups) {
		t.Errorf("control groups %+v", l.Cgroups)
	}
	l.Cgroups = nil
	if !equal(*l, want) {
		t.Errorf("got  %+v\nwant %+v", *l, want)
	}
}

// equal compares what has no slices.
func equal(a, b Limits) bool {
	return a.DescMax == b.DescMax && a.Files == b.Files && a.FilesOpen == b.FilesOpen && a.Ports == b.Ports &&
		a.SoMaxConn == b.SoMaxConn && a.SynBacklog == b.SynBacklog && a.Watches == b.Watches && a.TCPPages == b.TCPPages && a.TCPHash == b.TCPHash &&
		a.MemTotal == b.MemTotal && a.MemAvailable == b.MemAvailable && a.Conntrack == b.Conntrack && a.ConntrackEntries == b.ConntrackEntries
}

// TestUnknownLimits: what the kernel does not tell, or tells in other words, is no limit.
func TestUnknownLimits(t *testing.T) {
	odd := procFiles()
	for name := range odd {
		odd[name] = &fstest.MapFile{Data: []byte("32768 none of it\n")}
	}
	want := Limits{
		DescMax: unknown, Files: unknown, Ports: unknown, SoMaxConn: unknown, SynBacklog: unknown, Watches: unknown,
		TCPPages: [3]int{unknown, unknown, unknown}, TCPHash: unknown, MemTotal: unknown, MemAvailable: unknown, Conntrack: unknown,
	}
	for name, files := range map[string]fstest.MapFS{"missing": {}, "odd": odd} {
		if l := readLimits(files); !equal(*l, want) || len(l.Cgroups) > 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
	want.Descriptors = math.MaxUint64
	for _, c := range check(&want, newPlan(Options{Conns: 1_000_000}, &want)) {
		if !c.Fine {
			t.Errorf("%s is not fine: %s", c.Name, c.Says)
		}
	}
}

// TestCgroupTwo: version 2 has one path, and limits of every group above it count too.
func TestCgroupTwo(t *testing.T) {
	l := readLimits(fstest.MapFS{
		"proc/self/cgroup":                            {Data: []byte("0::/user.slice/run\n")},
		"sys/fs/cgroup/user.slice/memory.max":         {Data: []byte("1000\n")},
		"sys/fs/cgroup/user.slice/run/memory.max":     {Data: []byte("max\n")},
		"sys/fs/cgroup/user.slice/run/pids.max":       {Data: []byte("50\n")},
		"sys/fs/cgroup/user.slice/run/pids.current":   {Data: []byte("7\n")},
		"sys/fs/cgroup/user.slice/run/memory.current": {Data: []byte("9\n")},
	})
	want := []CgroupLimit{
		{File: "/sys/fs/cgroup/user.slice/memory.max", Max: 1000},
		{File: "/sys/fs/cgroup/user.slice/run/pids.max", Max: 50, Used: 7},
	}
	if !slices.Equal(l.Cgroups, want) {
		t.Errorf("got %+v", l.Cgroups)
	}
}

// wide is a machine without any limit that is in the way of a million.
func wide() Limits {
	return Limits{
		Processors: 2, Descriptors: 20_000, DescMax: 1 << 20, Files: 3_000_000, Ports: 28_232, SoMaxConn: 4096, SynBacklog: 2048,
		Watches: 5_000_000, TCPPages: [3]int{1, 3_000_000, 4_000_000}, TCPHash: 1 << 20, MemTotal: 24 << 30, MemAvailable: 22 << 30,
		Conntrack: unknown,
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		edit func(*Limits)
		want plan
	}{
		{
			"a million at 20,000 descriptors", Options{Conns: 1_000_000}, func(*Limits) {},
			plan{conns: 1_000_000, servers: 53, clients: 51, room: 19_744, opening: 2000},
		},
		{
			"one process of each where the limit allows it", Options{Conns: 1_000_000}, func(l *Limits) { l.Descriptors = 1 << 20 },
			plan{conns: 1_000_000, servers: 1, clients: 1, room: 1<<20 - serverReserve, opening: 2000},
		},
		{
			"no limit of descriptors at all", Options{Conns: 1_000_000}, func(l *Limits) { l.Descriptors = math.MaxUint64 },
			plan{conns: 1_000_000, servers: 1, clients: 1, room: math.MaxInt32 - serverReserve, opening: 2000},
		},
		{
			"a short queue", Options{Conns: 1_000_000}, func(l *Limits) { l.Descriptors, l.SoMaxConn = 1<<20, 128 },
			plan{conns: 1_000_000, servers: 1, clients: 1, room: 1<<20 - serverReserve, opening: 126},
		},
		{
			"a bound of the user's", Options{Conns: 200, PerProcess: 150}, func(*Limits) {},
			plan{conns: 200, servers: 2, clients: 2, room: 150, opening: 2000},
		},
		{
			"numbers of the user's", Options{Conns: 200, Servers: 3, Clients: 5}, func(*Limits) {},
			plan{conns: 200, servers: 3, clients: 5, room: 19_744, opening: 2000},
		},
	} {
		l := wide()
		c.edit(&l)
		if got := newPlan(c.o, &l); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// TestServersHaveRoom spreads connections at random, and none gets more than it has room for.
func TestServersHaveRoom(t *testing.T) {
	for _, c := range []struct{ conns, room int }{{1_000_000, 19_744}, {1000, 100}, {1000, 1000}, {40, 16}, {3_000, 20}} {
		n := serversFor(c.conns, c.room)
		for seed := range uint64(5) {
			r := rand.New(rand.NewPCG(seed, uint64(c.conns)))
			share := make([]int, n)
			for range c.conns {
				share[r.IntN(n)]++
			}
			if most := slices.Max(share); most > c.room {
				t.Errorf("%d connections over %d processes: one got %d, which has room for %d", c.conns, n, most, c.room)
			}
		}
		if n > 1 && c.room*n > 16*c.conns {
			t.Errorf("%d processes for %d connections with room for %d each are too many", n, c.conns, c.room)
		}
	}
}

// TestChecks has each limit too low by one, and just high enough.
func TestChecks(t *testing.T) {
	conns := Options{Conns: 1_000_000}
	l := wide()
	p := newPlan(conns, &l)
	sockets := 2*1_000_000 + processFiles*(p.servers+p.clients)
	memory := int64(1_000_000)*(kernelPair+serverConn+clientConn) + int64(p.servers+p.clients)*processBytes
	for _, c := range []struct {
		name   string
		err    error
		set    func(l *Limits, n int64)
		enough int64
		change []string // what the commands contain
	}{
		{"fs.file-max", ErrFiles, func(l *Limits, n int64) { l.Files, l.FilesOpen = int(n), 100 }, int64(sockets) + 100, []string{"sysctl -w fs.file-max='2100000'"}},
		{"ports", ErrPorts, func(l *Limits, n int64) { l.Ports = int(n) }, 4444, []string{"ip_local_port_range='1024 65535'"}},
		{"memory", ErrMemory, func(l *Limits, n int64) { l.MemAvailable = n }, memory + 24<<30/spareMemory, nil},
		{"tcp_mem", nil, func(l *Limits, n int64) { l.TCPPages[1] = int(n) }, 100_000, []string{"tcp_mem='100000 100000 200000'"}},
		{"tcp_ehash", nil, func(l *Limits, n int64) { l.TCPHash = int(n) }, 500_000, nil},
		{"conntrack", ErrConntrack, func(l *Limits, n int64) { l.Conntrack, l.ConntrackEntries = int(n), 5 }, 1_000_005, []string{"nf_conntrack_max='1100000'"}},
		{"epoll", ErrWatches, func(l *Limits, n int64) { l.Watches = int(n) }, int64(sockets), []string{"max_user_watches='2100000'"}},
		{"cgroup", ErrCgroup, func(l *Limits, n int64) { l.Cgroups = []CgroupLimit{{"/x/memory.max", n, 70}} }, memory + 70, []string{"> /x/memory.max"}},
		{"cgroup", ErrCgroup, func(l *Limits, n int64) { l.Cgroups = []CgroupLimit{{"/x/pids.max", n, 7}} }, int64(taskCount*(p.servers+p.clients) + 7), []string{"> /x/pids.max"}},
	} {
		l := wide()
		c.set(&l, c.enough)
		if bad := notFine(check(&l, newPlan(conns, &l))); len(bad) > 0 {
			t.Errorf("%s of %d: not fine: %+v", c.name, c.enough, bad)
		}
		c.set(&l, c.enough-1)
		bad := notFine(check(&l, newPlan(conns, &l)))
		if len(bad) != 1 || bad[0].Name != c.name || bad[0].Needed != (c.err != nil) || bad[0].err != c.err {
			t.Errorf("%s of %d: %+v", c.name, c.enough-1, bad)
			continue
		}
		if len(bad[0].Change) != len(c.change) || len(c.change) > 0 && !strings.Contains(bad[0].Change[0], c.change[0]) {
			t.Errorf("%s: to be changed by %q, want %q", c.name, bad[0].Change, c.change)
		}
		if c.err != nil {
			wantRefusal(t, c.name, conns, &l, c.err)
		}
	}
}

func notFine(all []Check) []Check {
	return slices.DeleteFunc(all, func(c Check) bool { return c.Fine })
}

// wantRefusal: the number that would do does, and one more does not.
func wantRefusal(t *testing.T, name string, o Options, l *Limits, err error) {
	t.Helper()
	n := greatest(o, l)
	refusal := &Refusal{Conns: o.Conns, Greatest: n, Checks: refused(check(l, newPlan(o, l)))}
	if !errors.Is(refusal, err) || !strings.Contains(refusal.Error(), err.Error()) {
		t.Errorf("%s: %v", name, refusal)
	}
	if n <= 0 || n >= o.Conns {
		t.Errorf("%s: %d connections would do, but not %d", name, n, o.Conns)
		return
	}
	for conns, refusals := range map[int]int{n: 0, n + 1: 1} {
		less := Options{Conns: conns}
		if no := refused(check(l, newPlan(less, l))); len(no) != refusals {
			t.Errorf("%s: %d would do, but of %d connections: %+v", name, n, conns, no)
		}
	}
}

// TestFewDescriptors: so low a limit that the process itself could not hold the pipes to all children.
func TestFewDescriptors(t *testing.T) {
	l := wide()
	l.Descriptors, l.DescMax, l.MemAvailable = 1024, 100_000, unknown
	bad := notFine(check(&l, newPlan(Options{Conns: 150_000}, &l)))
	if len(bad) != 1 || bad[0].err != ErrDescriptors {
		t.Fatalf("%+v", bad)
	}
	want := []string{"sysctl -w fs.nr_open='160000'", "ulimit -n 150256"}
	if !slices.Equal(bad[0].Change, want) {
		t.Errorf("to be changed by %q, want %q", bad[0].Change, want)
	}
	wantRefusal(t, "descriptors", Options{Conns: 150_000}, &l, ErrDescriptors)
}

func TestRoundUp(t *testing.T) {
	for n, want := range map[int]int{0: 0, 7: 7, 99: 99, 100: 100, 101: 110, 1_000_001: 1_100_000, 999_000: 1_000_000} {
		if got := roundUp(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// TestAt: between two reports counts are as if they had changed evenly, and before and after the last
// ones they are those.
func TestAt(t *testing.T) {
	c := &child{ended: make(chan struct{})}
	for i := range int64(20) {
		c.keep(report{At: 1000 * i, Counts: counts{opened: 100 * i, received: 7000 * i}})
	}
	for at, want := range map[int64]counts{
		19_000:  {opened: 1900, received: 133_000},
		99_000:  {opened: 1900, received: 133_000},
		18_500:  {opened: 1850, received: 129_500},
		18_001:  {opened: 1800, received: 126_007},
		18_000:  {opened: 1800, received: 126_000},
		12_000:  {opened: 1200, received: 84_000},
		-10_000: {opened: 1200, received: 84_000}, // the oldest that is kept
	} {
		if got := c.at(at); got != want {
			t.Errorf("at %d: %v, want %v", at, got, want)
		}
	}
	close(c.ended)
	if got := c.last().Counts; got[open] != 0 || got[lost] != 1900 {
		t.Errorf("after its end: %v", got)
	}
}

func TestSpreadOf(t *testing.T) {
	if s := spreadOf(map[int]int{7: 1, 3: 90, 5: 2}); s.Least != 3 || s.Most != 7 {
		t.Errorf("%+v", s)
	}
	if s := spreadOf(nil); s.Least != 0 || s.Most != 0 {
		t.Errorf("of none: %+v", s)
	}
}

func TestServerLateness(t *testing.T) {
	before, after := make([]uint64, 14), make([]uint64, 14)
	before[0], after[0], after[6], after[13] = 1000, 1090, 9, 1
	l := serverLateness(before, after)
	if l.P50Seconds != 0.0005 || l.P99Seconds != 0.05 || l.P999Seconds != 5 || l.Counts[0] != 90 {
		t.Errorf("%+v", l)
	}
	if after[0] != 1090 {
		t.Error("the sum was changed")
	}
	if l := serverLateness(nil, nil); l.P99Seconds != 0 || len(l.BoundSeconds) != 13 {
		t.Errorf("of none: %+v", l)
	}
}

func TestCalm(t *testing.T) {
	for name, c := range map[string]struct {
		n    counts
		want bool
	}{
		"nothing":          {counts{}, true},
		"all on time":      {counts{ticks: 100, punctual: 100}, true},
		"one of a hundred": {counts{ticks: 100, punctual: 99}, true},
		"two of a hundred": {counts{ticks: 100, punctual: 98}, false},
		"one skipped":      {counts{ticks: 100, punctual: 100, skipped: 1}, false},
	} {
		if calm(c.n) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}

func TestMemorySum(t *testing.T) {
	m := Memory{
		Before:     Weight{Conns: 0, ServerRSSBytes: 100, ServerPSSBytes: 50, ClientPSSBytes: 10, AvailableBytes: 10_000, SlabBytes: 70},
		SlopeStart: &Weight{Conns: 5, ServerRSSBytes: 300},
		Open:       Weight{Conns: 10, ServerRSSBytes: 500, ServerPSSBytes: 250, ClientPSSBytes: 60, AvailableBytes: 9_000, SlabBytes: 970},
	}
	m.sum()
	if m.ServerRSSPerConn != 40 || m.ServerRSSSlopePerConn != 40 || m.ServerPSSPerConn != 20 || m.ClientPSSPerConn != 5 ||
		m.KernelPerPair != 90 || m.AvailablePerPair != 75 {
		t.Errorf("%+v", m)
	}
}
