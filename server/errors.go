package server

import (
	"errors"
	"fmt"
)

// Errors that callers meet.
var (
	// ErrClosed is the answer of a handle whose connection is closed or closing.
	ErrClosed = errors.New("server: connection closed")
	// ErrServerClosed is returned by Serve and ListenAndServe after Shutdown or Close.
	ErrServerClosed = errors.New("server: server closed")
	// ErrBacklogFull says that a message was refused because the peer reads too slowly: with it,
	// more would wait than Options.Backlog or Server.OutboundBudget allows.
	ErrBacklogFull = errors.New("server: backlog full")
	// ErrShed is the Err of a Closing whose peer read too slowly when Server.OutboundBudget was spent:
	// of all connections it was one of those for which most waited, so it gave way to the others.
	ErrShed = errors.New("server: backlog shed")
	// ErrBadCode says that a close code must not be sent in a close frame (RFC 6455 section 7.4).
	ErrBadCode = errors.New("server: close code must not be sent")
	// ErrBadKind says that a message is of neither kind: text or binary.
	ErrBadKind = errors.New("server: kind of message is neither Text nor Binary")
	// ErrReasonTooLong says that a close reason does not fit into a control frame: 123 bytes
	// (RFC 6455 section 5.5).
	ErrReasonTooLong = errors.New("server: close reason longer than 123 bytes")
	// ErrInvalidUTF8 says that a text message or a close reason is not UTF-8 (RFC 6455 section 8.1).
	ErrInvalidUTF8 = errors.New("server: not UTF-8")
	// ErrWriteTimeout is the Err of a Closing whose peer made no progress with what waited for it: by
	// Options.WriteTimeout or, while a close frame waited, by Server.CloseTimeout. Shutdown's error wraps it when
	// that ended connections.
	ErrWriteTimeout = errors.New("server: write timeout")
	// ErrQueueAge is the Err of a Closing by Options.MaxQueueAge.
	ErrQueueAge = errors.New("server: message waited too long")
	// ErrCloseTimeout is the Err of a Closing whose peer did not answer a close frame within
	// Server.CloseTimeout.
	ErrCloseTimeout = errors.New("server: peer did not answer the close frame")
	// ErrPongTimeout is the Err of a Closing whose peer gave no sign of life within
	// Options.PongTimeout after a ping.
	ErrPongTimeout = errors.New("server: peer did not answer a ping")
	// ErrInvalidHeader says that a header of a Grant, or of the ResponseWriter of a mounted endpoint, can't be sent: its
	// name is no token, or a value has a control character (RFC 9110 sections 5.1 and 5.5). The log has it.
	ErrInvalidHeader = errors.New("server: invalid header for the handshake's response")
	// ErrSubprotocolNotOffered says that a Grant has a subprotocol that the client does not offer (RFC 6455 section
	// 4.2.2). The log has it.
	ErrSubprotocolNotOffered = errors.New("server: granted subprotocol was not offered")
	// ErrTakeover says why ServeHTTP could not take a connection over from net/http.
	ErrTakeover = errors.New("server: connection can't be taken over")
	// ErrStuck is Server.Healthy's answer when an event loop did not answer in time.
	ErrStuck = errors.New("server: event loop does not answer")
	// ErrNotListening is Server.Ready's answer when the server has no listener yet.
	ErrNotListening = errors.New("server: not listening")
)

// ProtocolError is a peer's violation of the protocol. It is the Err of a Closing and what the
// peer was told in its close frame.
type ProtocolError struct {
	Code   Code   // the close code that was sent
	Reason string // what was wrong, as sent
}

// Error implements error.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("server: protocol error %d: %s", e.Code, e.Reason)
}

func protocolError(reason string) *ProtocolError {
	return &ProtocolError{Code: CodeProtocolError, Reason: reason}
}

// What peers can get wrong, by the section of RFC 6455 that forbids it.
var (
	errReservedBits      = protocolError("reserved bit set without an extension")        // 5.2
	errReservedOpcode    = protocolError("reserved opcode")                              // 5.2
	errLengthNotMinimal  = protocolError("payload length not minimally encoded")         // 5.2
	errLengthNegative    = protocolError("payload length with most significant bit set") // 5.2
	errUnmasked          = protocolError("frame from client not masked")                 // 5.1
	errUnexpectedCont    = protocolError("continuation without a message")               // 5.4
	errUnfinished        = protocolError("new message before the last one ended")        // 5.4
	errFragmentedControl = protocolError("fragmented control frame")                     // 5.5
	errControlTooLong    = protocolError("control frame longer than 125 bytes")          // 5.5
	errCloseTooShort     = protocolError("close frame of one byte")                      // 5.5.1
	errCloseCode         = protocolError("invalid close code")                           // 7.4

	errInvalidUTF8 = &ProtocolError{CodeInvalidPayload, "invalid UTF-8"}          // 8.1
	errTooBig      = &ProtocolError{CodeTooBig, "message over the limit"}         // 7.4.1
	errDeflate     = &ProtocolError{CodeInvalidPayload, "compressed data broken"} // RFC 7692 section 7.2.2
	errSlowMessage = &ProtocolError{CodePolicy, "message took too long"}
	errNoBudget    = &ProtocolError{CodeTryAgain, "server out of memory for messages"}
)
