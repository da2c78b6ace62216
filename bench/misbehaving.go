package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Misbehaving are clients beside the measured ones that keep handlers misbehaving. The server must know the messages
// that ask for it, as the one of "stillpool bench misbehaving" does.
type Misbehaving struct {
	// URL is the endpoint that they ask; the measured one by default.
	URL string `json:"url,omitempty"`
	// Ask is the text message that makes a handler misbehave. Each client sends the next one Pause after it has its
	// answer.
	Ask     string        `json:"ask"`
	Clients int           `json:"clients"`
	Pause   time.Duration `json:"pause_ns,omitempty"`
	// Code is that of the close frame by which the server answers. By default it echoes Ask.
	Code ws.StatusCode `json:"code,omitempty"`
}

func (m Misbehaving) describe() string {
	text := fmt.Sprintf("beside %d clients that have handlers %s", m.Clients, m.Ask)
	if m.URL != "" {
		text += " in another process"
	}
	return text
}

// misbehavingTime bounds how long a client waits for an answer.
const misbehavingTime = 10 * time.Second

// misbehavingClients are Misbehaving at work, each with a goroutine of its own.
type misbehavingClients struct {
	Misbehaving
	stop     context.CancelFunc
	done     sync.WaitGroup
	answered atomic.Int64
	failed   chan error // the first error, if there is one
}

// startMisbehaving returns when each client has had an answer.
func startMisbehaving(ctx context.Context, m Misbehaving) (*misbehavingClients, error) {
	ctx, stop := context.WithCancel(ctx)
	c := &misbehavingClients{Misbehaving: m, stop: stop, failed: make(chan error, 1)}
	var first sync.WaitGroup
	first.Add(m.Clients)
	for range m.Clients {
		c.done.Go(func() {
			if err := c.keepAsking(ctx, sync.OnceFunc(first.Done)); err != nil && ctx.Err() == nil {
				select {
				case c.failed <- err:
				default:
				}
			}
		})
	}
	first.Wait()
	if err := c.err(); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// keepAsking is the work of one client. It calls ready when the client has had an answer, or never will.
func (c *misbehavingClients) keepAsking(ctx context.Context, ready func()) error {
	defer ready()
	for ctx.Err() == nil {
		if err := c.connection(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

// connection asks again and again on one connection, until the server's answer ends it.
func (c *misbehavingClients) connection(ctx context.Context, ready func()) error {
	dialed, cancel := context.WithTimeout(ctx, misbehavingTime)
	defer cancel()
	conn, _, _, err := ws.Dial(dialed, c.URL) // the server sends nothing before it is asked
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		ended, err := c.ask(conn)
		if err != nil {
			return err
		}
		c.answered.Add(1)
		ready()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.Pause):
		}
		if ended {
			return nil
		}
	}
}

// ask asks once, and waits for the echo or the close frame that must come.
func (c *misbehavingClients) ask(conn net.Conn) (ended bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(misbehavingTime)); err != nil {
		return false, err
	}
	if err := wsutil.WriteClientText(conn, []byte(c.Ask)); err != nil {
		return false, err
	}
	got, err := wsutil.ReadServerText(conn)
	var closed wsutil.ClosedError
	switch {
	case errors.As(err, &closed) && c.Code != 0 && closed.Code == c.Code:
		return true, nil
	case err != nil:
		return false, err
	case c.Code != 0 || string(got) != c.Ask:
		return false, fmt.Errorf("asked to %s, answered %q", c.Ask, got)
	}
	return false, nil
}

// err returns why a client gave up, or nil.
func (c *misbehavingClients) err() error {
	select {
	case err := <-c.failed:
		return fmt.Errorf("bench: a client that has handlers misbehave: %w", err)
	default:
		return nil
	}
}

// end ends the clients. An error says that one had given up before.
func (c *misbehavingClients) end() error {
	err := c.err()
	c.stop()
	c.done.Wait()
	return err
}
