package bench

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// watched are the counters of /proc/net/netstat that grow when the kernel loses or saves something.
var watched = []string{
	"ListenOverflows", "ListenDrops", "SyncookiesSent", "TCPReqQFullDoCookies", "TCPReqQFullDrop",
	"TCPMemoryPressures", "TCPAbortOnMemory", "TCPBacklogDrop", "TCPRcvQDrop", "TCPTimeouts", "TCPTimeWaitOverflow",
}

// Network reads what the kernel's network code has counted since the machine started, as far as it tells
// of losses.
func Network() map[string]int64 {
	data, _ := os.ReadFile("/proc/net/netstat")
	return parseNetstat(data)
}

// parseNetstat takes the watched counters of TcpExt, which are a line of names and one of numbers.
func parseNetstat(data []byte) map[string]int64 {
	all := map[string]int64{}
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range min(len(names), len(f)) {
			if n, err := strconv.ParseInt(f[i], 10, 64); err == nil && slices.Contains(watched, names[i]) {
				all[names[i]] = n
			}
		}
	}
	return all
}

// Grown are the counters that are higher than before.
func Grown(before, after map[string]int64) map[string]int64 {
	more := map[string]int64{}
	for name, n := range after {
		if n > before[name] {
			more[name] = n - before[name]
		}
	}
	return more
}
