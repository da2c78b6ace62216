package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

const rollup = `55a1c0000000-7ffd1f5f2000 ---p 00000000 00:00 0                          [rollup]
Rss:               11936 kB
Pss:                5210 kB
Pss_Dirty:          3280 kB
`

const status = `Name:	stillpool
VmHWM:	   25000 kB
VmRSS:	   24212 kB
RssAnon:	   12000 kB
`

func TestParseField(t *testing.T) {
	for _, c := range []struct {
		data, name string
		want       int64
	}{
		{rollup, "Rss:", 11936 << 10},
		{rollup, "Pss:", 5210 << 10},
		{status, "VmRSS:", 24212 << 10},
	} {
		if got, err := parseField([]byte(c.data), c.name); err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct{ data, name string }{
		{rollup, "VmRSS:"},
		{"", "Rss:"},
		{"Rss: 12", "Rss:"},
		{"Rss: 12 MB", "Rss:"},
		{"Rss: many kB", "Rss:"},
		{"Rss: -5 kB", "Rss:"},
		{"Rss: 9007199254740992 kB", "Rss:"}, // more bytes than an int64 has room for
	} {
		if got, err := parseField([]byte(c.data), c.name); err == nil {
			t.Errorf("%s in %q: got %d, want an error", c.name, c.data, got)
		}
	}
}

const meminfo = `MemTotal:       24660564 kB
Slab:             496036 kB
SReclaimable:     308756 kB
KernelStack:        1848 kB
PageTables:         2668 kB
SecPageTables:         0 kB
HugePages_Total:       0
`

func TestParseKernelMemory(t *testing.T) {
	want := KernelMemory{Slab: 496036 << 10, Stacks: 1848 << 10, PageTables: 2668 << 10}
	k, err := parseKernelMemory([]byte(meminfo))
	if err != nil || k != want || k.Total() != (496036+1848+2668)<<10 {
		t.Errorf("got %+v, %v, want %+v", k, err, want)
	}
	for _, field := range []string{"Slab:", "KernelStack:", "PageTables:"} {
		if k, err := parseKernelMemory([]byte(strings.Replace(meminfo, field, "Else:", 1))); err == nil {
			t.Errorf("without %s: %+v", field, k)
		}
	}
	if k, err := kernelMemory(); err != nil || k.Slab <= 0 {
		t.Errorf("of this machine: %+v, %v", k, err)
	}
}

func TestParseRunDelay(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"12345 678 9\n": 678, "": 0, "1 2\n": 0, "a b c\n": 0,
	} {
		if got := parseRunDelay([]byte(text)); got != want {
			t.Errorf("%q has a run delay of %v, want %v", text, got, want)
		}
	}
}

// TestStarvation: a client that had to wait for processors says so, by the number of its loops.
func TestStarvation(t *testing.T) {
	for _, c := range []struct {
		wait  float64
		loops int
		want  string
	}{
		{49, 1, ""}, {50, 1, "it waited for a processor for 50% of the time with 1 loop(s)"}, {99, 2, ""}, {120, 2, "120%"},
	} {
		got := strings.Join(starvation(Use{WaitPercent: c.wait}, c.loops), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v%% with %d loops: %q", c.wait, c.loops, got)
		}
	}
}

func TestProcessItself(t *testing.T) {
	p := &process{pid: os.Getpid()}
	before, err := p.cpu()
	if err != nil || before <= 0 {
		t.Fatalf("processor time: %v, %v", before, err)
	}
	for {
		after, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			break
		}
	}
	held := make([]byte, 32<<20)
	for i := range held {
		held[i] = 1
	}
	if rss, err := p.rss(); err != nil || rss < int64(len(held)) {
		t.Errorf("resident memory: %d, %v, with %d bytes in use", rss, err, len(held))
	}
}

func TestProcessGone(t *testing.T) {
	p := &process{pid: 1 << 22} // above the highest that the kernel gives
	if cpu, err := p.cpu(); err == nil {
		t.Errorf("processor time: %v, want an error", cpu)
	}
	if rss, err := p.rss(); err == nil {
		t.Errorf("resident memory: %d, want an error", rss)
	}
}
