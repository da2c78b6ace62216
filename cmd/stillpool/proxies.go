package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// proxies are the networks of --trusted-proxies, as package server wants them.
func proxies(list []string) (prefixes []netip.Prefix, err error) {
	for _, s := range list {
		p, err := proxy(s)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxies: want an address, a network or unix, got %q: %w", s, err)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// proxy reads a network, or an address, which is one of itself. The zero Prefix stands for unix sockets.
func proxy(s string) (netip.Prefix, error) {
	switch {
	case s == "unix":
		return netip.Prefix{}, nil
	case strings.Contains(s, "/"):
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}
