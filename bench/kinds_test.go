package bench

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// guest is the server's end of a visitor's connection.
type guest struct {
	*net.TCPConn
	in *bufio.Reader
}

func (g *guest) Read(p []byte) (int, error) { return g.in.Read(p) }

// upgrade answers the request, and agrees to an extension if one is given.
func (g *guest) upgrade(extension string) (*http.Request, error) {
	r, err := http.ReadRequest(g.in)
	if err != nil {
		return nil, err
	}
	if extension != "" {
		extension = "Sec-WebSocket-Extensions: " + extension + "\r\n"
	}
	_, err = io.WriteString(g.TCPConn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		extension+"Sec-WebSocket-Accept: "+acceptOf(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
	return r, err
}

// frame reads a frame and unmasks it.
func (g *guest) frame() (ws.Frame, error) {
	h, err := ws.ReadHeader(g.in)
	if err != nil {
		return ws.Frame{}, err
	}
	if !h.Masked || h.Length > bombMessage {
		return ws.Frame{}, fmt.Errorf("a frame that no client should send: %+v", h)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(g.in, f.Payload)
	return ws.UnmaskFrameInPlace(f), err
}

// rest ends the stream towards the visitor and reads what it had sent by then.
func (g *guest) rest() ([]byte, error) {
	if err := g.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(g.in)
}

// meet lets visitors of a kind come to a server that is a function, until it has returned so many
// times. Its errors fail the test.
func meet(t *testing.T, k *kind, visitors, meetings int, serve func(*guest) error) KindReport {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report := crowdOf(t, ctx, k, visitors, "ws://"+l.Addr().String()+"/echo")
	var done sync.WaitGroup
	for range meetings {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			if err := serve(&guest{c.(*net.TCPConn), bufio.NewReader(c)}); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		})
		t.Cleanup(func() { c.Close() }) // it stays open until the visitors have left
	}
	done.Wait()
	cancel()
	return <-report
}

// crowdOf runs a crowd of one kind until ctx ends.
func crowdOf(t *testing.T, ctx context.Context, k *kind, visitors int, url string) <-chan KindReport {
	t.Helper()
	target, err := resolve(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCrowd(target, HostileOptions{
		Conns: visitors, Rate: 10_000, Drip: 50 * time.Microsecond, ConnectTimeout: time.Minute,
	}, []*kind{k}, 0)
	if err != nil {
		t.Fatal(err)
	}
	report := make(chan KindReport, 1)
	go func() {
		if err := c.run(ctx, func() {}); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		report <- c.report().Kinds[0]
	}()
	return report
}

func named(t *testing.T, name string) *kind {
	t.Helper()
	k, err := kindNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// note gathers what several guests have seen.
type note[T any] struct {
	mu  sync.Mutex
	all []T
}

func (n *note[T]) add(x T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
}

func TestHalfHandshake(t *testing.T) {
	t.Parallel()
	r := meet(t, named(t, "half-handshake"), 1, 1, func(g *guest) error {
		got := make([]byte, 400)
		if _, err := io.ReadFull(g, got); err != nil {
			return err
		}
		if !bytes.HasPrefix(got, []byte("GET /echo HTTP/1.1\r\nHost: ")) || !bytes.Contains(got, []byte("Sec-WebSocket-Key: ")) ||
			bytes.Contains(got, []byte("\r\n\r\n")) {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if r.Open != 0 || r.Opening != 1 || r.Upgraded != 0 {
		t.Errorf("%+v", r)
	}
}

func TestHalfHeader(t *testing.T) {
	t.Parallel()
	var lengths note[int]
	meet(t, named(t, "half-header"), 13, 13, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		if _, err := g.in.Peek(1); err != nil {
			return err
		}
		got, err := g.rest()
		if !bytes.HasPrefix(largeFrame()[:largeHeader], got) {
			return fmt.Errorf("%x is no start of a header", got)
		}
		lengths.add(len(got))
		return err
	})
	slices.Sort(lengths.all)
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}; !slices.Equal(lengths.all, want) {
		t.Errorf("headers of %v bytes, want each part once", lengths.all)
	}
}

// announced reads a header that announces a large message.
func announced(g *guest) error {
	if _, err := g.upgrade(""); err != nil {
		return err
	}
	h, err := ws.ReadHeader(g)
	if err != nil || !h.Fin || !h.Masked || h.OpCode != ws.OpBinary || h.Length != largeMessage {
		return fmt.Errorf("got %+v, %v", h, err)
	}
	return nil
}

func TestHalfPayload(t *testing.T) {
	t.Parallel()
	meet(t, named(t, "half-payload"), 1, 1, func(g *guest) error {
		if err := announced(g); err != nil {
			return err
		}
		_, err := io.ReadFull(g, make([]byte, 20))
		return err
	})
}

func TestHalfBulk(t *testing.T) {
	t.Parallel()
	meet(t, named(t, "half-bulk"), 1, 1, func(g *guest) error {
		if err := announced(g); err != nil {
			return err
		}
		if _, err := io.ReadFull(g, make([]byte, largeMessage-1)); err != nil {
			return err
		}
		rest, err := g.rest()
		if len(rest) > 0 {
			return fmt.Errorf("%d bytes behind the last but one", len(rest))
		}
		return err
	})
}

// TestNeverReads takes more than what buffers hold, so that the visitor has had its turns after the
// answers came.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	r := meet(t, named(t, "never-reads"), 1, 1, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		if _, err := g.frame(); err != nil { // it has read the upgrade
			return err
		}
		if _, err := g.Write(bytes.Repeat([]byte{0x82, 0}, 10_000)); err != nil {
			return err
		}
		for range 32 << 20 / echoMessage {
			f, err := g.frame()
			if err != nil || f.Header.OpCode != ws.OpBinary || !f.Header.Fin || f.Header.Length != echoMessage {
				return fmt.Errorf("%+v, %v", f.Header, err)
			}
		}
		return nil
	})
	if r.ReceivedBytes > 1_000 {
		t.Errorf("%d bytes were read", r.ReceivedBytes)
	}
}

// TestBulkNeverReads: each message waits for its time, and no echo is read.
func TestBulkNeverReads(t *testing.T) {
	t.Parallel()
	const messages = 3
	r := meet(t, named(t, "bulk-never-reads"), 1, 1, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		start := time.Now()
		for range messages {
			f, err := g.frame()
			if err != nil || f.Header.OpCode != ws.OpBinary || !f.Header.Fin || f.Header.Length != bulkMessage {
				return fmt.Errorf("%+v, %v", f.Header, err)
			}
			if _, err := g.Write([]byte{0x82, 0}); err != nil {
				return err
			}
		}
		if took := time.Since(start); took < (messages-1)*bulkPause*9/10 {
			return fmt.Errorf("%d messages in %v", messages, took)
		}
		return nil
	})
	if r.ReceivedBytes > 1_000 || r.SentBytes < messages*bulkMessage {
		t.Errorf("%+v", r)
	}
}

func TestPingFlood(t *testing.T) {
	t.Parallel()
	meet(t, named(t, "ping-flood"), 1, 1, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		for range 100_000 {
			if f, err := g.frame(); err != nil || f.Header.OpCode != ws.OpPing || string(f.Payload) != "ping" {
				return fmt.Errorf("%+v, %v", f, err)
			}
		}
		return nil
	})
}

func TestTinyFragments(t *testing.T) {
	t.Parallel()
	var ways note[string]
	meet(t, named(t, "tiny-fragments"), 2, 2, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		first, err := g.frame()
		if err != nil || first.Header.OpCode != ws.OpBinary || first.Header.Fin {
			return fmt.Errorf("%+v, %v", first, err)
		}
		ways.add(string(first.Payload))
		ends := 0
		for i := range 3*fragments - 1 {
			f, err := g.frame()
			if err != nil || len(f.Payload) != len(first.Payload) {
				return fmt.Errorf("fragment %d: %+v, %v", i, f, err)
			}
			if f.Header.Fin {
				ends++
			}
		}
		if ends != 3*len(first.Payload) {
			return fmt.Errorf("%d messages of %d fragments of %d bytes", ends, 3*fragments, len(first.Payload))
		}
		return nil
	})
	if slices.Sort(ways.all); !slices.Equal(ways.all, []string{"", "x"}) {
		t.Errorf("fragments of %q", ways.all)
	}
}

func TestResetFlood(t *testing.T) {
	t.Parallel()
	var ways note[string]
	r := meet(t, named(t, "reset-flood"), 3, 9, func(g *guest) error {
		way := "nothing"
		_, err := g.in.Peek(1)
		if err == nil {
			way = "a request"
			if _, err = g.upgrade(""); err == nil {
				way = "the upgrade"
				_, err = g.in.ReadByte()
			}
		}
		// Behind data a reset may read like an end; but to write fails after a reset only.
		if _, writeErr := g.Write([]byte("x")); err == nil || writeErr == nil {
			return fmt.Errorf("after %s: %v, %v", way, err, writeErr)
		}
		ways.add(way)
		return nil
	})
	slices.Sort(ways.all)
	if got := slices.Compact(ways.all); !slices.Equal(got, []string{"a request", "nothing", "the upgrade"}) {
		t.Errorf("reset after %v", got)
	}
	if r.Ends[errLeft.Error()] < 6 {
		t.Errorf("%+v", r)
	}
}

func TestBombs(t *testing.T) {
	t.Parallel()
	var sizes note[int64]
	r := meet(t, named(t, "bomb"), 2, 2, func(g *guest) error {
		request, err := g.upgrade("permessage-deflate")
		if err != nil || !strings.HasPrefix(request.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate;") {
			return fmt.Errorf("%v, %v", request, err)
		}
		f, err := g.frame()
		if err != nil || !f.Header.Rsv1() || !f.Header.Fin || f.Header.OpCode != ws.OpBinary {
			return fmt.Errorf("%+v, %v", f.Header, err)
		}
		tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff") // the tail, and an end
		n, err := io.Copy(io.Discard, flate.NewReader(io.MultiReader(bytes.NewReader(f.Payload), tail)))
		sizes.add(n)
		return err
	})
	if slices.Sort(sizes.all); !slices.Equal(sizes.all, []int64{largeMessage, bombMessage}) || r.Declined != 0 {
		t.Errorf("messages of %v bytes, %+v", sizes.all, r)
	}
}

func TestBombIsDeclined(t *testing.T) {
	t.Parallel()
	r := meet(t, named(t, "bomb"), 1, 1, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		_, err := g.rest() // the visitor leaves when the stream ends
		return err
	})
	if r.Declined != 1 || r.Upgraded != 1 {
		t.Errorf("%+v", r)
	}
	if m := bombs(new(visitor), 0); m.send != nil {
		t.Error("what could not be inflated is sent")
	}
}

func TestCloseFlood(t *testing.T) {
	t.Parallel()
	meet(t, named(t, "close-flood"), 1, 1, func(g *guest) error {
		if _, err := g.upgrade(""); err != nil {
			return err
		}
		if f, err := g.frame(); err != nil || f.Header.OpCode != ws.OpClose {
			return fmt.Errorf("first %+v, %v", f.Header, err)
		}
		if _, err := g.Write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
			return err
		}
		for range 1_000 {
			if f, err := g.frame(); err != nil || f.Header.OpCode != ws.OpBinary {
				return fmt.Errorf("then %+v, %v", f.Header, err)
			}
		}
		return nil
	})
}
