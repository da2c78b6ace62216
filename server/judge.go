package server

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/netip"
)

// This file knows a request and no connection: whether it is a handshake that an endpoint takes, what
// the two agree on, and the answer that says so (RFC 6455 section 4.2).

// agreement is what a handshake settles beside the upgrade itself.
type agreement struct {
	sub     string // the subprotocol, or empty
	deflate deflation
	// bounded is whether the client asked for a bound of the server's window, which then has to be
	// answered, also if it bounds nothing (RFC 7692 section 7.1.2.1).
	bounded bool
	key     string // the client's, if net/http has read the request: Authorize may change that
	// client is the address that a trusted proxy reports, if it reports one (said) and net/http has read the
	// request.
	client netip.AddrPort
	said   bool
	value  any    // what Authorize granted
	extra  string // further lines of the answer, each behind its CR LF
}

// judge holds a request against section 4.2.1 and the endpoint's options.
func (ep *Endpoint) judge(h *head) (a agreement, err error) {
	if err := ep.check(h); err != nil {
		return a, err
	}
	if a.sub, err = ep.chooseSubprotocol(h); err != nil || !h.extended {
		return a, err
	}
	a.deflate, a.bounded, err = ep.opts.Compression.negotiate(h)
	return a, err
}

func (ep *Endpoint) check(h *head) error {
	switch {
	case ep.srv.Draining():
		return ep.srv.comeBackLater()
	case string(h.method) != http.MethodGet:
		return errMethod
	case h.old:
		return errOldHTTP // section 4.2.1: "an HTTP/1.1 or higher GET request"
	case !h.wantsUpgrade:
		return errNoUpgrade
	case !h.connection:
		return errNoConnection
	case h.hasBody:
		return errUpgradeBody
	case h.versions != 1 || string(h.version) != "13":
		return errVersion
	case h.keys != 1 || !validKey(h.key):
		return errNoKey
	case h.origins > 1 || h.origins == 1 && !originAllowed(string(h.origin), string(h.askedHost()), ep.origins):
		return errOrigin
	}
	return nil
}

// chooseSubprotocol takes the endpoint's best that the client offers. A malformed offer is refused
// (section 4.1); one that is made twice, which it forbids too, harms nobody.
func (ep *Endpoint) chooseSubprotocol(h *head) (string, error) {
	best := len(ep.opts.Subprotocols)
	for value := range h.fields("Sec-WebSocket-Protocol") {
		for len(value) > 0 {
			var item []byte
			item, value, _ = bytes.Cut(value, []byte(","))
			item = bytes.Trim(item, " \t")
			if len(item) == 0 {
				continue // RFC 9110 section 5.6.1.2: a list may have empty elements
			}
			if !isToken(item) {
				return "", errBadSubproto
			}
			for i, s := range ep.opts.Subprotocols[:best] {
				if s == string(item) {
					best = i
				}
			}
		}
	}
	if best == len(ep.opts.Subprotocols) {
		return "", nil
	}
	return ep.opts.Subprotocols[best], nil
}

// appendUpgrade appends the 101 answer (section 4.2.2).
func appendUpgrade(dst, key []byte, a *agreement) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	if a.sub != "" {
		dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), a.sub...)
	}
	if a.deflate.agreed() {
		dst = appendDeflation(append(dst, "\r\nSec-WebSocket-Extensions: "...), a)
	}
	dst = append(dst, a.extra...)
	return append(dst, "\r\n\r\n"...)
}

// acceptGUID is the constant of section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// keyLength is that of 16 bytes in base64.
const keyLength = 24

// appendAccept appends the proof that the key was read: base64(SHA-1(key + GUID)).
func appendAccept(dst, key []byte) []byte {
	var buf [keyLength + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// validKey reports whether a key is 16 bytes in base64 (section 4.1).
func validKey(key []byte) bool {
	var buf [18]byte
	if len(key) != keyLength {
		return false
	}
	// Not Strict: the bits behind the sixteenth byte don't count, and in the example of section 4.1 they are set.
	n, err := base64.StdEncoding.Decode(buf[:], key)
	return err == nil && n == 16
}
