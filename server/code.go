package server

import "fmt"

// Code is a close code (RFC 6455 section 7.4, and the IANA registry it founded).
type Code uint16

// The close codes.
const (
	CodeNormal         Code = 1000
	CodeGoingAway      Code = 1001 // the server shuts down, or the peer was idle too long
	CodeProtocolError  Code = 1002
	CodeUnsupported    Code = 1003 // a kind of data that the endpoint does not take
	CodeNone           Code = 1005 // never sent: the close frame had no code
	CodeAbnormal       Code = 1006 // never sent: the connection ended without a close frame
	CodeInvalidPayload Code = 1007 // not UTF-8
	CodePolicy         Code = 1008
	CodeTooBig         Code = 1009
	CodeInternal       Code = 1011 // a handler panicked
	CodeRestart        Code = 1012
	CodeTryAgain       Code = 1013 // overload: too slow a reader, or no memory left
)

// sendable reports whether a close frame may carry the code. Section 7.4.2: codes below 1000 are not
// used, 1004 to 1006 and 1015 must not be sent, unregistered codes up to 2999 are reserved, and 3000 to
// 4999 are for applications.
func (c Code) sendable() bool {
	switch {
	case c >= 3000 && c <= 4999:
		return true
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014:
		return true
	}
	return false
}

// String returns the number and, for the codes above, their meaning.
func (c Code) String() string {
	if name := codeNames[c]; name != "" {
		return fmt.Sprintf("%d %s", uint16(c), name)
	}
	return fmt.Sprintf("%d", uint16(c))
}

var codeNames = map[Code]string{
	CodeNormal:         "normal closure",
	CodeGoingAway:      "going away",
	CodeProtocolError:  "protocol error",
	CodeUnsupported:    "unsupported data",
	CodeNone:           "no code",
	CodeAbnormal:       "abnormal closure",
	CodeInvalidPayload: "invalid payload",
	CodePolicy:         "policy violation",
	CodeTooBig:         "message too big",
	CodeInternal:       "internal error",
	CodeRestart:        "service restart",
	CodeTryAgain:       "try again later",
}
