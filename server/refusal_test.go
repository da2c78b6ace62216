//go:build linux

package server

import (
	"testing"
	"time"
)

// TestRefusalResponse: a refusal is a whole answer that says what its status must (RFC 9110).
func TestRefusalResponse(t *testing.T) {
	t.Parallel()
	now := time.Date(2011, 12, 11, 10, 9, 8, 7, time.FixedZone("", 3600))
	const date, sniff, text = "Date: Sun, 11 Dec 2011 09:09:08 GMT\r\n", "X-Content-Type-Options: nosniff\r\n", "Content-Type: text/plain; charset=utf-8\r\n"
	for _, c := range []struct {
		name    string
		refusal *refusal
		want    string
	}{
		{"15.5.6 405", errMethod, "HTTP/1.1 405 Method Not Allowed\r\n" + date + "Allow: GET\r\nConnection: close\r\nContent-Length: 39\r\n" + text + sniff +
			"\r\na WebSocket handshake is a GET request\n"},
		{"15.5.22 426", errVersion, "HTTP/1.1 426 Upgrade Required\r\n" + date + "Connection: Upgrade, close\r\nContent-Length: 40\r\n" + text +
			"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" + sniff + "\r\nonly Sec-WebSocket-Version 13 is spoken\n"},
		{"7.8 426 for HTTP/1.0", errOldHTTP, "HTTP/1.1 426 Upgrade Required\r\n" + date + "Connection: Upgrade, close\r\nContent-Length: 37\r\n" + text +
			"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" + sniff + "\r\na WebSocket handshake needs HTTP/1.1\n"},
		{"10.2.3 503", errTooManyConns, "HTTP/1.1 503 Service Unavailable\r\n" + date + "Connection: close\r\nContent-Length: 21\r\n" + text + "Retry-After: 1\r\n" + sniff +
			"\r\ntoo many connections\n"},
		{"9.3.2 HEAD", errNotFound.to([]byte("HEAD / HTTP/1.1")), "HTTP/1.1 404 Not Found\r\n" + date + "Connection: close\r\nContent-Length: 17\r\n" + text + sniff + "\r\n"},
		{"9.3.2 HEAD behind an empty line", errNotFound.to([]byte("\r\nHEAD / HTTP/1.1")), "HTTP/1.1 404 Not Found\r\n" + date + "Connection: close\r\nContent-Length: 17\r\n" + text + sniff + "\r\n"},
		{"a method of that beginning", errNotFound.to([]byte("HEADER / HTTP/1.1")), "HTTP/1.1 404 Not Found\r\n" + date + "Connection: close\r\nContent-Length: 17\r\n" + text + sniff +
			"\r\nno such endpoint\n"},
	} {
		if got := string(c.refusal.response(now)); got != c.want {
			t.Errorf("%s: got  %q\nwant %q", c.name, got, c.want)
		}
	}
}
