package server

import (
	"bytes"
	"net/http"
	"net/url"
)

// This file is pure: it reads the head of an HTTP/1.1 request, strictly. Whatever two readers could
// understand differently (RFC 9112 section 11.2, request smuggling) is refused rather than guessed.

// head is a parsed request head. Its slices point into the bytes that were parsed.
type head struct {
	method, target, host []byte
	key, version, origin []byte
	lines                []byte // the header lines, without the empty one at the end
	forwardedHost        []byte // the host that a trusted proxy was asked for, if it says; parseHead leaves it empty

	wantsUpgrade bool // Upgrade names websocket
	connection   bool // Connection names upgrade
	extended     bool // there is a Sec-WebSocket-Extensions header
	hasBody      bool
	old          bool // HTTP/1.0

	hosts, keys, versions, lengths uint8 // how often each header occurred: twice at the most
	origins                        uint8 // the same: 2 is more than one
	encoded                        bool  // there is a Transfer-Encoding header
}

// skipEmptyLine leaves out an empty line before the request line, which some clients send behind a
// body. RFC 9112 section 2.2 wants at least one ignored, so it is one.
func skipEmptyLine(p []byte) []byte {
	return bytes.TrimPrefix(p, []byte("\r\n"))
}

// cutHead cuts the head of a request off p, of which looked bytes were looked at before, or answers
// nil while it is not whole.
func cutHead(p []byte, looked int) (head, rest []byte, err error) {
	from := skipEmptyLine(p)
	n, err := headEnd(from, max(0, looked-(len(p)-len(from))))
	if err != nil || n == 0 {
		return nil, p, err
	}
	return from[:n], from[n:], nil
}

// headEnd finds the end of a request head in p, looking only at what came since the first from
// bytes were looked at. It is 0 while the head is not whole. What no whole head could mend is an
// error at once.
func headEnd(p []byte, from int) (int, error) {
	for i := max(from-3, 0); i < len(p); {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			return 0, checkBytes(p[from:])
		}
		j += i
		if j == 0 || p[j-1] != '\r' {
			return 0, errBareLF
		}
		if j == 1 {
			return 0, errRequestLine // the line is empty
		}
		if j >= 3 && p[j-3] == '\r' && p[j-2] == '\n' {
			return j + 1, checkBytes(p[from : j+1])
		}
		i = j + 1
	}
	return 0, checkBytes(p[from:])
}

// checkBytes refuses control characters. A CR is judged by headEnd, and by the line splitting.
func checkBytes(p []byte) error {
	for _, b := range p {
		if b < ' ' && b != '\r' && b != '\n' && b != '\t' || b == 0x7f {
			return errControlByte
		}
	}
	return nil
}

// parseHead reads a whole request head: p ends with the empty line.
func parseHead(p []byte) (h head, err error) {
	line, rest := cutLine(p)
	if err := h.requestLine(line); err != nil {
		return h, err
	}
	h.lines = rest[:len(rest)-2]
	for len(rest) > 2 {
		line, rest = cutLine(rest)
		name, value, err := cutField(line)
		if err != nil {
			return h, err
		}
		if err := h.note(name, value); err != nil {
			return h, err
		}
	}
	switch {
	case h.hosts == 0 && !h.old:
		return h, errNoHost
	case !isHost(h.host):
		return h, errHost
	case string(h.target) == "*" && string(h.method) == http.MethodOptions:
		return h, nil // RFC 9112 section 3.2.4: about the server and not about a path
	case h.target[0] != '/':
		return h, h.absoluteForm()
	}
	return h, nil
}

// note takes a header that the handshake knows.
func (h *head) note(name, value []byte) error {
	switch {
	case fold(name, "host"):
		h.host = value
		return once(&h.hosts, errManyHosts)
	case fold(name, "upgrade"):
		h.wantsUpgrade = h.wantsUpgrade || hasToken(value, "websocket")
	case fold(name, "connection"):
		h.connection = h.connection || hasToken(value, "upgrade")
	case fold(name, "sec-websocket-key"):
		h.key = value
		return once(&h.keys, errSingleHeader)
	case fold(name, "sec-websocket-version"):
		h.version = value
		return once(&h.versions, errSingleHeader)
	case fold(name, "sec-websocket-extensions"):
		h.extended = true
	case fold(name, "origin"):
		h.origin = value
		h.origins = min(h.origins+1, 2) // what to make of several is judge's to say
	case fold(name, "content-length"):
		h.hasBody = h.hasBody || !bytes.Equal(value, []byte("0"))
		if h.encoded {
			return errBothLengths
		}
		return once(&h.lengths, errManyLengths)
	case fold(name, "transfer-encoding"):
		h.hasBody, h.encoded = true, true
		if h.lengths > 0 {
			return errBothLengths
		}
	}
	return nil
}

// once counts a header that must not be repeated.
func once(n *uint8, err error) error {
	if *n++; *n > 1 {
		return err
	}
	return nil
}

// requestLine reads "method SP request-target SP HTTP-version" (RFC 9112 section 3).
func (h *head) requestLine(line []byte) error {
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || len(target) == 0 {
		return errRequestLine
	}
	if len(version) != 8 || !bytes.HasPrefix(version, []byte("HTTP/")) || version[6] != '.' ||
		!isDigit(version[5]) || !isDigit(version[7]) {
		return errRequestLine
	}
	if version[5] != '1' {
		return errHTTPVersion
	}
	h.old = version[7] == '0'
	for _, b := range target {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return errTarget
		}
	}
	h.method, h.target = method, target
	return nil
}

// absoluteForm reads a target with scheme and host, which a server accepts too; its host then
// counts, and not the Host header's (RFC 9112 section 3.2.2). What remains is the target.
func (h *head) absoluteForm() error {
	scheme, rest, ok := bytes.Cut(h.target, []byte("://"))
	if !ok || !isTargetScheme(scheme) || string(h.method) == http.MethodConnect {
		return errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	u, err := url.ParseRequestURI(string(h.target))
	if err != nil || end == 0 || u.Host != string(rest[:end]) { // a user before the host, for one
		return errTarget
	}
	h.host, h.target = rest[:end], rest[end:]
	return nil
}

// isTargetScheme reports whether a target of scheme is this server's. Some clients send the URL that they were given,
// which is of ws or wss; it names the same resource (RFC 6455 section 3).
func isTargetScheme(scheme []byte) bool {
	return fold(scheme, "http") || fold(scheme, "https") || fold(scheme, "ws") || fold(scheme, "wss")
}

// path splits the target into path and query.
func (h *head) path() (path, query []byte) {
	path, query, _ = bytes.Cut(h.target, []byte("?"))
	if len(path) == 0 {
		path = []byte("/") // RFC 9110 section 4.2.3
	}
	return path, query
}

// askedHost returns the host that the client asked for, behind a proxy that changes Host or not.
func (h *head) askedHost() []byte {
	if len(h.forwardedHost) > 0 {
		return h.forwardedHost
	}
	return h.host
}

// field finds the first header of a name, for whoever asks for one that parseHead does not know.
func (h *head) field(name string) (value []byte, ok bool) {
	for f := range h.fields(name) {
		return f, true
	}
	return nil, false
}

// fields iterates over the values of all headers of a name.
func (h *head) fields(name string) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for rest := h.lines; len(rest) > 0; {
			var line []byte
			line, rest = cutLine(rest)
			if n, value, err := cutField(line); err == nil && foldAny(n, name) && !yield(value) {
				return
			}
		}
	}
}

func cutLine(p []byte) (line, rest []byte) {
	i := bytes.IndexByte(p, '\n')
	return p[:i-1], p[i+1:]
}

// cutField splits a header line. RFC 9112 section 5.1: no space between name and colon.
func cutField(line []byte) (name, value []byte, err error) {
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return nil, nil, errFold
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return nil, nil, errFieldName
	}
	if bytes.IndexByte(value, '\r') >= 0 {
		return nil, nil, errControlByte
	}
	return name, bytes.Trim(value, " \t"), nil
}

// hasToken tells whether a comma-separated list has the (lower-case) token. "h2c, websocket" does.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if fold(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// fold compares without regard to ASCII case; lower is in lower case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func foldAny(b []byte, name string) bool {
	return len(b) == len(name) && bytes.EqualFold(b, []byte(name))
}

// tokenBytes are the characters of a token (RFC 9110 section 5.6.2).
var tokenBytes = func() (t [256]bool) {
	for _, b := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[b] = true
	}
	return t
}()

func isToken(p []byte) bool {
	for _, b := range p {
		if !tokenBytes[b] {
			return false
		}
	}
	return len(p) > 0
}

// hostBytes are the characters of host and port (RFC 3986 section 3.2.2): unreserved, percent
// escapes, sub-delimiters, and what addresses and the port take beside them.
var hostBytes = func() (t [256]bool) {
	for _, b := range []byte("-._~%!$&'()*+,;=:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[b] = true
	}
	return t
}()

func isHost(p []byte) bool {
	for _, b := range p {
		if !hostBytes[b] {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
