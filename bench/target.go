package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// From one address to one port a client has about 28,000 ports of its own, some of which rest for a
// minute after use. Past manyConns connections to a loopback target they come from sourceCount
// addresses, 127.0.0.2 and up: enough for a million connections from several processes together.
const (
	manyConns   = 2_000
	sourceCount = 250
)

// target is where the server is.
type target struct {
	host string // for the Host field
	path string // and query
	addr netip.AddrPort
	// first is what the sources of the process begin with. Processes that open connections to one
	// target together have different ones. With many they use all sources however few connections each
	// has; so does who comes again and again.
	first int
	many  bool
}

// resolve reads a ws:// URL and looks its host up.
func resolve(ctx context.Context, rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return target{}, err
	}
	if u.Scheme != "ws" || u.Hostname() == "" {
		return target{}, fmt.Errorf("bench: %q is not of the form ws://host:port/path", rawURL)
	}
	port := uint64(80)
	if u.Port() != "" {
		if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return target{}, err
		}
	}
	ip, err := lookUp(ctx, u.Hostname())
	if err != nil {
		return target{}, err
	}
	return target{host: u.Host, path: u.RequestURI(), addr: netip.AddrPortFrom(ip, uint16(port))}, nil
}

// lookUp prefers IPv4, as listeners of package net do: a server on localhost is at 127.0.0.1.
func lookUp(ctx context.Context, host string) (netip.Addr, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, nil
		}
	}
	if len(ips) == 0 {
		return netip.Addr{}, errors.New("bench: " + host + " has no address")
	}
	return ips[0], nil
}

// source is the address that the i-th of n connections comes from; the zero Addr leaves it to the
// kernel.
func (t target) source(i, n int) netip.Addr {
	if n <= manyConns && !t.many {
		return netip.Addr{}
	}
	return t.spread(i)
}

// spread is source for connections that come again and again, however few they are at a time.
func (t target) spread(i int) netip.Addr {
	if !t.addr.Addr().Is4() || !t.addr.Addr().IsLoopback() {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + (t.first+i)%sourceCount)})
}
