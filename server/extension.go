package server

import "strconv"

// This file is pure, but for the budget of windows: it agrees on permessage-deflate (RFC 7692) with
// a client that offers it in Sec-WebSocket-Extensions (RFC 6455 section 9.1).

// The bounds of a window, as powers of two (RFC 7692 section 7.1.2).
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// deflation is what was agreed on. The zero value is no compression.
type deflation struct {
	out, in         uint8 // bits of the server's window, and of the client's
	keepOut, keepIn bool  // context takeover: the window lives on from message to message
}

func (d deflation) agreed() bool { return d.out != 0 }

// cost is what the windows take that live on, in bytes.
func (d deflation) cost() (n int64) {
	if d.keepOut {
		n += int64(d.outWindow())
	}
	if d.keepIn {
		n += int64(d.inWindow())
	}
	return n
}

// outWindow is how much is kept of what the server said, which may be less than it agreed to use.
func (d deflation) outWindow() int { return min(1<<d.out, maxOutWindow) }

// inWindow is how much must be kept of what the client said.
func (d deflation) inWindow() int { return 1 << d.in }

// reserveWindows takes what the windows cost from the budget. When it is not to be had, no window lives on.
func (s *Server) reserveWindows(d deflation) deflation {
	if !s.windows.take(d.cost()) {
		d.keepOut, d.keepIn = false, false
	}
	return d
}

// negotiate agrees to the first offer of permessage-deflate that can be held to, over all headers,
// which are one list (RFC 6455 section 9.1). A list that breaks the grammar fails the handshake,
// except one without an element: by the letter of section 9.1 it is malformed, but clients and proxies send it for none. Other extensions, and offers that can't be held to, are as if they had not been made.
func (c *Compression) negotiate(h *head) (agreed deflation, bounded bool, err error) {
	for value := range h.fields("Sec-WebSocket-Extensions") {
		for s := (scanner{value}); !s.atEnd(); {
			if s.has(',') {
				continue // RFC 9110 section 5.6.1.2: a list may have empty elements
			}
			o, ok := s.extension()
			if !ok || !s.atEnd() && !s.has(',') {
				return deflation{}, false, errBadExtension
			}
			if c.Enabled && o.deflate && !o.declined && !agreed.agreed() {
				agreed, bounded = c.accept(&o), o.serverBits != 0
			}
		}
	}
	return agreed, bounded, nil
}

// accept answers an offer (RFC 7692 section 7.1). A client that does not offer to bound its window
// can't be made to.
func (c *Compression) accept(o *offer) deflation {
	ours := uint8(c.WindowBits)
	d := deflation{out: ours, in: maxWindowBits}
	if o.serverBits != 0 {
		d.out = min(ours, o.serverBits)
	}
	if o.clientBits != 0 {
		d.in = min(ours, o.clientBits)
	}
	d.keepOut = c.ContextTakeover && !o.serverForgets
	d.keepIn = c.ContextTakeover && !o.clientForgets
	return d
}

// appendDeflation appends the response to the offer that was accepted (RFC 7692 section 5.1).
func appendDeflation(dst []byte, a *agreement) []byte {
	dst = append(dst, "permessage-deflate"...)
	if !a.deflate.keepOut {
		dst = append(dst, "; server_no_context_takeover"...)
	}
	if !a.deflate.keepIn {
		dst = append(dst, "; client_no_context_takeover"...)
	}
	if a.bounded || a.deflate.out < maxWindowBits {
		dst = strconv.AppendUint(append(dst, "; server_max_window_bits="...), uint64(a.deflate.out), 10)
	}
	if a.deflate.in < maxWindowBits {
		dst = strconv.AppendUint(append(dst, "; client_max_window_bits="...), uint64(a.deflate.in), 10)
	}
	return dst
}

// offer is an element of the list.
type offer struct {
	deflate  bool // it is permessage-deflate
	declined bool // a parameter is unknown, repeated or impossible (RFC 7692 section 7)

	serverForgets, clientForgets bool  // no context takeover
	serverBits, clientBits       uint8 // 0 is not offered
}

// param takes a parameter; value is nil if there is none. Section 7.1.2.2: client_max_window_bits
// without one says only that the client can bound its window.
func (o *offer) param(name, value []byte) {
	switch string(name) {
	case "server_no_context_takeover":
		o.declined = o.declined || o.serverForgets || value != nil
		o.serverForgets = true
	case "client_no_context_takeover":
		o.declined = o.declined || o.clientForgets || value != nil
		o.clientForgets = true
	case "server_max_window_bits":
		o.bits(&o.serverBits, value)
	case "client_max_window_bits":
		if value == nil {
			value = []byte("15")
		}
		o.bits(&o.clientBits, value)
	default:
		o.declined = true
	}
}

// bits reads "a decimal integer value without leading zeroes between 8 to 15, inclusive".
func (o *offer) bits(to *uint8, value []byte) {
	n, err := strconv.ParseUint(string(value), 10, 8)
	if err != nil || value[0] == '0' || n < minWindowBits || n > maxWindowBits || *to != 0 {
		o.declined = true
		return
	}
	*to = uint8(n)
}

// scanner reads the grammar of RFC 6455 section 9.1, in which blanks may stand between any two parts
// (RFC 2616 section 2.1).
type scanner struct{ rest []byte }

// extension reads `token *( ";" token [ "=" ( token | quoted-string ) ] )`.
func (s *scanner) extension() (o offer, ok bool) {
	name := s.token()
	o.deflate = string(name) == "permessage-deflate"
	for ok = name != nil; ok && s.has(';'); {
		var value []byte
		name = s.token()
		if ok = name != nil; ok && s.has('=') {
			value = s.value()
			ok = value != nil
		}
		o.param(name, value)
	}
	return o, ok
}

func (s *scanner) blanks() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) atEnd() bool {
	s.blanks()
	return len(s.rest) == 0
}

// has takes a separator if it is next.
func (s *scanner) has(b byte) bool {
	if s.atEnd() || s.rest[0] != b {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token takes a token, or answers nil if none is next.
func (s *scanner) token() (token []byte) {
	s.blanks()
	n := 0
	for n < len(s.rest) && tokenBytes[s.rest[n]] {
		n++
	}
	if n == 0 {
		return nil
	}
	token, s.rest = s.rest[:n], s.rest[n:]
	return token
}

// value takes a token, or a quoted string that is one "after quoted-string unescaping".
func (s *scanner) value() []byte {
	if !s.has('"') {
		return s.token()
	}
	var text []byte
	for i := 0; i < len(s.rest); i++ {
		b := s.rest[i]
		if b == '"' {
			s.rest = s.rest[i+1:]
			if !isToken(text) {
				return nil
			}
			return text
		}
		if b == '\\' && i+1 < len(s.rest) {
			i++
			b = s.rest[i]
		}
		text = append(text, b)
	}
	return nil
}
