package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// This file is about proxies: who of the peers is one, and whom it speaks for. What they say is read in
// preface.go, before HTTP, and in forwarded.go.

// ProxyProtocol makes a listener for [Server.Serve] whose connections begin with a header of haproxy's
// PROXY protocol, version 1 or 2, by which a proxy says whose stream it passes on. RemoteAddr is that
// client's address then, and PeerAddr the proxy's; a LOCAL or UNKNOWN connection is the proxy's own. A client
// of a unix socket, or of a family that the proxy does not specify, has the zero AddrPort.
//
// The header is required. A connection that begins with anything else is closed without an answer and
// counted, as is one from who is not in Server.TrustedProxies, unless that is empty: then everybody who
// reaches the listener is believed. The header comes within Server.HandshakeTimeout and
// Server.MaxHeaderBytes. What it says beside the addresses is ignored, but for the checksum, which is
// checked.
//
// The listener's own Accept always fails, because nobody else would read the header.
func ProxyProtocol(l net.Listener) net.Listener { return proxyListener{l} }

type proxyListener struct{ net.Listener }

// Accept implements net.Listener.
func (proxyListener) Accept() (net.Conn, error) {
	return nil, errors.New("server: a listener of ProxyProtocol is for Server.Serve")
}

// listProxies checks Server.TrustedProxies, and brings them into the form that addresses are in here.
func listProxies(prefixes []netip.Prefix) (list proxies, err error) {
	for _, p := range prefixes {
		if !p.IsValid() && p != (netip.Prefix{}) {
			return nil, fmt.Errorf("server: %v in TrustedProxies is no prefix", p)
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		list = append(list, p)
	}
	return list, nil
}

// preface takes bytes before HTTP, and gives what is behind the PROXY header, once that is whole.
func (c *Conn) preface(w *worker, p []byte) (rest []byte) {
	said, n, err := cutPreface(p, c.loop.srv.maxHeader())
	if err != nil {
		c.mu.Lock()
		c.abortPreface(err)
		c.mu.Unlock()
		c.loop.srv.complain()
		return nil
	}
	if n == 0 {
		if err := c.keepHead(p); err != nil {
			c.refuseNow(w, err.(*refusal))
		}
		return nil
	}
	if rest = p[n:]; c.in != nil {
		rest = append(c.in.rest[:0], rest...) // what is kept aside begins with the head now
		c.in.rest = rest
	}
	if err := c.introduce(w, said); err != nil {
		c.refuseNow(w, err.(*refusal))
		return nil
	}
	return rest
}

// abortPreface ends a connection whose PROXY header is wrong. The lock is held.
func (c *Conn) abortPreface(err error) {
	if c.concluded() {
		return
	}
	c.loop.srv.noPreface(c.loop, err)
	c.kill(Closing{Cause: BadInput, Code: CodeAbnormal, Err: err})
}

// noPreface counts a connection without the header that it should have.
func (s *Server) noPreface(l *loop, err error) {
	s.complaints[limitPreface].why.Store(&err)
	l.stats.handshakes[RefusedPreface].Add(1)
	s.turnedAway(limitPreface)
}

// introduce takes what a PROXY header said. Only now it is known whose address counts.
func (c *Conn) introduce(w *worker, said preface) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state &^= stPreface
	w.stage = c.state
	if !said.own {
		c.speakFor(said.client)
	}
	return c.enterLate()
}

// fromProxy reports whether the connection comes from a trusted proxy, whose headers count. Owner only.
func (c *Conn) fromProxy() bool {
	trusted, remote := c.loop.srv.proxies, c.RemoteAddr()
	if remote.IsValid() || len(trusted) == 0 {
		return trusted.trust(remote.Addr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A client whose address a PROXY header does not say is no peer of a unix socket.
	spokenFor := c.ext != nil && c.ext.peer != nil
	return !spokenFor && trusted.trust(netip.Addr{})
}

// believe takes what a request says of its client, if its peer is a trusted proxy.
func (c *Conn) believe(h *head) error {
	if !c.fromProxy() {
		return nil
	}
	client, said, err := c.loop.srv.proxies.client(h.fields("X-Forwarded-For"), h.fields("Forwarded"))
	if err != nil || !said {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.speakFor(client)
	return c.enterLate()
}

// fromProxyStd is fromProxy for a request that net/http has read.
func (s *Server) fromProxyStd(r *http.Request) bool {
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return s.proxies.trust(plainAddr(peer.Addr())) // as netpoll has it
	}
	if p := plainConnOf(r); p != nil && p.proxied {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local != nil && local.Network() == "unix" && s.proxies.trust(netip.Addr{})
}

// believeStd is believe for a request that net/http has read. It reports whether a proxy says anything of the
// client, whose address is the zero AddrPort if the proxy hides it.
func (s *Server) believeStd(r *http.Request) (client netip.AddrPort, said bool, err error) {
	if !s.fromProxyStd(r) {
		return client, false, nil
	}
	return s.proxies.client(linesStd(r, "X-Forwarded-For"), linesStd(r, "Forwarded"))
}

// linesStd iterates over the values of a header, as head.fields does.
func linesStd(r *http.Request, name string) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, v := range r.Header.Values(name) {
			if !yield([]byte(v)) {
				return
			}
		}
	}
}

// speakFor makes client the connection's address, and keeps the peer's. It does not count for an address
// yet, because its peer is a proxy. The lock is held, or nobody else has the connection.
func (c *Conn) speakFor(client netip.AddrPort) {
	if x := c.extra(); x.peer == nil {
		peer := c.RemoteAddr()
		x.peer = &peer
	}
	c.setRemote(client)
}

// enterLate counts the connection for its address, now that it is known. The lock is held.
func (c *Conn) enterLate() error {
	if !c.enter() {
		c.loop.srv.turnedAway(limitAddress)
		return limitWords[limitAddress]
	}
	return nil
}

// PeerAddr is the address and port of the other end of the socket, also after the close: RemoteAddr, but
// where a proxy speaks for its client. It is the zero AddrPort for a unix socket.
func (c *Conn) PeerAddr() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ext != nil && c.ext.peer != nil {
		return *c.ext.peer
	}
	return c.RemoteAddr()
}

// remoteOf is an address as net/http has it.
func remoteOf(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return &net.UnixAddr{Name: "@", Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}
