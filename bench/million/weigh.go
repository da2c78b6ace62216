package million

import (
	"fmt"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// What processes take, as the kernel tells of each. One that has ended takes nothing any more.

// weigh is all memory now. It stops each process for a moment, for the exact numbers.
func (c *crew) weigh() Weight {
	w := Weight{Conns: int(c.now()[open])}
	for _, ch := range c.servers {
		w.ServerRSSBytes += ch.bytes("smaps_rollup", "Rss:")
		w.ServerPSSBytes += ch.bytes("smaps_rollup", "Pss:")
	}
	for _, ch := range c.clients {
		w.ClientRSSBytes += ch.bytes("smaps_rollup", "Rss:")
		w.ClientPSSBytes += ch.bytes("smaps_rollup", "Pss:")
	}
	w.AvailableBytes, w.SlabBytes = available(), slab()
	return w
}

// bytes is a field of a file of the process, whose id may be another's when it has ended.
func (c *child) bytes(file, field string) int64 {
	if c.hasEnded() {
		return 0
	}
	n, _ := bench.ProcBytes(fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, file), field)
	return n
}

func available() int64 { return meminfo("MemAvailable:") }

func slab() int64 { return meminfo("Slab:") }

func meminfo(field string) int64 {
	n, err := bench.ProcBytes("/proc/meminfo", field)
	if err != nil {
		return unknown
	}
	return n
}

// cpu is processor time: that of one child, or of several.
func (c *child) cpu() time.Duration {
	if now, err := bench.CPUTime(c.cmd.Process.Pid); err == nil && !c.hasEnded() {
		c.spent.Store(int64(now))
	}
	return time.Duration(c.spent.Load()) // of one that has ended, what it had taken when last asked
}

func cpuOf(all []*child) (d time.Duration) {
	for _, ch := range all {
		d += ch.cpu()
	}
	return d
}

// rssOf is the counter that is quick to read.
func rssOf(all []*child) (n int64) {
	for _, ch := range all {
		n += ch.bytes("status", "VmRSS:")
	}
	return n
}
