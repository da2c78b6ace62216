package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/gobwas/ws"
)

// TestGnetRefuses: the codec is the peer's own, so it must tell what is unlawful, and bound the rest.
func TestGnetRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, "gnet")
	tooLong := ws.Header{Fin: true, OpCode: ws.OpBinary, Masked: true, Length: gnetMaxMessage + 1}
	header := new(bytes.Buffer)
	if err := ws.WriteHeader(header, tooLong); err != nil {
		t.Fatal(err)
	}
	part := clientFrame(ws.OpBinary, false, make([]byte, 1<<20))
	for _, c := range []struct {
		name string
		sent []byte
		code ws.StatusCode
	}{
		{"no mask", ws.MustCompileFrame(ws.NewTextFrame([]byte("x"))), ws.StatusProtocolError},
		{"reserved opcode", clientFrame(3, true, nil), ws.StatusProtocolError},
		{"continuation of nothing", clientFrame(ws.OpContinuation, true, nil), ws.StatusProtocolError},
		{"a message within another", bytes.Repeat(clientFrame(ws.OpText, false, []byte("x")), 2), ws.StatusProtocolError},
		{"a fragmented ping", clientFrame(ws.OpPing, false, nil), ws.StatusProtocolError},
		{"a long ping", clientFrame(ws.OpPing, true, make([]byte, 126)), ws.StatusProtocolError},
		{"not UTF-8", clientFrame(ws.OpText, true, []byte("\xff")), ws.StatusInvalidFramePayloadData},
		{"a long frame", header.Bytes(), ws.StatusMessageTooBig},
		{"a long message", append(part, bytes.Repeat(clientFrame(ws.OpContinuation, false, make([]byte, 1<<20)), 16)...),
			ws.StatusMessageTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dial(t, s.addr, "/echo")
			go client.Write(c.sent)
			client.wantRefused(c.code)
		})
	}
	t.Run("a long head", func(t *testing.T) {
		client := connect(t, s.addr)
		client.write(append([]byte("GET /echo HTTP/1.1\r\nX: "), make([]byte, gnetMaxHead)...))
		if b, err := client.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got byte %#x, %v, not the end", b, err)
		}
	})
}

// wantRefused is wantClosed for a peer that has not read all that was sent to it, so that its kernel
// may end the connection with a reset.
func (c *client) wantRefused(code ws.StatusCode) {
	c.t.Helper()
	op, payload, err := c.receive()
	if got, _ := ws.ParseCloseFrameData(payload); err != nil || op != ws.OpClose || got != code {
		c.t.Fatalf("got kind %d, %s, %v; want a close frame with %d", op, short(payload), err, code)
	}
	if n, err := io.Copy(io.Discard, c.r); n > 0 {
		c.t.Fatalf("%d bytes after the close frame, %v", n, err)
	}
}
