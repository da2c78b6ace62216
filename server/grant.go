package server

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// This file is pure: what Options.Authorize returns, and what of it goes into the answer.

// Grant is what [Options.Authorize] gives to a handshake that it accepts. The zero value accepts it as it is.
type Grant struct {
	// Value becomes the [Conn.Value] of the connection before its OnOpen.
	Value any
	// Header is sent with the 101 response, as a Set-Cookie for sticky sessions. What the handshake itself says is left
	// out: Connection, Content-Length, Date, Keep-Alive, Trailer, Transfer-Encoding, Upgrade, and every name that
	// begins with Sec-WebSocket-. A name that is no token, or a value with a control character, fails the handshake
	// with 500, and the log has [ErrInvalidHeader].
	Header http.Header
	// Subprotocol is one that the client offers. It takes the place of what [Options.Subprotocols] has chosen, and
	// need not be one of those; empty leaves the choice to them. One that the client does not offer fails the
	// handshake with 500, and the log has [ErrSubprotocolNotOffered].
	Subprotocol string
}

// Rejection is an error by which [Options.Authorize] chooses the answer to a handshake that it rejects.
type Rejection struct {
	// Status lies in 300 to 599, except 304, which has no body; any other becomes 403 (forbidden).
	Status int
	// Header goes with it, as WWW-Authenticate or Location do. A name that is no token is left out, and so is what
	// frames the answer; control characters in values become blanks.
	Header http.Header
	// Body is plain text, unless Header has another Content-Type. Empty is a fixed text.
	Body string
}

// Error implements error.
func (r *Rejection) Error() string {
	return fmt.Sprintf("server: rejected with %d: %s", r.Status, r.Body)
}

// refusal returns r as it may be sent.
func (r *Rejection) refusal() *refusal {
	no := &refusal{status: r.Status, reason: r.Body, header: http.Header{}, class: errDenied.class}
	if no.status < 300 || no.status > 599 || no.status == http.StatusNotModified {
		no.status = errDenied.status
	}
	if no.reason == "" {
		no.reason = errDenied.reason
	}
	for name, values := range r.Header {
		if name = http.CanonicalHeaderKey(name); !isToken([]byte(name)) || framing[name] {
			continue
		}
		for _, v := range values {
			no.header.Add(name, fieldValue(v))
		}
	}
	return no
}

// framing are the headers by which peers know where an answer ends and what becomes of the
// connection, and those that each answer has anyway.
var framing = map[string]bool{"Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true}

// ownedByHandshake reports whether a header of the 101 response is the handshake's own.
func ownedByHandshake(name string) bool {
	if strings.HasPrefix(name, http.TrailerPrefix) { // what net/http would send behind a body
		return true
	}
	name = http.CanonicalHeaderKey(name)
	return framing[name] || strings.HasPrefix(name, "Sec-Websocket-")
}

// fieldValue returns s without what would end a header's line (RFC 9110 section 5.5).
func fieldValue(s string) string {
	b := []byte(s)
	for i := range b {
		if !isFieldValue(b[i : i+1]) {
			b[i] = ' '
		}
	}
	return strings.TrimSpace(string(b))
}

// isFieldValue reports whether v may stand in a header's line (RFC 9110 section 5.5).
func isFieldValue(v []byte) bool {
	return checkBytes(v) == nil && !slices.Contains(v, '\r') && !slices.Contains(v, '\n')
}

// headerLines returns the lines of h for the 101 response, each behind its CR LF, without those of the handshake.
func headerLines(h http.Header) (string, error) {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if ownedByHandshake(name) {
			continue
		}
		if !isToken([]byte(name)) {
			return "", fmt.Errorf("%w: name %q", ErrInvalidHeader, name)
		}
		for _, v := range h[name] {
			if !isFieldValue([]byte(v)) {
				return "", fmt.Errorf("%w: value of %s", ErrInvalidHeader, name) // the value may be a secret
			}
			lines.WriteString("\r\n" + name + ": " + strings.TrimSpace(v))
		}
	}
	return lines.String(), nil
}

// apply adds g to a, for a client that offers the subprotocols of the header lines in offered. The headers of a
// ResponseWriter, which may be nil, go before those of the grant.
func (g *Grant) apply(a *agreement, offered []string, before http.Header) error {
	if g.Subprotocol != "" {
		if !offers(offered, g.Subprotocol) {
			return fmt.Errorf("%w: %q", ErrSubprotocolNotOffered, g.Subprotocol)
		}
		a.sub = g.Subprotocol
	}
	a.value = g.Value
	first, err := headerLines(before)
	then, err2 := headerLines(g.Header)
	a.extra = first + then
	return errors.Join(err, err2)
}

// offers reports whether the lines of Sec-WebSocket-Protocol, which are one list, have a subprotocol.
func offers(lines []string, sub string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.Trim(item, " \t") == sub {
				return true
			}
		}
	}
	return false
}
