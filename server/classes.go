package server

import "strconv"

// This file is the bounded sets that the server counts by, beside Cause: each has a name for each of
// its members, and nothing that a peer does makes another.

// RefusalReason says why a handshake was refused, for Stats.
type RefusalReason uint8

// The reasons.
const (
	RefusedOther            RefusalReason = iota // an answer that none of the following describes
	RefusedBadRequest                            // the request was wrong: 400, 405, 426, 505
	RefusedTooLarge                              // its head was longer than Server.MaxHeaderBytes: 431
	RefusedNotFound                              // no such endpoint: 404
	RefusedOrigin                                // Options.Origins does not have its origin: 403
	RefusedUnauthorized                          // Options.Authorize said no, whatever the status
	RefusedTimeout                               // Server.HandshakeTimeout passed before the head was whole: 408
	RefusedAuthorizeTimeout                      // it passed before Options.Authorize had an answer: 503
	RefusedDescriptors                           // the process has no descriptor left: 503
	RefusedFull                                  // Server.MaxConns: 503
	RefusedAddress                               // Server.MaxConnsPerAddress: 429
	RefusedHandshakes                            // Server.MaxHandshakes: 503
	RefusedRate                                  // Server.HandshakeRate: 503
	RefusedPreface                               // no PROXY header (ProxyProtocol), or a wrong one: closed without an answer
	RefusedNoMemory                              // Server.InboundBudget: 503
	RefusedDraining                              // Shutdown or Close was called: 503
	RefusedUnavailable                           // the server can't serve it for another reason: 503
	RefusedFailed                                // Options.Authorize panicked, or granted what can't be granted: 500
	RefusedTakeover                              // net/http's connection can't be taken over (ErrTakeover): 501, and 505 for HTTP/2

	// RefusalReasons is how many there are.
	RefusalReasons = int(iota)
)

// String names the reason.
func (r RefusalReason) String() string {
	names := [...]string{"other", "bad request", "too large", "not found", "origin", "unauthorized", "timeout",
		"authorize timeout", "descriptors", "full", "address", "handshakes", "rate", "preface", "no memory", "draining", "unavailable",
		"failed", "takeover"}
	if int(r) < len(names) {
		return names[r]
	}
	return names[0]
}

// OffloadReason is why the handlers of an endpoint went to the pool, for Stats.
type OffloadReason uint8

// The reasons.
const (
	OffloadStillRunning OffloadReason = iota // a handler had not returned 20 ms after its loop was replaced
	OffloadSecondOut                         // a second one was out: its loop was replaced, and it had not returned
	OffloadCPU                               // while a handler held its loop, the loop's thread computed
	OffloadKept                              // on the pool they were slow again, so they stay there

	// OffloadReasons is how many there are.
	OffloadReasons = int(iota)
)

// String names the reason.
func (r OffloadReason) String() string {
	names := [OffloadReasons]string{"still_running", "second_out", "cpu", "kept"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// CodeClass is a close code, or the range of codes that it counts among in Stats.
type CodeClass uint8

// The classes: those of the codes from 1000 to 1015 are the code less 1000, and behind them come the
// ranges.
const (
	ApplicationCodes CodeClass = iota + 16 // 3000 to 3999, registered by libraries and applications
	PrivateCodes                           // 4000 to 4999, registered by nobody
	OtherCodes                             // what no close frame may have

	// CodeClasses is how many there are.
	CodeClasses = int(iota) + 16
)

// Class is what the code counts among.
func (c Code) Class() CodeClass {
	switch {
	case c >= 1000 && c <= 1015:
		return CodeClass(c - 1000)
	case c >= 3000 && c <= 3999:
		return ApplicationCodes
	case c >= 4000 && c <= 4999:
		return PrivateCodes
	}
	return OtherCodes
}

// String is the number of the code, "none" for CodeNone, or the name of the range.
func (k CodeClass) String() string {
	switch {
	case k == CodeNone.Class():
		return "none"
	case k == ApplicationCodes:
		return "application 3000-3999"
	case k == PrivateCodes:
		return "private 4000-4999"
	case k >= OtherCodes:
		return "other"
	}
	return strconv.Itoa(1000 + int(k))
}
