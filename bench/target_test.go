package bench

import (
	"net/netip"
	"testing"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct{ url, host, path, addr string }{
		{"ws://127.0.0.1:9000/ws", "127.0.0.1:9000", "/ws", "127.0.0.1:9000"},
		{"ws://127.0.0.1/echo?a=b", "127.0.0.1", "/echo?a=b", "127.0.0.1:80"},
		{"ws://[::1]:9000", "[::1]:9000", "/", "[::1]:9000"},
		{"ws://localhost:9000/ws", "localhost:9000", "/ws", "127.0.0.1:9000"},
	} {
		got, err := resolve(t.Context(), c.url)
		if err != nil || got.host != c.host || got.path != c.path || got.addr.String() != c.addr {
			t.Errorf("%s: got %+v, %v", c.url, got, err)
		}
	}
	for _, url := range []string{"", "localhost:9000", "http://localhost/ws", "wss://localhost/ws", "ws://:80/", "ws://127.0.0.1:70000/"} {
		if got, err := resolve(t.Context(), url); err == nil {
			t.Errorf("%q: got %+v, want an error", url, got)
		}
	}
}

// TestSources holds that many connections to loopback leave room for as many more from each address
// again, and that nobody else's address is made up.
func TestSources(t *testing.T) {
	perSource := map[netip.Addr]int{}
	loopback := target{addr: netip.MustParseAddrPort("127.0.0.1:80")}
	const conns = 19_000
	for i := range conns {
		perSource[loopback.source(i, conns)]++
	}
	for ip, n := range perSource {
		if !ip.IsLoopback() || n > conns/sourceCount {
			t.Errorf("%d connections from %v", n, ip)
		}
	}
	for _, addr := range []string{"127.0.0.1:80", "[::1]:80", "192.0.2.1:80"} {
		n := conns
		if addr == "127.0.0.1:80" {
			n = manyConns
		}
		if ip := (target{addr: netip.MustParseAddrPort(addr)}).source(0, n); ip.IsValid() {
			t.Errorf("%d connections to %s come from %v", n, addr, ip)
		}
	}
}

// TestProcessesShareSources: processes with few connections each use all sources together.
func TestProcessesShareSources(t *testing.T) {
	perSource := map[netip.Addr]int{}
	const conns, each = 5_000, 10
	for first := 0; first < conns; first += each {
		to := target{addr: netip.MustParseAddrPort("127.0.0.1:80"), first: first, many: true}
		for i := range each {
			perSource[to.source(i, each)]++
		}
	}
	for ip, n := range perSource {
		if !ip.IsLoopback() || n != conns/sourceCount {
			t.Errorf("%d connections from %v", n, ip)
		}
	}
}

func TestShare(t *testing.T) {
	for n := 1; n < 9; n++ {
		before := make([]int, n)
		for total := range 50 {
			sum := 0
			for i := range n {
				s := share(total, n, i)
				if sum += s; s < before[i] {
					t.Errorf("part %d of %d fell from %d to %d at a total of %d", i, n, before[i], s, total)
				}
				before[i] = s
			}
			if sum != total {
				t.Errorf("%d parts of %d sum up to %d", n, total, sum)
			}
		}
	}
}
