package server

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
)

// This file is pure: it finds the client's address in what proxies say. Each proxy adds the address that
// it was called from behind those that it was told of, so only the last ones are to be believed: from the
// server's side, all up to the first that is not a trusted proxy. That one is the client. What it said
// itself is before it, and is never looked at.

var (
	errForwarded = badRequest("malformed Forwarded header")                                        // RFC 7239 4
	errDiffering = badRequest("X-Forwarded-For and Forwarded headers that name different clients") // as smuggling does
)

// proxies are the networks of proxies that are believed. The zero Prefix stands for unix sockets.
type proxies []netip.Prefix

// trust tells whether the peer at an address is such a proxy. A unix socket's has the zero Addr.
func (p proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) || !a.IsValid() && prefix == (netip.Prefix{}) {
			return true
		}
	}
	return false
}

// client returns the client's address by the lines of both headers, and reports whether they say anything.
// It is the zero AddrPort if the proxy hides it, or writes it in a form that has no address. A proxy mostly
// writes one of the headers and lets the other pass as the client sent it, so both must say the same:
// otherwise a client could choose, or hide, its address.
func (p proxies) client(forwardedFor, forwarded func(yield func([]byte) bool)) (client netip.AddrPort, said bool, err error) {
	one, other := trail{trusted: p}, trail{trusted: p}
	for line := range forwardedFor {
		one.forwardedFor(line)
	}
	for line := range forwarded {
		other.forwarded(line)
	}
	switch {
	case one.last.malformed || other.last.malformed:
		return client, false, errForwarded
	case one.hops > 0 && other.named && one.client().Addr() != other.client().Addr():
		return client, false, errDiffering
	case one.hops > 0:
		return one.client(), true, nil
	}
	return other.client(), other.hops > 0, nil
}

// trail is what one header says, read in the order that it was written.
type trail struct {
	trusted proxies
	hops    int
	named   bool           // a hop has an address, or a name in its place
	last    hop            // the last that is not a trusted proxy's, if there is one
	found   bool           // there is one
	first   netip.AddrPort // of trusted proxies only: the one that was called first
}

// hop is the caller of one proxy.
type hop struct {
	addr      netip.AddrPort // zero if it is not said, or in no form that is known; without a port, that is 0
	malformed bool           // the header can't be read here
}

// passes tells whether a hop is a trusted proxy's, so that those before it count.
func (t *trail) passes(h hop) bool { return h.addr.IsValid() && t.trusted.trust(h.addr.Addr()) }

func (t *trail) add(h hop) {
	t.hops++
	switch {
	case !t.passes(h):
		t.last, t.found = h, true
	case !t.first.IsValid():
		t.first = h.addr
	}
}

// client returns the last that is not a trusted proxy, whether it has an address or not. The proxy behind it
// must not stand in for it: its address may be one that the embedder takes for internal.
func (t *trail) client() netip.AddrPort {
	if t.found {
		return t.last.addr
	}
	return t.first
}

// forwardedFor reads a line of X-Forwarded-For, of which there is no standard: addresses between
// commas, with a port or without, IPv6 in brackets or without. It reads from the end, so that what the
// client wrote before its own address costs nothing.
func (t *trail) forwardedFor(line []byte) {
	var items [][]byte
	for len(line) > 0 {
		i := bytes.LastIndexByte(line, ',')
		item := bytes.Trim(line[i+1:], " \t")
		line = line[:max(i, 0)]
		if len(item) == 0 {
			continue // RFC 9110 section 5.6.1.2: a list may have empty elements
		}
		items = append(items, item)
		if !t.passes(parseItem(item)) {
			break
		}
	}
	for _, item := range slices.Backward(items) {
		t.add(parseItem(item))
	}
}

func parseItem(item []byte) hop {
	if a, err := netip.ParseAddr(string(item)); err == nil {
		return hop{addr: netip.AddrPortFrom(plainAddr(a), 0)}
	}
	return parseNode(item)
}

// plainAddr returns a without its zone, which names an interface of the proxy's, and not as IPv4 in IPv6.
func plainAddr(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }

// forwarded reads a line of Forwarded (RFC 7239 section 4). Behind what is malformed nobody can tell
// where the next element begins. Quotes can only be read from the start; the addresses are looked at from
// the end.
func (t *trail) forwarded(line []byte) {
	elements := make([]element, 0, 1+len(line)/len("for=_x,"))
	for line = skipBlank(line); len(line) > 0; line = skipBlank(line) {
		if line[0] == ',' {
			line = line[1:]
			continue
		}
		var e element
		e, line = cutElement(line)
		elements = append(elements, e)
		t.named = t.named || e.said
	}
	first := max(len(elements)-1, 0)
	for first > 0 && t.passes(elements[first].hop()) {
		first--
	}
	for _, e := range elements[first:] {
		t.add(e.hop())
	}
}

// element is one of Forwarded, of which nobody has looked at the node yet.
type element struct {
	node, host      []byte
	said, malformed bool // there is a node
}

func (e element) hop() hop {
	if e.malformed || !e.said {
		return hop{malformed: e.malformed}
	}
	return parseNode(e.node)
}

func skipBlank(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	return p
}

// cutElement reads pairs of name and value up to a comma: [pair] *(";" [pair]).
func cutElement(p []byte) (e element, rest []byte) {
	malformed := element{malformed: true}
	for {
		if p = skipBlank(p); len(p) == 0 || p[0] == ',' {
			return e, p
		}
		if p[0] == ';' {
			p = p[1:]
			continue
		}
		name, value, rest, ok := cutPair(p)
		if !ok {
			return malformed, nil
		}
		if fold(name, "for") {
			if e.said {
				return malformed, nil // "Each parameter MUST NOT occur more than once per field-value"
			}
			e.node, e.said = value, true
		}
		if fold(name, "host") {
			e.host = value
		}
		if p = skipBlank(rest); len(p) > 0 && p[0] != ';' && p[0] != ',' {
			return malformed, nil
		}
	}
}

// cutPair reads token "=" value, where the value is a token or a quoted string, whose quotes it takes
// away.
func cutPair(p []byte) (name, value, rest []byte, ok bool) {
	name, p = cutToken(p)
	if len(name) == 0 || len(p) == 0 || p[0] != '=' {
		return nil, nil, nil, false
	}
	p = p[1:]
	if len(p) == 0 || p[0] != '"' {
		value, rest = cutToken(p)
		return name, value, rest, len(value) > 0
	}
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '"':
			return name, value, p[i+1:], true
		case '\\':
			if i++; i == len(p) {
				return nil, nil, nil, false
			}
		}
		value = append(value, p[i])
	}
	return nil, nil, nil, false
}

func cutToken(p []byte) (token, rest []byte) {
	i := 0
	for i < len(p) && tokenBytes[p[i]] {
		i++
	}
	return p[:i], p[i:]
}

// parseNode reads node = nodename [":" node-port] (section 6): an IPv4 address or an IPv6 address in brackets.
// Everything else hides the address: "unknown", an obfuscated name, and what proxies write beside the RFC,
// as "unix:" of nginx. It is no error, or no client of such a proxy could connect.
func parseNode(node []byte) hop {
	name, port, hasPort := bytes.Cut(node, []byte(":"))
	six := len(node) > 0 && node[0] == '['
	if six {
		end := bytes.IndexByte(node, ']')
		if end < 0 {
			return hop{}
		}
		name, port = node[1:end], node[end+1:]
		if hasPort = len(port) > 0; hasPort && port[0] != ':' {
			return hop{}
		}
		port = bytes.TrimPrefix(port, []byte(":"))
	}
	number, ok := parseNodePort(port)
	if hasPort && !ok {
		return hop{}
	}
	a, err := netip.ParseAddr(string(name))
	if err != nil || a.Is6() != six {
		return hop{}
	}
	return hop{addr: netip.AddrPortFrom(plainAddr(a), number)}
}

// parseNodePort reads a port, or the name that hides it, which is as none.
func parseNodePort(p []byte) (number uint16, ok bool) {
	if isHidden(p) {
		return 0, true
	}
	for _, b := range p {
		if !isDigit(b) {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(p), 10, 16)
	return uint16(n), err == nil && len(p) <= 5
}

// isHidden tells whether an identifier is obfuscated (section 6.3): "_" 1*(ALPHA / DIGIT / "." / "_" / "-").
func isHidden(p []byte) bool {
	if len(p) < 2 || p[0] != '_' {
		return false
	}
	for _, b := range p {
		letter := b | 0x20
		if !isDigit(b) && (letter < 'a' || letter > 'z') && b != '.' && b != '_' && b != '-' {
			return false
		}
	}
	return true
}

// forwardedHost returns the last host of X-Forwarded-Host or, without one, that of the last element of
// Forwarded: the host that the nearest proxy was asked for. It is empty if neither header says.
func forwardedHost(forwardedHosts, forwarded func(yield func([]byte) bool)) (host []byte) {
	for line := range forwardedHosts {
		for len(line) > 0 {
			var item []byte
			item, line, _ = bytes.Cut(line, []byte(","))
			if item = bytes.Trim(item, " \t"); len(item) > 0 {
				host = item
			}
		}
	}
	if len(host) > 0 {
		return host
	}
	for line := range forwarded {
		host = lastForwardedHost(line, host)
	}
	return host
}

// lastForwardedHost returns the host of the last element of a line of Forwarded; an empty line has none, and
// leaves it at the host of the lines before.
func lastForwardedHost(line, host []byte) []byte {
	for line = skipBlank(line); len(line) > 0; line = skipBlank(line) {
		if line[0] == ',' {
			line = line[1:]
			continue
		}
		var e element
		e, line = cutElement(line)
		host = e.host
	}
	return host
}
