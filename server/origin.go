package server

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// This file is pure: which pages may open a connection (RFC 6455 sections 4.2.2 and 10.2). An origin
// is taken apart by the grammar in which browsers write it, and not as a URL, which may be more.

// origin is a serialized one: scheme "://" host [ ":" port ] (RFC 6454 section 6.2). That of an app may have no host.
type origin struct {
	scheme, host string // in lower case
	port         string // that of the scheme if none is given; empty if it has none
}

func parseOrigin(s string) (o origin, ok bool) {
	scheme, s, ok := strings.Cut(lower(s), "://")
	if !ok || !isScheme(scheme) {
		return o, false
	}
	o.scheme = pageScheme(scheme)
	if !isWeb(o.scheme) && isAppHost(s) {
		o.host = s
		return o, true
	}
	if o.host, o.port, ok = splitAuthority(s); o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, ok
}

// pageScheme returns the scheme of the pages that connect by scheme. Clients that are no browsers send ws and
// wss, the schemes of what they connect to.
func pageScheme(scheme string) string {
	switch scheme {
	case "ws":
		return "http"
	case "wss":
		return "https"
	}
	return scheme
}

// originPattern is one of Options.Origins, taken apart.
type originPattern struct {
	any    bool
	null   bool
	below  bool // any subdomain of host
	origin      // with "" for the web's schemes, and "*" for any port
}

// parseOriginPattern reads a pattern of Options.Origins.
func parseOriginPattern(s string) (p originPattern, err error) {
	switch s {
	case "*":
		return originPattern{any: true}, nil
	case "null":
		return originPattern{null: true}, nil
	}
	scheme, rest, whole := strings.Cut(lower(s), "://")
	if !whole {
		scheme, rest = "", scheme
	}
	if o, ok := parseOrigin(s); ok && !isWeb(o.scheme) {
		return originPattern{origin: o}, nil
	}
	rest, p.below = strings.CutPrefix(rest, "*.")
	rest, anyPort := strings.CutSuffix(rest, ":*")
	var ok bool
	p.host, p.port, ok = splitAuthority(rest)
	if !ok || whole && !isScheme(scheme) || anyPort && p.port != "" {
		return p, fmt.Errorf("server: malformed origin pattern %q: want scheme://host[:port], null or *", s)
	}
	p.scheme = pageScheme(scheme)
	if anyPort {
		p.port = "*"
	} else if p.port == "" {
		p.port = defaultPort(p.scheme)
	}
	return p, nil
}

// originAllowed judges the value of an Origin header against the request's Host and the endpoint's
// patterns.
func originAllowed(value, host string, patterns []originPattern) bool {
	o, ok := parseOrigin(value)
	if ok && o.serves(host) {
		return true
	}
	for i := range patterns {
		p := &patterns[i]
		if p.any || p.null && value == "null" || ok && p.matches(&o) {
			return true
		}
	}
	return false
}

// serves tells whether o is the origin of what this server serves. The scheme of the request itself
// is not known behind a proxy that ends TLS, so a Host without a port stands for the default port of
// the origin's scheme. No other scheme than the web's is ever this server's.
func (o *origin) serves(host string) bool {
	name, port, ok := splitAuthority(strings.TrimSuffix(lower(host), ":")) // RFC 3986 3.2.3: no digits, no port
	if port == "" {
		port = defaultPort(o.scheme)
	}
	return ok && isWeb(o.scheme) && o.host == name && o.port == port
}

func (p *originPattern) matches(o *origin) bool {
	switch {
	case p.any || p.null:
		return false
	case p.scheme != o.scheme && !(p.scheme == "" && isWeb(o.scheme)):
		return false
	case p.port != o.port && p.port != "*" && !(p.port == "" && o.port == defaultPort(o.scheme)):
		return false
	case p.below:
		name, ok := strings.CutSuffix(o.host, p.host)
		return ok && len(name) > 1 && name[len(name)-1] == '.'
	}
	return p.host == o.host
}

// splitAuthority reads host [ ":" port ]. There is one way to write an IPv6 address in the end: in
// brackets, and as netip does.
func splitAuthority(s string) (host, port string, ok bool) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		if !isPort(port) {
			return "", "", false
		}
	}
	if inside, bracket := strings.CutPrefix(host, "["); bracket {
		inside, ok = strings.CutSuffix(inside, "]")
		addr, err := netip.ParseAddr(inside)
		return "[" + addr.String() + "]", port, ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return host, port, isHostName(host)
}

// isPort tells whether s is a port as browsers write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

// isHostName tells whether s is a name or an IPv4 address. A browser has put a name into ASCII, and
// what it escapes is nobody's name.
func isHostName(s string) bool {
	for i := range len(s) {
		if b := s[i]; !hostBytes[b] || strings.IndexByte("%:[]*,", b) >= 0 {
			return false
		}
	}
	return s != "" && s[0] != '.' && !strings.Contains(s, "..")
}

// isAppHost reports whether s may stand behind the scheme of an app, which is no domain: nothing, as in file://, a
// dot, as in app://., or a name.
func isAppHost(s string) bool {
	for i := range len(s) {
		if b := s[i]; !hostBytes[b] || strings.IndexByte(":[]*,", b) >= 0 {
			return false
		}
	}
	return true
}

// isScheme is RFC 3986 section 3.1, in lower case.
func isScheme(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !('a' <= b && b <= 'z' || i > 0 && (isDigit(b) || strings.IndexByte("+-.", b) >= 0)) {
			return false
		}
	}
	return s != ""
}

// lower changes ASCII only: Unicode has other letters whose lower case is in ASCII.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func isWeb(scheme string) bool { return defaultPort(scheme) != "" }

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
