package server

import (
	"fmt"
	"net/url"
	"strings"
)

// This file is pure: which pages may open a connection (RFC 6455 sections 4.2.2 and 10.2).

// originPattern is one of Options.Origins, taken apart.
type originPattern struct {
	any    bool
	null   bool
	scheme string // empty: any
	host   string // with a leading "." for "*.": any subdomain
	port   string // "*": any
}

// parseOrigin reads a pattern of Options.Origins.
func parseOrigin(s string) (originPattern, error) {
	switch s {
	case "*":
		return originPattern{any: true}, nil
	case "null":
		return originPattern{null: true}, nil
	}
	var p originPattern
	rest := strings.ToLower(s)
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		p.scheme, rest = scheme, after
	}
	p.host, p.port = splitHostPort(rest)
	if wild, ok := strings.CutPrefix(p.host, "*."); ok {
		p.host = "." + wild
	}
	if p.host == "" || p.host == "." || strings.HasPrefix(rest, ".") || strings.ContainsAny(p.host, "*/?#@ ") {
		return p, fmt.Errorf("server: malformed origin pattern %q: want scheme://host[:port], null or *", s)
	}
	if p.port == "" && p.scheme != "" {
		p.port = defaultPort(p.scheme)
	}
	return p, nil
}

// originAllowed judges the value of an Origin header against the request's Host and the endpoint's
// patterns.
func originAllowed(origin, host string, patterns []originPattern) bool {
	for _, p := range patterns {
		if p.any || p.null && origin == "null" {
			return true
		}
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	scheme := strings.ToLower(u.Scheme)
	name, port := splitHostPort(strings.ToLower(u.Host))
	if port == "" {
		port = defaultPort(scheme)
	}
	if sameOrigin(scheme, name, port, strings.ToLower(host)) {
		return true
	}
	for _, p := range patterns {
		if p.matches(scheme, name, port) {
			return true
		}
	}
	return false
}

// sameOrigin compares with Host. The scheme of the request itself is not known behind a proxy that
// ends TLS, so a Host without a port stands for the default port of the origin's scheme. A scheme
// that has none is not this server's.
func sameOrigin(scheme, name, port, host string) bool {
	hostName, hostPort := splitHostPort(host)
	if hostPort == "" {
		hostPort = defaultPort(scheme)
	}
	return name == hostName && port == hostPort && port != ""
}

func (p *originPattern) matches(scheme, name, port string) bool {
	if p.any || p.null || p.scheme != "" && p.scheme != scheme {
		return false
	}
	if p.port != "*" && p.port != port && !(p.port == "" && port == defaultPort(scheme)) {
		return false
	}
	if strings.HasPrefix(p.host, ".") {
		return strings.HasSuffix(name, p.host) && len(name) > len(p.host)
	}
	return name == p.host
}

// splitHostPort is lenient where net.SplitHostPort is not: the port may be missing. The brackets of
// an IPv6 address stay on, so that they compare as they are written.
func splitHostPort(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}
