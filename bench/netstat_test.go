package bench

import "testing"

func TestParseNetstat(t *testing.T) {
	before := parseNetstat([]byte("TcpExt: SyncookiesSent Other ListenOverflows ListenDrops\nTcpExt: 1 2 3 4\nIpExt: ListenDrops\nIpExt: 99\n"))
	after := parseNetstat([]byte("TcpExt: SyncookiesSent Other ListenOverflows ListenDrops TCPMemoryPressures\nTcpExt: 1 9 5 4 6\n"))
	if len(before) != 3 || before["ListenOverflows"] != 3 || before["ListenDrops"] != 4 {
		t.Errorf("parsed %v", before)
	}
	more := Grown(before, after)
	if len(more) != 2 || more["ListenOverflows"] != 2 || more["TCPMemoryPressures"] != 6 {
		t.Errorf("grown %v", more)
	}
	for _, odd := range []string{"", "TcpExt:", "TcpExt: ListenDrops\nTcpExt: many\n", "TcpExt: ListenDrops\n"} {
		if got := parseNetstat([]byte(odd)); len(got) != 0 {
			t.Errorf("%q: %v", odd, got)
		}
	}
}
