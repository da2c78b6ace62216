//go:build linux

package server

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// someProxies are trusted in these tests.
var someProxies = proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:aaaa::/48")}

// hidden is a client whose proxy does not say its address.
const hidden = "hidden"

// clientBy is what the lines of both headers say.
func clientBy(forwardedFor, forwarded []string) (string, error) {
	lines := func(all []string) func(func([]byte) bool) {
		return func(yield func([]byte) bool) {
			for _, s := range all {
				if !yield([]byte(s)) {
					return
				}
			}
		}
	}
	a, said, err := someProxies.client(lines(forwardedFor), lines(forwarded))
	switch {
	case !said:
		return "", err
	case !a.IsValid():
		return hidden, err
	}
	return a.String(), err
}

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lines []string
		want  string
		err   error
	}{
		{"nothing", nil, "", nil},
		{"an empty line", []string{""}, "", nil},
		{"empty elements", []string{" , ,\t"}, "", nil},
		{"the client", []string{"192.0.2.1"}, "192.0.2.1:0", nil},
		{"what the client says is not believed", []string{"198.51.100.9, 192.0.2.1"}, "192.0.2.1:0", nil},
		{"nor if it says garbage", []string{"<script>, , a b, 192.0.2.1"}, "192.0.2.1:0", nil},
		{"nor if it names a proxy", []string{"10.1.1.1, 192.0.2.1"}, "192.0.2.1:0", nil},
		{"proxies behind it", []string{"198.51.100.9, 192.0.2.1, 10.0.0.1,10.0.0.2"}, "192.0.2.1:0", nil},
		{"over several lines", []string{"198.51.100.9", "192.0.2.1, 10.0.0.1", "10.0.0.2"}, "192.0.2.1:0", nil},
		{"nobody but proxies: the first", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1:0", nil},
		{"a port", []string{"192.0.2.1:4711"}, "192.0.2.1:4711", nil},
		{"IPv6", []string{"2001:db8::1"}, "[2001:db8::1]:0", nil},
		{"IPv6 in brackets", []string{"[2001:db8::1]"}, "[2001:db8::1]:0", nil},
		{"IPv6 with a port", []string{"[2001:db8::1]:4711"}, "[2001:db8::1]:4711", nil},
		{"IPv6 behind a proxy with it", []string{"2001:db8::1, 2001:db8:aaaa::7"}, "[2001:db8::1]:0", nil},
		{"IPv4 in IPv6", []string{"::ffff:192.0.2.1, ::ffff:10.0.0.1"}, "192.0.2.1:0", nil},
		{"nobody knows", []string{"unknown"}, hidden, nil},
		{"nobody knows, behind a proxy", []string{"198.51.100.9, unknown, 10.0.0.1, 10.0.0.2"}, hidden, nil},
		{"garbage", []string{"me"}, hidden, nil},
		{"garbage behind a proxy", []string{"192.0.2.1, 1.2.3, 10.0.0.1"}, hidden, nil},
		{"a zone", []string{"fe80::1%eth0"}, "[fe80::1]:0", nil},
		{"a zone in brackets", []string{"[fe80::1%eth0]"}, "[fe80::1]:0", nil},
		{"a zone and a port", []string{"[fe80::1%eth0]:80"}, "[fe80::1]:80", nil},
		{"a zone as in a URL", []string{"[fe80::1%25eth0]"}, "[fe80::1]:0", nil},
		{"a zone of a proxy", []string{"192.0.2.1, 2001:db8:aaaa::7%eth0"}, "192.0.2.1:0", nil},
		{"a zone of IPv4", []string{"192.0.2.1%eth0"}, hidden, nil},
		{"no zone behind the sign", []string{"fe80::1%"}, hidden, nil},
		{"a unix socket", []string{"unix:"}, hidden, nil},
		{"a unix socket with a path", []string{"unix:/run/x.sock"}, hidden, nil},
		{"a unix socket, and what the client says", []string{"10.0.0.9, unix:"}, hidden, nil},
		{"a unix socket behind a proxy", []string{"10.0.0.9, unix:, 10.0.0.1"}, hidden, nil},
		{"a hidden name", []string{"_hidden"}, hidden, nil},
		{"a hidden name and port", []string{"_hidden:_1"}, hidden, nil},
		{"a host's name", []string{"example.com"}, hidden, nil},
		{"what the client says, behind a proxy that hides it", []string{"192.0.2.1", "unknown"}, hidden, nil},
		{"a leading zero", []string{"192.0.2.01"}, hidden, nil},
		{"a port too high", []string{"192.0.2.1:65536"}, hidden, nil},
		{"a port too long", []string{"192.0.2.1:000001"}, hidden, nil},
		{"no port", []string{"192.0.2.1:"}, hidden, nil},
		{"brackets open", []string{"[2001:db8::1"}, hidden, nil},
		{"behind the brackets", []string{"[2001:db8::1]x"}, hidden, nil},
		{"IPv4 in brackets", []string{"[192.0.2.1]"}, hidden, nil},
		{"nothing in brackets", []string{"[]"}, hidden, nil},
		{"a colon", []string{":"}, hidden, nil},
	} {
		if got, err := clientBy(c.lines, nil); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// TestForwardedCosts: what a client writes before its proxies costs next to nothing, however much it is. A
// loop reads it.
func TestForwardedCosts(t *testing.T) {
	for _, c := range []struct {
		header, mine, proxys string
		read                 func(*trail, []byte)
	}{
		{"X-Forwarded-For", "x,", "192.0.2.1", (*trail).forwardedFor},
		{"X-Forwarded-For", "1.2.3.4,", "192.0.2.1", (*trail).forwardedFor},
		{"Forwarded", "for=x,", "for=192.0.2.1", (*trail).forwarded},
	} {
		line := []byte(strings.Repeat(c.mine, 1000) + c.proxys)
		if n := testing.AllocsPerRun(10, func() {
			one := trail{trusted: someProxies}
			if c.read(&one, line); one.client().Addr().String() != "192.0.2.1" {
				t.Fatalf("%s: the client is %v", c.header, one.client())
			}
		}); n > 10 {
			t.Errorf("%s with %q a thousand times: %v allocations", c.header, c.mine, n)
		}
	}
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lines []string
		want  string
		err   error
	}{
		{"4 the first example", []string{`for="_gazonk"`}, hidden, nil},
		{"4 the second", []string{`For="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711", nil},
		{"4 the third", []string{`for=192.0.2.60;proto=http;by=203.0.113.43`}, "192.0.2.60:0", nil},
		{"4 the fourth", []string{`for=192.0.2.43, for=198.51.100.17`}, "198.51.100.17:0", nil},
		{"4 over several lines", []string{`for=192.0.2.43`, `for=198.51.100.17;by=10.0.0.1, for=10.0.0.1`}, "198.51.100.17:0", nil},
		{"4 the order of parameters", []string{`proto=http;by=203.0.113.43;FOR=192.0.2.60`}, "192.0.2.60:0", nil},
		{"4 an element that does not say", []string{`for=192.0.2.60, proto=http`}, hidden, nil},
		{"4 and a proxy behind it", []string{`for=192.0.2.60, proto=http, for=10.0.0.1`}, hidden, nil},
		{"4 empty pairs", []string{`;;for=192.0.2.60;;proto=http;`}, "192.0.2.60:0", nil},
		{"4 empty elements", []string{`,, for=192.0.2.60 ,,`}, "192.0.2.60:0", nil},
		{"4 blanks", []string{"\tfor=192.0.2.60 ; proto=http \t, for=10.0.0.1 "}, "192.0.2.60:0", nil},
		{"4 a parameter of somebody's own", []string{`secret=x;for=192.0.2.60`}, "192.0.2.60:0", nil},
		{"4 a comma in quotes", []string{`for=192.0.2.60;host="a, for=198.51.100.17"`}, "192.0.2.60:0", nil},
		{"4 a quote in quotes", []string{`for=192.0.2.60;host="a\", for=198.51.100.17"`}, "192.0.2.60:0", nil},
		{"4 escapes", []string{`for="192\.0.2.\60"`}, "192.0.2.60:0", nil},
		{"4 an empty value in quotes", []string{`for=""`}, hidden, nil},
		{"4 for twice", []string{`for=192.0.2.60;for=192.0.2.61`}, "", errForwarded},
		{"4 no value", []string{`for=`}, "", errForwarded},
		{"4 no equals sign", []string{`for`}, "", errForwarded},
		{"4 no name", []string{`=192.0.2.60`}, "", errForwarded},
		{"4 a blank before the equals sign", []string{`for =192.0.2.60`}, "", errForwarded},
		{"4 a blank behind it", []string{`for= 192.0.2.60`}, "", errForwarded},
		{"4 two values", []string{`for=192.0.2.60 192.0.2.61`}, "", errForwarded},
		{"4 quotes open", []string{`for="192.0.2.60`}, "", errForwarded},
		{"4 quotes open behind a proxy", []string{`for=192.0.2.60;by="x, for=10.0.0.1`}, "", errForwarded},
		{"4 an escape at the end", []string{`for="192.0.2.60\`}, "", errForwarded},
		{"4 behind the quotes", []string{`for="192.0.2.60"x`}, "", errForwarded},
		{"4 an open quote of the client's, on its own line", []string{`for="`, `for=192.0.2.60`}, "192.0.2.60:0", nil},
		{"4 a colon without quotes", []string{`for=192.0.2.60:80`}, "", errForwarded},
		{"6 a port", []string{`for="192.0.2.60:80"`}, "192.0.2.60:80", nil},
		{"6 a hidden port", []string{`for="192.0.2.60:_x"`}, "192.0.2.60:0", nil},
		{"6 IPv6 without brackets", []string{`for="2001:db8::1"`}, hidden, nil},
		{"6 IPv6 without quotes", []string{`for=[2001:db8::1]`}, "", errForwarded},
		{"6.2 unknown", []string{`for=Unknown`}, hidden, nil},
		{"6.2 unknown with a port", []string{`for="unknown:80"`}, hidden, nil},
		{"6.3 a hidden name", []string{`for=_SEVKISEK, for=10.0.0.1`}, hidden, nil},
		{"6.3 a hidden name and port", []string{`for="_a.b-c_d:_80"`}, hidden, nil},
		{"6.3 no hidden name", []string{`for=_`}, hidden, nil},
		{"6.3 a sign that it can't have", []string{`for=_a!`}, hidden, nil},
		{"4 what is said of all but the client", []string{`proto=https;host=example.com`}, hidden, nil},
		{"4 host twice", []string{`for=192.0.2.60;host=a;host=b`}, "192.0.2.60:0", nil},
		{"6 a zone", []string{`for="[fe80::1%eth0]:80"`}, "[fe80::1]:80", nil},
		{"6 a unix socket", []string{`for="unix:"`}, hidden, nil},
		{"6 a port too high", []string{`for="192.0.2.60:65536"`}, hidden, nil},
		{"6 a host's name", []string{`for=example.com`}, hidden, nil},
	} {
		if got, err := clientBy(nil, c.lines); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("RFC 7239 section %s: %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// TestForwardedBoth: a proxy that writes one of the headers lets the client write the other.
func TestForwardedBoth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		forwardedFor, forwarded string
		want                    string
		err                     error
	}{
		{"192.0.2.1", "for=192.0.2.1", "192.0.2.1:0", nil},
		{"192.0.2.1", `for="192.0.2.1:80"`, "192.0.2.1:0", nil},
		{"192.0.2.1, 10.0.0.1", "for=192.0.2.1", "192.0.2.1:0", nil},
		{"192.0.2.1", "for=198.51.100.9", "", errDiffering},
		{"192.0.2.1", "for=_hidden", "", errDiffering},
		{"unknown", "for=198.51.100.9", "", errDiffering},
		{"unknown", "for=_hidden", hidden, nil},
		{"unix:", "for=unknown", hidden, nil},
		{"unix:", "for=198.51.100.9", "", errDiffering},
		{"192.0.2.1", "proto=https;host=example.com", "192.0.2.1:0", nil},
		{"unix:", "proto=https;host=example.com", hidden, nil},
		{"", "proto=https;host=example.com", hidden, nil},
		{"192.0.2.1", "", "192.0.2.1:0", nil},
		{"", "for=192.0.2.1", "192.0.2.1:0", nil},
		{"192.0.2.1", "for=", "", errForwarded},
		{"x", "for=192.0.2.1", "", errDiffering},
	} {
		if got, err := clientBy([]string{c.forwardedFor}, []string{c.forwarded}); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q and %q: %q, %v; want %q, %v", c.forwardedFor, c.forwarded, got, err, c.want, c.err)
		}
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	list, err := listProxies([]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("2001:db8::/32")})
	if err != nil {
		t.Fatal(err)
	}
	withUnix := append(slices.Clone(list), netip.Prefix{})
	for addr, want := range map[string]bool{"10.255.0.1": true, "11.0.0.1": false, "2001:db8::1": true, "2001:db9::1": false, "": false} {
		a, _ := netip.ParseAddr(addr)
		if got := list.trust(a); got != want {
			t.Errorf("%q is trusted: %v", addr, got)
		}
		if got := withUnix.trust(a); got != (want || addr == "") {
			t.Errorf("with unix sockets, %q is trusted: %v", addr, got)
		}
	}
	if _, err := listProxies([]netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33)}); err == nil {
		t.Error("10.0.0.1/33 is a prefix")
	}
}

// FuzzForwarded: whatever a client says itself, the address that a proxy adds behind it is the client's,
// or else the request is refused; and X-Forwarded-For, read from the server's side, says the same.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", "198.51.100.9", "10.0.0.1, x", `for="`, `for="a\`, "for=1.2.3.4;by=x", `for="[::1]:80", for=_x`, "unknown,", "for=10.0.0.1;", "[::1", "::1, [::1]:1"} {
		f.Add(s, []byte{3})
	}
	f.Fuzz(func(t *testing.T, said string, cuts []byte) {
		if checkBytes([]byte(said)) != nil || bytes.ContainsAny([]byte(said), "\r\n") {
			return // no header has it
		}
		const client = "203.0.113.7:0"
		for _, c := range []struct {
			forwardedFor, forwarded []string
			strict                  bool // it is not refused either
		}{
			{[]string{said, "203.0.113.7"}, nil, true},
			{[]string{said + ", 203.0.113.7"}, nil, true},
			{[]string{said + ", 203.0.113.7, 10.0.0.1", "10.2.2.2"}, nil, true},
			{nil, []string{said, "for=203.0.113.7"}, true},
			{nil, []string{said + ", for=203.0.113.7"}, false},
			{nil, []string{said + `, for="203.0.113.7"`, "for=10.0.0.1"}, false},
			{[]string{"203.0.113.7"}, []string{said}, false},
			{[]string{said}, []string{"for=203.0.113.7"}, false},
		} {
			got, err := clientBy(c.forwardedFor, c.forwarded)
			refused := err != nil && !c.strict
			if got != client && !refused && netip.MustParseAddrPort(got).Addr() != netip.MustParseAddrPort(client).Addr() {
				t.Fatalf("%q, %q: %q, %v", c.forwardedFor, c.forwarded, got, err)
			}
		}
		got, err := clientBy([]string{said}, nil)
		if want, wantErr := fromTheRight(said); got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %q, %v; from the right %q, %v", said, got, err, want, wantErr)
		}
		var lines []string // the same list, over several lines
		items := bytes.Split([]byte(said), []byte(","))
		for _, chunk := range cutBy(make([]byte, len(items)), cuts) {
			lines = append(lines, string(bytes.Join(items[:len(chunk)], []byte(","))))
			items = items[len(chunk):]
		}
		if cut, cutErr := clientBy(lines, nil); cut != got || (cutErr == nil) != (err == nil) {
			t.Fatalf("%q: %q, %v; as %q: %q, %v", said, got, err, lines, cut, cutErr)
		}
	})
}

// fromTheRight is X-Forwarded-For as it is mostly described.
func fromTheRight(line string) (string, error) {
	last := ""
	items := bytes.Split([]byte(line), []byte(","))
	slices.Reverse(items)
	for _, item := range items {
		if item = bytes.Trim(item, " \t"); len(item) == 0 {
			continue
		}
		h := parseNode(item)
		if a, err := netip.ParseAddr(string(item)); err == nil {
			h = hop{addr: netip.AddrPortFrom(a.WithZone("").Unmap(), 0)}
		}
		switch {
		case !h.addr.IsValid():
			return hidden, nil
		case !someProxies.trust(h.addr.Addr()):
			return h.addr.String(), nil
		}
		last = h.addr.String()
	}
	return last, nil
}

// TestForwardedHost: the host that the nearest proxy was asked for, which is the last that the headers name.
func TestForwardedHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hosts, forwarded []string
		want             string
	}{
		{nil, nil, ""},
		{[]string{"example.com"}, nil, "example.com"},
		{[]string{"example.com:8443"}, nil, "example.com:8443"},
		{[]string{"a.example, b.example"}, nil, "b.example"},
		{[]string{"a.example", "b.example"}, nil, "b.example"},
		{[]string{"a.example ,\t, "}, nil, "a.example"},
		{[]string{"a.example", ""}, nil, "a.example"},
		{[]string{"a.example"}, []string{"host=b.example"}, "a.example"},
		{[]string{""}, []string{"host=b.example"}, "b.example"},
		{nil, []string{`for=192.0.2.1;host="b.example:8443";proto=https`}, "b.example:8443"},
		{nil, []string{"for=192.0.2.1;Host=a.example, for=10.0.0.1;host=b.example"}, "b.example"},
		{nil, []string{"host=a.example", "for=10.0.0.1;host=b.example"}, "b.example"},
		{nil, []string{"host=a.example", ""}, "a.example"},
		{nil, []string{"host=a.example,"}, "a.example"},
		{nil, []string{"host=a.example, for=10.0.0.1"}, ""}, // of which it is not known where it comes from
		{nil, []string{`host=a.example, host="b.example`}, ""},
	} {
		lines := func(all []string) func(func([]byte) bool) {
			return func(yield func([]byte) bool) {
				for _, s := range all {
					if !yield([]byte(s)) {
						return
					}
				}
			}
		}
		if got := forwardedHost(lines(c.hosts), lines(c.forwarded)); string(got) != c.want {
			t.Errorf("%q and %q: %q, want %q", c.hosts, c.forwarded, got, c.want)
		}
	}
}
