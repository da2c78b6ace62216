package million

import (
	"net"
	"os"
)

// probes is how many connections tell whether they are tracked. A table may have entries of other
// connections, or none though there are some.
const probes = 16

// tracked tells whether the kernel tracks loopback connections: its tables may be there although no
// rule asks for them. If a few connections are open and fewer are in the table, it does not; otherwise
// it may. It sets how many entries there are.
func tracked(l *Limits) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return true // nothing was learnt
	}
	defer listener.Close()
	for range probes {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return true
		}
		defer c.Close()
	}
	l.ConntrackEntries = max(0, number(os.DirFS("/"), "proc/sys/net/netfilter/nf_conntrack_count"))
	return l.ConntrackEntries >= probes
}
