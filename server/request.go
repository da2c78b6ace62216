package server

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/stillpool/stillpool/netpoll"
)

// Request is the handshake by which a connection was opened. It is valid until the OnOpen that it
// was given to returns, and for that handler's goroutine only; the strings it returns may be kept.
type Request struct {
	head   head
	raw    []byte
	path   []byte // without escapes
	conn   *Conn
	agreed agreement
	// std is the request if net/http read it, and then the rest but for conn and agreed is empty.
	std *http.Request
}

// parse reads a whole request head, which r refers to from then on.
func (r *Request) parse(raw []byte) (err error) {
	*r = Request{raw: raw}
	if r.head, err = parseHead(raw); err != nil {
		return err
	}
	r.path, _ = r.head.path()
	if bytes.IndexByte(r.path, '%') >= 0 {
		clean, escErr := url.PathUnescape(string(r.path))
		if escErr != nil {
			return errBadPathEscape
		}
		r.path = []byte(clean)
	}
	return nil
}

// keep is a copy of r that owns its bytes.
func (r *Request) keep() *Request {
	kept := new(Request)
	if err := kept.parse(bytes.Clone(r.raw)); err != nil {
		panic(err) // the same bytes were parsed before
	}
	kept.agreed, kept.conn = r.agreed, r.conn
	return kept
}

// Path is the path that was asked for, without escapes.
func (r *Request) Path() string {
	if r.std != nil {
		return r.std.URL.Path
	}
	return string(r.path)
}

// RawQuery is the query as it was sent, without the question mark.
func (r *Request) RawQuery() string {
	if r.std != nil {
		return r.std.URL.RawQuery
	}
	_, query := r.head.path()
	return string(query)
}

// Query parses the query; what is malformed in it is left out, as by net/url.
func (r *Request) Query() url.Values {
	values, _ := url.ParseQuery(r.RawQuery())
	return values
}

// Host is the Host header, or the host of a target in absolute form (RFC 9112 section 3.2.2).
func (r *Request) Host() string {
	if r.std != nil {
		return r.std.Host
	}
	return string(r.head.host)
}

// Header is the first value of a header, in any case, or empty.
func (r *Request) Header(name string) string {
	if r.std != nil {
		if strings.EqualFold(name, "Host") { // net/http keeps it apart
			return r.std.Host
		}
		return r.std.Header.Get(name)
	}
	value, _ := r.head.field(name)
	return string(value)
}

// Headers are all values of a header, in their order.
func (r *Request) Headers(name string) (values []string) {
	if r.std != nil {
		if strings.EqualFold(name, "Host") {
			return []string{r.std.Host}
		}
		return r.std.Header.Values(name)
	}
	for v := range r.head.fields(name) {
		values = append(values, string(v))
	}
	return values
}

// Subprotocol is what was agreed on, or empty.
func (r *Request) Subprotocol() string { return r.agreed.sub }

// Compressed tells whether compression was agreed on (Options.Compression).
func (r *Request) Compressed() bool { return r.agreed.deflate.agreed() }

// RemoteAddr is the client's address, as Conn.RemoteAddr; the zero AddrPort for a unix socket.
func (r *Request) RemoteAddr() netip.AddrPort { return r.conn.RemoteAddr() }

// LocalAddr is the address that the peer connected to; the zero AddrPort for a unix socket, or when
// the connection is closed by now.
func (r *Request) LocalAddr() netip.AddrPort {
	addr, _ := netpoll.LocalAddr(int(r.conn.fd)) // the handler runs in the connection's turn
	return addr
}
