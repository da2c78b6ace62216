package interop

import (
	"bufio"
	"cmp"
	"compress/flate"
	"context"
	"io"
	"net"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

// gobwas is the adapter of github.com/gobwas/ws, with wsutil and wsflate.
type gobwas struct {
	conn     net.Conn
	deflates bool
	state    wsflate.MessageState // of the message that is received
	reader   wsutil.Reader
	deflater wsflate.Helper
	inflater *wsflate.Reader
	answers  []string
}

func dialGobwas(ctx context.Context, c conversation) (peer, agreed, error) {
	d := ws.Dialer{Protocols: c.Subprotocols}
	if c.Offer != nil {
		d.Extensions = []httphead.Option{wsflate.DefaultParameters.Option()}
	}
	conn, buffered, handshake, err := d.Dial(ctx, c.URL)
	if err != nil {
		return nil, agreed{}, err
	}
	g := &gobwas{conn: conn, deflates: len(handshake.Extensions) > 0}
	var source io.Reader = conn
	if buffered != nil { // frames came together with the handshake
		source = buffered
	}
	g.reader = wsutil.Reader{
		Source:         bufio.NewReader(source),
		State:          ws.StateClientSide | ws.StateExtended,
		Extensions:     []wsutil.RecvExtension{&g.state},
		OnIntermediate: g.control,
	}
	// A compressor for each message, as the default has it, would take a megabyte each time.
	deflater, _ := flate.NewWriter(nil, flate.BestSpeed)
	g.deflater.Compressor = func(w io.Writer) wsflate.Compressor { deflater.Reset(w); return deflater }
	g.inflater = wsflate.NewReader(nil, wsflate.DefaultHelper.Decompressor)
	var extensions strings.Builder
	if _, err := httphead.WriteOptions(&extensions, handshake.Extensions); err != nil {
		return nil, agreed{}, err
	}
	return g, agreed{extensions.String(), handshake.Protocol}, nil
}

func (g *gobwas) send(m message) error {
	op := ws.OpBinary
	if m.Text {
		op = ws.OpText
	}
	if g.deflates {
		var err error
		if m.Data, err = g.deflater.Compress(m.Data); err != nil {
			return err
		}
	}
	all := m.pieces()
	for i, piece := range all {
		last := i == len(all)-1
		if last && m.Ping != "" {
			if err := g.write(ws.NewPingFrame([]byte(m.Ping))); err != nil {
				return err
			}
		}
		frame := ws.NewFrame(op, last, piece)
		if g.deflates && i == 0 {
			frame.Header, _ = wsflate.SetBit(frame.Header)
		}
		if err := g.write(frame); err != nil {
			return err
		}
		op = ws.OpContinuation
	}
	return nil
}

func (g *gobwas) write(frame ws.Frame) error { return ws.WriteFrame(g.conn, ws.MaskFrame(frame)) }

func (g *gobwas) receive() (bool, []byte, error) {
	for {
		head, err := g.reader.NextFrame()
		switch {
		case err != nil:
			return false, nil, err
		case head.OpCode.IsControl():
			if err := g.control(head, &g.reader); err != nil {
				return false, nil, err
			}
			continue
		}
		var data []byte
		if g.state.IsCompressed() {
			g.inflater.Reset(&g.reader)
			data, err = io.ReadAll(g.inflater)
		} else {
			data, err = io.ReadAll(&g.reader)
		}
		return head.OpCode == ws.OpText, data, err
	}
}

// control takes pongs, and answers the server's close frame.
func (g *gobwas) control(head ws.Header, payload io.Reader) error {
	data, err := io.ReadAll(payload)
	switch {
	case err != nil:
		return err
	case head.OpCode == ws.OpPong:
		g.answers = append(g.answers, string(data))
		return nil
	}
	code, reason := ws.ParseCloseFrameData(data)
	g.write(ws.NewCloseFrame(data)) // the server is gone by then if this is its answer
	return &closed{closing{int(cmp.Or(code, ws.StatusNoStatusRcvd)), reason}}
}

func (g *gobwas) shut(with closing) error {
	if with.Code == noCode {
		return g.write(ws.NewCloseFrame(nil))
	}
	return g.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(with.Code), with.Reason)))
}

func (g *gobwas) pongs() []string { return g.answers }

func (g *gobwas) drop() { g.conn.Close() }
