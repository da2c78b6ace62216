package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strings"
)

// Machine is where something was measured. It names no host.
type Machine struct {
	CPU         string `json:"cpu"`
	Processors  int    `json:"processors"`
	MemoryBytes int64  `json:"memory_bytes"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
	Arch        string `json:"arch"`
	Descriptors uint64 `json:"descriptors"` // that a process may have
	Virtual     bool   `json:"virtual"`
}

// ThisMachine asks the kernel. What it does not tell stays empty.
func ThisMachine() Machine {
	m := Machine{Processors: runtime.NumCPU(), Go: runtime.Version(), Arch: runtime.GOARCH, Descriptors: descriptorLimit()}
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = cpuinfoField(cpuinfo, "model name")
	m.Virtual = strings.Contains(" "+cpuinfoField(cpuinfo, "flags")+" ", " hypervisor ")
	m.MemoryBytes, _ = readField("/proc/meminfo", "MemTotal:")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	return m
}

// cpuinfoField is the field's value in the first processor's paragraph.
func cpuinfoField(cpuinfo []byte, name string) string {
	for lines := bufio.NewScanner(bytes.NewReader(cpuinfo)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
