package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// client is a WebSocket client that has its stream in hand.
type client struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

// connect opens a connection to which nothing can take longer than patience.
func connect(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{conn.(*net.TCPConn), t, bufio.NewReader(conn)}
}

const clientKey = "c3RpbGwgd2F0ZXJzIHJ1bg=="

func request(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + clientKey + "\r\n\r\n"
}

// ask sends a request for an upgrade.
func (c *client) ask(path string) *http.Response {
	c.t.Helper()
	c.write([]byte(request(path)))
	return c.answer()
}

func (c *client) answer() *http.Response {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func dial(t *testing.T, addr, path string) *client {
	t.Helper()
	c := connect(t, addr)
	c.wantUpgraded(c.ask(path))
	return c
}

func (c *client) wantUpgraded(r *http.Response) {
	c.t.Helper()
	sum := sha1.Sum([]byte(clientKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if h := r.Header; r.StatusCode != http.StatusSwitchingProtocols ||
		h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) ||
		!strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade") ||
		h.Get("Sec-WebSocket-Extensions") != "" || h.Get("Sec-WebSocket-Protocol") != "" {
		c.t.Fatalf("%s, %v", r.Status, h)
	}
}

func (c *client) write(p []byte) {
	c.t.Helper()
	if _, err := c.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

func clientFrame(op ws.OpCode, fin bool, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, payload)))
}

func (c *client) send(op ws.OpCode, payload []byte) {
	c.t.Helper()
	c.write(clientFrame(op, true, payload))
}

// frame reads a frame of the server.
func (c *client) frame() (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		return h, nil, err
	}
	if h.Masked || h.Rsv != 0 || h.OpCode.IsReserved() || h.OpCode.IsControl() && (!h.Fin || h.Length > 125) {
		return h, nil, fmt.Errorf("frame %+v", h)
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(c.r, payload)
	return h, payload, err
}

// receive reads the next message, or control frame if it comes first.
func (c *client) receive() (op ws.OpCode, message []byte, err error) {
	for {
		h, payload, err := c.frame()
		if err != nil || h.OpCode.IsControl() {
			return h.OpCode, payload, err
		}
		if (h.OpCode == ws.OpContinuation) != (op != 0) {
			return op, nil, fmt.Errorf("frame %+v while a message of kind %d is open", h, op)
		}
		if op == 0 {
			op = h.OpCode
		}
		message = append(message, payload...)
		if h.Fin {
			return op, message, nil
		}
	}
}

func (c *client) want(op ws.OpCode, message []byte) {
	c.t.Helper()
	gotOp, got, err := c.receive()
	c.compare(gotOp, got, err, op, message)
}

func (c *client) compare(gotOp ws.OpCode, got []byte, err error, op ws.OpCode, message []byte) {
	c.t.Helper()
	if err != nil || gotOp != op || !bytes.Equal(got, message) {
		c.t.Fatalf("got kind %d, %s, %v; want kind %d, %s", gotOp, short(got), err, op, short(message))
	}
}

func short(p []byte) string { return fmt.Sprintf("%d bytes %.20q", len(p), p) }

// wantClosed reads to the end of the connection, past the ticks that were under way, and wants a
// close frame with this code before it.
func (c *client) wantClosed(code ws.StatusCode) {
	c.t.Helper()
	op, payload, err := c.receive()
	for err == nil && op == ws.OpText {
		op, payload, err = c.receive()
	}
	if got, _ := ws.ParseCloseFrameData(payload); err != nil || op != ws.OpClose || got != code {
		c.t.Fatalf("got kind %d, %s, %v; want a close frame with %d", op, short(payload), err, code)
	}
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("got byte %#x, %v after the close frame", b, err)
	}
}

// reset ends the connection without a word.
func (c *client) reset() {
	c.SetLinger(0)
	c.Close()
}
