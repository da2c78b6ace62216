package interop

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// A tap is a relay for one connection, which keeps what passes it.
type tap struct {
	addr     string
	up, down bytes.Buffer  // what the client said, and the server
	done     chan struct{} // closed when both have ended
}

func openTap(t *testing.T, server string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String(), done: make(chan struct{})}
	t.Cleanup(func() { l.Close(); <-p.done })
	go p.relay(l, server)
	return p
}

func (p *tap) relay(l net.Listener, server string) {
	defer close(p.done)
	client, err := l.Accept()
	if err != nil {
		return // the client never came
	}
	defer client.Close()
	behind, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer behind.Close()
	upward := make(chan struct{})
	go func() { pass(behind, client, &p.up); close(upward) }()
	pass(client, behind, &p.down)
	<-upward
}

// pass relays one direction to its end.
func pass(to, from net.Conn, keep io.Writer) {
	io.Copy(to, io.TeeReader(from, keep))
	to.(*net.TCPConn).CloseWrite()
}

// wired is a message as it was on the wire.
type wired struct {
	compressed bool
	frames     int
	size       int // of all payloads
}

// sides reads what was kept: what was agreed on, and the messages of the client and of the server.
func (p *tap) sides(t *testing.T) (extensions string, client, server []wired) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the connection did not end")
	}
	up, down := bufio.NewReader(&p.up), bufio.NewReader(&p.down)
	if _, err := http.ReadRequest(up); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(down, nil)
	if err != nil {
		t.Fatal(err)
	}
	return response.Header.Get("Sec-WebSocket-Extensions"), messagesIn(t, up), messagesIn(t, down)
}

// messagesIn reads frames to the end of a stream. RFC 7692 section 6.1: the bit of compression is
// the first frame's, and no control frame's.
func messagesIn(t *testing.T, r *bufio.Reader) (all []wired) {
	t.Helper()
	for {
		head, err := ws.ReadHeader(r)
		if err == io.EOF {
			return all
		}
		if err == nil {
			_, err = r.Discard(int(head.Length))
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case head.Rsv1() && (head.OpCode.IsControl() || head.OpCode == ws.OpContinuation):
			t.Errorf("opcode %d has the bit of compression", head.OpCode)
		}
		if head.OpCode.IsControl() {
			continue
		}
		if head.OpCode != ws.OpContinuation {
			all = append(all, wired{compressed: head.Rsv1()})
		}
		m := &all[len(all)-1]
		m.frames++
		m.size += int(head.Length)
	}
}
