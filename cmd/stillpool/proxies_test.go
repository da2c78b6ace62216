package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestProxies(t *testing.T) {
	got, err := proxies([]string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "fe80::1%eth0", "unix"})
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::1/128"), {}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// handshake sends lines before and in a handshake, and answers what comes of it.
func handshake(t *testing.T, addr, before string, headers ...string) (status int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "%sGET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", before, strings.Join(append(headers, ""), "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") {
		return 0 // closed without a word
	}
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// The flags of admission arrive at the server.
func TestAdmissionFlags(t *testing.T) {
	const client = "X-Forwarded-For: 192.0.2."
	for _, c := range []struct {
		name     string
		args     string
		before   string
		headers  []string // with the number of the handshake for #
		statuses []int
	}{
		{"per address", "--max-conns-per-address 1", "", nil, []int{101, 429}},
		{"per client of a proxy", "--max-conns-per-address 1 --trusted-proxies 127.0.0.1", "", []string{client + "1"}, []int{101, 429}},
		{"per client of another proxy", "--max-conns-per-address 1 --trusted-proxies 10.0.0.1", "", []string{client + "1"}, []int{101, 429}},
		{"each address", "--max-conns-per-address 1 --trusted-proxies 127.0.0.1", "", []string{client + "#"}, []int{101, 101}},
		{"each network", "--max-conns-per-address 1 --trusted-proxies 127.0.0.1 --ipv4-prefix 24", "", []string{client + "#"}, []int{101, 429}},
		{"each network of IPv6", "--max-conns-per-address 1 --trusted-proxies 127.0.0.1 --ipv6-prefix 128", "",
			[]string{"X-Forwarded-For: 2001:db8::#"}, []int{101, 101}},
		{"header", "--proxy-protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 1\r\n", nil, []int{101, 101}},
		{"header, per address", "--proxy-protocol --max-conns-per-address 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 1\r\n", nil, []int{101, 429}},
		{"no header", "--proxy-protocol", "", nil, []int{0}},
		{"header from a stranger", "--proxy-protocol --trusted-proxies 10.0.0.1", "PROXY UNKNOWN\r\n", nil, []int{0}},
		{"a large cookie", "", "", []string{"Cookie: a=" + strings.Repeat("x", 15<<10)}, []int{101}},
		{"a cookie too large", "", "", []string{"Cookie: a=" + strings.Repeat("x", 16<<10)}, []int{431}},
		{"a cookie too large, and room for it", "--max-header-bytes 65536", "", []string{"Cookie: a=" + strings.Repeat("x", 60<<10)}, []int{101}},
		{"a page from a file", "", "", []string{"Origin: null"}, []int{101}},
		{"a page from a file, behind a proxy", "--trusted-proxies 127.0.0.1", "", []string{"Origin: null"}, []int{403}},
		{"a page from a file, with a header", "--proxy-protocol", "PROXY UNKNOWN\r\n", []string{"Origin: null"}, []int{403}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr, _ := started(t, append(strings.Fields(c.args), "--every", "1h")...)
			for i, want := range c.statuses {
				var headers []string
				for _, h := range c.headers {
					headers = append(headers, strings.ReplaceAll(h, "#", fmt.Sprint(i)))
				}
				if got := handshake(t, addr, c.before, headers...); got != want {
					t.Errorf("handshake %d: status %d, want %d", i, got, want)
				}
			}
		})
	}
}

// Past the burst some of many are told to come again, however long they take to come.
func TestHandshakeRate(t *testing.T) {
	addr, _ := started(t, "--handshake-rate", "1", "--handshake-burst", "2")
	count := map[int]int{}
	for range 30 {
		count[handshake(t, addr, "")]++
	}
	if count[101] < 2 || count[503] == 0 || count[101]+count[503] != 30 {
		t.Errorf("the statuses are %v", count)
	}
}

// A connection that says nothing is a handshake under way.
func TestMaxHandshakes(t *testing.T) {
	addr, _ := started(t, "--max-handshakes", "1")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the first to count", func() bool {
		_, err := dial(t, "ws://"+addr+"/ws", "")
		var status ws.StatusError
		return errors.As(err, &status) && int(status) == http.StatusServiceUnavailable
	})
}
