package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// process is a process of this machine, whose use of it is measured from outside.
type process struct{ pid int }

// rss is the memory that the process holds at the moment, its share of what is mapped from files
// included. smaps_rollup counts pages; the counter in status is only summed up now and then, and
// may be off by some hundred kilobytes on a machine with many processors. But smaps_rollup is for
// who may trace the process, and status for everybody.
func (p *process) rss() (int64, error) {
	bytes, err := readField(p.path("smaps_rollup"), "Rss:")
	if err != nil {
		bytes, err = readField(p.path("status"), "VmRSS:")
	}
	return bytes, err
}

// waited sums up for how long the threads of the process were ready to run, and had no processor. It is 0 where the
// kernel does not account for that; a thread that has ended is left out.
func (p *process) waited() (sum time.Duration) {
	files, _ := filepath.Glob(p.path("task/*/schedstat"))
	for _, file := range files {
		data, _ := os.ReadFile(file) // fails if the thread has just ended
		sum += parseRunDelay(data)
	}
	return sum
}

// parseRunDelay finds the second of the three numbers of a schedstat file: run time, run delay and time slices.
func parseRunDelay(schedstat []byte) time.Duration {
	fields := strings.Fields(string(schedstat))
	if len(fields) != 3 {
		return 0
	}
	ns, _ := strconv.ParseInt(fields[1], 10, 64) // 0 if it is no number
	return time.Duration(ns)
}

func (p *process) path(file string) string {
	return fmt.Sprintf("/proc/%d/%s", p.pid, file)
}

func readField(path, name string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := parseField(data, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// kernelMemory is what the kernel holds now.
func kernelMemory() (KernelMemory, error) {
	const meminfo = "/proc/meminfo"
	data, err := os.ReadFile(meminfo)
	if err != nil {
		return KernelMemory{}, err
	}
	k, err := parseKernelMemory(data)
	if err != nil {
		return k, fmt.Errorf("%s: %w", meminfo, err)
	}
	return k, nil
}

// parseKernelMemory takes what grows with sockets: most of it is in slabs, where sockets, their files and
// their entries in epoll are.
func parseKernelMemory(meminfo []byte) (k KernelMemory, err error) {
	for _, field := range []struct {
		name string
		into *int64
	}{{"Slab:", &k.Slab}, {"KernelStack:", &k.Stacks}, {"PageTables:", &k.PageTables}} {
		if *field.into, err = parseField(meminfo, field.name); err != nil {
			return KernelMemory{}, err
		}
	}
	return k, nil
}

// socketMemory is what the kernel holds in the buffers of TCP sockets now, of all on this machine.
func socketMemory() (int64, error) {
	const sockstat = "/proc/net/sockstat"
	data, err := os.ReadFile(sockstat)
	if err != nil {
		return 0, err
	}
	pages, err := parseSockstat(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", sockstat, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// parseSockstat finds the pages in a line of the form "TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1".
func parseSockstat(data []byte) (pages int64, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != "TCP:" {
			continue
		}
		i := slices.Index(f, "mem")
		if i < 0 || i == len(f)-1 {
			break
		}
		n, err := strconv.ParseUint(f[i+1], 10, 40) // so many pages are no more bytes than an int64 has room for
		return int64(n), err
	}
	return 0, errors.New("no memory of TCP sockets")
}

// parseField finds a line of the form "Rss:  1234 kB" and returns bytes.
func parseField(data []byte, name string) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != name {
			continue
		}
		if len(f) != 3 || f[2] != "kB" {
			return 0, fmt.Errorf("%s is not in kB: %q", name, lines.Text())
		}
		kB, err := strconv.ParseUint(f[1], 10, 53) // so many bytes have room in an int64
		return int64(kB) << 10, err
	}
	return 0, fmt.Errorf("no field %s", name)
}
