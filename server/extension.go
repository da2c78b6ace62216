package server

// This file is pure: it agrees on permessage-deflate (RFC 7692) with a client that offers it in
// Sec-WebSocket-Extensions (RFC 6455 section 9.1).

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
