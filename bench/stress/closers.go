package stress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/bench"
)

// closeTime bounds a closing handshake.
const closeTime = 10 * time.Second

// closers are connections that say goodbye one after the other.
type closers struct {
	conns []net.Conn

	mu     sync.Mutex
	times  *hdrhistogram.Histogram // in µs
	failed map[string]int
}

// Closes are closing handshakes: from the client's close frame to the end of the stream behind the
// server's.
type Closes struct {
	Done   int64             `json:"done"`
	Failed map[string]int    `json:"failed,omitempty"`
	Times  bench.Percentiles `json:"times"`
}

func openClosers(ctx context.Context, url string, n int) (*closers, error) {
	c := &closers{times: hdrhistogram.New(1, int64(closeTime/time.Microsecond), 3), failed: map[string]int{}}
	for range n {
		conn, _, _, err := ws.Dial(ctx, url) // nothing follows the answer by itself
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// run closes so many a second, whatever becomes of those before.
func (c *closers) run(ctx context.Context, rate float64) Closes {
	var all sync.WaitGroup
	start := time.Now()
	for i, conn := range c.conns {
		due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if bench.Pause(ctx, time.Until(due)) != nil {
			break
		}
		all.Go(func() { c.goodbye(conn, due) })
	}
	all.Wait()
	return Closes{Done: c.times.TotalCount(), Failed: c.failed, Times: bench.PercentilesOf(c.times)}
}

// goodbye closes one, and counts from when that was due.
func (c *closers) goodbye(conn net.Conn, due time.Time) {
	err := shakeHands(conn, due.Add(closeTime))
	took := time.Since(due)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed[err.Error()]++
		return
	}
	_ = c.times.RecordValue(min(took.Microseconds(), c.times.HighestTrackableValue())) // so it can't fail
}

var errNotClose = errors.New("the answer to a close frame is none")

// shakeHands sends a close frame, and waits for the server's and for the end of the stream.
func shakeHands(conn net.Conn, until time.Time) error {
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	goodbye := ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	if err := ws.WriteFrame(conn, ws.MaskFrame(goodbye)); err != nil {
		return err
	}
	answer, err := ws.ReadHeader(conn)
	if err != nil {
		return err
	}
	if answer.OpCode != ws.OpClose || answer.Length > ws.MaxControlFramePayloadSize {
		return errNotClose
	}
	if _, err := io.CopyN(io.Discard, conn, answer.Length); err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("behind a close frame: %d bytes, %w", n, err)
	}
	return nil
}

// close closes all without ado.
func (c *closers) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}
