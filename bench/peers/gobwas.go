package main

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// What the peers on gobwas/ws have in common, which is a codec and no server.

// endpoint is what a connection is for.
type endpoint uint8

const (
	tickEndpoint endpoint = iota
	echoEndpoint
	broadcastEndpoint
)

var gobwasEndpoints = map[string]endpoint{
	"/ws": tickEndpoint, "/echo": echoEndpoint, "/broadcast": broadcastEndpoint,
}

// gobwasUpgrade answers the request that it reads from conn.
func gobwasUpgrade(conn io.ReadWriter) (e endpoint, err error) {
	u := ws.Upgrader{OnRequest: func(uri []byte) error {
		var known bool
		if e, known = gobwasEndpoints[string(uri)]; !known {
			return ws.RejectConnectionError(ws.RejectionStatus(http.StatusNotFound))
		}
		return nil
	}}
	_, err = u.Upgrade(conn)
	return e, err
}

var gobwasBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// gobwasWrite writes a message, in a single call if it is small: the shorter
// wsutil.WriteServerMessage makes one call for the header and one for the payload.
func gobwasWrite(w io.Writer, op ws.OpCode, message []byte) error {
	const pooled = 64 << 10
	if len(message) > pooled {
		return wsutil.WriteServerMessage(w, op, message)
	}
	b := gobwasBuffers.Get().(*bytes.Buffer)
	defer gobwasBuffers.Put(b)
	b.Reset()
	if err := ws.WriteFrame(b, ws.NewFrame(op, true, message)); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// gobwasFrame is a message for many.
func gobwasFrame(op ws.OpCode, message []byte) []byte {
	return ws.MustCompileFrame(ws.NewFrame(op, true, message))
}
