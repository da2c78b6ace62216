package server

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is pure: what a peer is told that is not let in. Each refusal is a whole HTTP answer,
// with a status that says who is to change what, and the last that is said on its connection.

// refusal is an HTTP answer that ends a connection before its upgrade.
type refusal struct {
	status   int
	reason   string      // the body: what was wrong, for a person
	header   http.Header // what goes with this one, beside what all have
	bodyless bool        // it answers HEAD
	class    RefusalReason
}

func (r *refusal) Error() string { return r.reason }

func refused(status int, reason string) *refusal { return &refusal{status: status, reason: reason} }

func badRequest(reason string) *refusal { return refused(http.StatusBadRequest, reason) }

// What a request head can have wrong, with the clause of RFC 9112 or RFC 9110 that says so.
var (
	errBareLF        = badRequest("line not ended by CR LF")                                               // 9112 2.2
	errControlByte   = badRequest("control character in the request head")                                 // 9110 5.5
	errRequestLine   = badRequest("malformed request line")                                                // 9112 3
	errTarget        = badRequest("malformed request target")                                              // 9112 3.2
	errHTTPVersion   = refused(http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1") // 9110 15.6.6
	errFold          = badRequest("folded header line")                                                    // 9112 5.2
	errFieldName     = badRequest("malformed header name")                                                 // 9112 5.1
	errNoHost        = badRequest("Host header missing")                                                   // 9112 3.2
	errManyHosts     = badRequest("more than one Host header")                                             // 9112 3.2
	errHost          = badRequest("malformed Host header")                                                 // 9112 3.2
	errBothLengths   = badRequest("Content-Length together with Transfer-Encoding")                        // 9112 6.1
	errManyLengths   = badRequest("more than one Content-Length header")                                   // 9112 6.3
	errHeadTooLarge  = refused(http.StatusRequestHeaderFieldsTooLarge, "request head too large")
	errBadPathEscape = badRequest("malformed escape in the path")
	errHeadTooSlow   = refused(http.StatusRequestTimeout, "request head took too long")
	errSingleHeader  = badRequest("header repeated that may occur once")
)

// What a whole request can have wrong as a handshake, with the section of RFC 6455.
var (
	errNotFound     = refused(http.StatusNotFound, "no such endpoint")
	errMethod       = notAllowed("a WebSocket handshake is a GET request")                         // 4.1
	errOldHTTP      = upgradeRequired("a WebSocket handshake needs HTTP/1.1")                      // 4.2.1
	errNoUpgrade    = upgradeRequired("this is a WebSocket endpoint")                              // 4.2.1
	errNoConnection = badRequest("Connection header does not name Upgrade")                        // 4.2.1
	errVersion      = upgradeRequired("only Sec-WebSocket-Version 13 is spoken")                   // 4.2.2
	errNoKey        = badRequest("Sec-WebSocket-Key missing, repeated, or not 16 bytes in base64") // 4.2.1
	errOrigin       = refused(http.StatusForbidden, "origin not allowed").as(RefusedOrigin)        // 4.2.2
	errUpgradeBody  = badRequest("a WebSocket handshake has no body")                              // 4.1
	errBadSubproto  = badRequest("malformed Sec-WebSocket-Protocol")                               // 4.1
	errBadExtension = badRequest("malformed Sec-WebSocket-Extensions")                             // 9.1
)

// What is not the request's fault.
var (
	errTooManyConns   = comeBack("too many connections").as(RefusedFull)
	errManyHandshakes = comeBack("too many handshakes under way").as(RefusedHandshakes)
	errTooFast        = comeBack("too many handshakes a second").as(RefusedRate)
	errNoDescriptors  = comeBack("server out of descriptors").as(RefusedDescriptors)
	errShuttingDown   = comeBack("server is shutting down").as(RefusedDraining)
	errNoRoom         = refused(http.StatusServiceUnavailable, "server out of memory for handshakes").as(RefusedNoMemory)
)

// notAllowed says what is: RFC 9110 section 15.5.6.
func notAllowed(reason string) *refusal {
	return &refusal{status: http.StatusMethodNotAllowed, reason: reason, header: http.Header{"Allow": {http.MethodGet}}}
}

// upgradeRequired says to what: RFC 9110 sections 15.5.22 and 7.8, and RFC 6455 section 4.2.2.
func upgradeRequired(reason string) *refusal {
	return &refusal{status: http.StatusUpgradeRequired, reason: reason, header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-WebSocket-Version": {"13"},
	}}
}

// errAddressFull is not 503, by which balancers take a server out of use, because of one client that
// has too many (RFC 6585 section 4).
var errAddressFull = &refusal{
	status: http.StatusTooManyRequests, reason: "too many connections from your address", header: retrySoon, class: RefusedAddress,
}

// comeBack is for what passes by itself: a place is free as soon as somebody leaves, and another
// server may stand where this one ends. A second is the least that Retry-After can say.
func comeBack(reason string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, reason: reason, header: retrySoon}
}

var retrySoon = http.Header{"Retry-After": {"1"}}

// as makes r count as why, where its status alone does not say it.
func (r *refusal) as(why RefusalReason) *refusal {
	r.class = why
	return r
}

// why is what r counts as.
func (r *refusal) why() RefusalReason {
	if r.class != RefusedOther {
		return r.class
	}
	return reasonsByStatus[r.status]
}

// reasonsByStatus are what refusals count as that don't say otherwise.
var reasonsByStatus = map[int]RefusalReason{
	http.StatusBadRequest:                  RefusedBadRequest,
	http.StatusMethodNotAllowed:            RefusedBadRequest,
	http.StatusUpgradeRequired:             RefusedBadRequest,
	http.StatusHTTPVersionNotSupported:     RefusedBadRequest,
	http.StatusNotFound:                    RefusedNotFound,
	http.StatusRequestHeaderFieldsTooLarge: RefusedTooLarge,
	http.StatusRequestTimeout:              RefusedTimeout,
	http.StatusInternalServerError:         RefusedFailed,
	http.StatusNotImplemented:              RefusedTakeover,
	http.StatusServiceUnavailable:          RefusedUnavailable,
}

// to is r as the answer to a request that begins so: one to HEAD has no body (RFC 9110 section 9.3.2).
func (r *refusal) to(request []byte) *refusal {
	if !bytes.HasPrefix(skipEmptyLine(request), []byte("HEAD ")) {
		return r
	}
	bare := *r
	bare.bodyless = true
	return &bare
}

// response is the whole HTTP answer. RFC 9110 section 6.6.1 wants the date.
func (r *refusal) response(now time.Time) []byte {
	b := append([]byte("HTTP/1.1 "), strconv.Itoa(r.status)...)
	b = append(append(b, ' '), http.StatusText(r.status)...)
	b = append(b, "\r\nDate: "...)
	b = append(now.UTC().AppendFormat(b, http.TimeFormat), "\r\n"...)
	header := r.fields()
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	if r.bodyless {
		return b
	}
	return append(b, r.body()...)
}

// fields are its headers, but for the date.
func (r *refusal) fields() http.Header {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
	maps.Copy(h, r.header)
	// One line: some clients look at the first only.
	h["Connection"] = []string{strings.Join(slices.Concat(r.header["Connection"], []string{"close"}), ", ")}
	h["Content-Length"] = []string{strconv.Itoa(len(r.body()))}
	return h
}

func (r *refusal) body() string { return r.reason + "\n" }
