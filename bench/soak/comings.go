package soak

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// comings are the ways in, and those to stay out.
var comings = []*thing{
	{name: "open", weight: 60, do: func(l *life) error { return l.open(l.request(), false) }},
	{name: "open byte by byte", weight: 8, do: func(l *life) error { return l.open(l.request(), true) }},
	{name: "half a handshake, then gone", weight: 2, do: (*life).halfAsk},
	{name: "half a handshake, then a reset", weight: 2, do: func(l *life) error { defer l.reset(); return l.halfAsk() }},
	{name: "a handshake, and gone before the answer", weight: 2, do: (*life).askAndGo},
	{name: "connect and go", weight: 1, do: func(*life) error { return nil }},
	{name: "a handshake to nowhere", weight: 1, do: func(l *life) error {
		return l.refused(http.StatusNotFound, bytes.Replace(l.request(), []byte(l.place.path), []byte("/nowhere"), 1))
	}},
	{name: "a handshake without a key", weight: 1, do: func(l *life) error {
		return l.refused(http.StatusBadRequest, bytes.Replace(l.request(), []byte("Sec-WebSocket-Key"), []byte("X"), 1))
	}},
}

// offers of compression: contexts as the server likes, none, and a small window.
var offers = []string{
	"permessage-deflate",
	"permessage-deflate; client_no_context_takeover; server_no_context_takeover",
	"permessage-deflate; server_max_window_bits=10",
}

func (l *life) key() string {
	nonce := binary.BigEndian.AppendUint64(nil, l.crowd.options.Seed)
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nonce, uint64(l.sent.number)))
}

func (l *life) request() []byte {
	var offer string
	if l.place.compresses() {
		offer = "Sec-WebSocket-Extensions: " + offers[l.rng.IntN(len(offers))] + "\r\n"
	}
	return fmt.Appendf(nil, "GET %s?n=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n", l.place.path, l.sent.number, l.crowd.addr, l.key(), offer)
}

// ask sends a request and reads the head of the answer.
func (l *life) ask(request []byte, slowly bool) (*http.Response, error) {
	l.sent.asked = true
	if err := l.feed(request, slowly); err != nil {
		return nil, err
	}
	l.in = bufio.NewReader(l.conn)
	_ = l.conn.SetReadDeadline(time.Now().Add(l.crowd.options.Patience))
	answer, err := http.ReadResponse(l.in, nil)
	_ = l.conn.SetReadDeadline(time.Time{})
	return answer, err
}

// feed sends bytes, slowly ones one by one. Now and then it lets the server look at what it has.
func (l *life) feed(p []byte, slowly bool) error {
	if !slowly {
		return l.write(p)
	}
	for i := range p {
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := l.write(p[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) open(request []byte, slowly bool) error {
	answer, err := l.ask(request, slowly)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(l.key() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // section 4.2.2
	h := answer.Header
	switch {
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("answered %s", answer.Status)
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return fmt.Errorf("answered with the key %q", h.Get("Sec-WebSocket-Accept"))
	case !strings.EqualFold(h.Get("Upgrade"), "websocket"):
		return fmt.Errorf("answered with the upgrade %q", h.Get("Upgrade"))
	}
	l.squeeze = agreedTo(h.Get("Sec-WebSocket-Extensions"))
	if l.squeeze.agreed != l.place.compresses() {
		return fmt.Errorf("answered with the extension %q", h.Get("Sec-WebSocket-Extensions"))
	}
	l.sent.opened = true
	return nil
}

func (l *life) refused(status int, request []byte) error {
	answer, err := l.ask(request, false)
	if err != nil {
		return err
	}
	l.sent.asked = false // nothing is to come of it
	if answer.StatusCode != status {
		return fmt.Errorf("answered %s, not %d", answer.Status, status)
	}
	return nil
}

func (l *life) halfAsk() error {
	p := l.request()
	return l.feed(p[:1+l.rng.IntN(len(p)-1)], l.rng.IntN(2) == 0)
}

func (l *life) askAndGo() error {
	l.sent.asked = true
	return l.write(l.request())
}

// reset ends the connection so that the server gets a reset.
func (l *life) reset() {
	_ = l.conn.SetLinger(0)
	_ = l.conn.Close()
}
