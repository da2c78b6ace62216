package main

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

// culpritPatience is how long a client waits for an answer beyond what it asked for.
const culpritPatience = 10 * time.Second

// culprits are clients that keep handlers misbehaving: each asks when it has its answer.
type culprits struct {
	misdeed  misdeed
	addr     string
	stop     context.CancelFunc
	done     sync.WaitGroup
	answered atomic.Int64
	failed   chan error // the first error, if there is one
}

// startCulprits has all of them at work, each with an answer already, when it returns.
func startCulprits(ctx context.Context, addr string, m misdeed) (*culprits, error) {
	ctx, stop := context.WithCancel(ctx)
	c := &culprits{misdeed: m, addr: addr, stop: stop, failed: make(chan error, 1)}
	var first sync.WaitGroup
	first.Add(m.clients)
	for range m.clients {
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

// keepAsking is one of them. It calls ready when it has had an answer, or never will.
func (c *culprits) keepAsking(ctx context.Context, ready func()) error {
	defer ready()
	for ctx.Err() == nil {
		if err := c.connection(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

// connection asks again and again on one connection, until the misdeed ends that.
func (c *culprits) connection(ctx context.Context, ready func()) error {
	dialed, cancel := context.WithTimeout(ctx, culpritPatience)
	defer cancel()
	conn, _, _, err := ws.Dial(dialed, "ws://"+c.addr+"/echo") // it sends nothing before it is asked
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
		case <-time.After(c.misdeed.pause):
		}
		if ended {
			return nil
		}
	}
}

// ask asks once, and waits for the answer or for the end that it is to have.
func (c *culprits) ask(conn net.Conn) (ended bool, err error) {
	m := c.misdeed
	if err := conn.SetDeadline(time.Now().Add(culpritPatience)); err != nil {
		return false, err
	}
	if err := wsutil.WriteClientText(conn, []byte(m.ask)); err != nil {
		return false, err
	}
	got, err := wsutil.ReadServerText(conn)
	var closed wsutil.ClosedError
	switch {
	case errors.As(err, &closed) && m.code != 0 && closed.Code == m.code:
		return true, nil
	case err != nil:
		return false, err
	case m.code != 0 || string(got) != m.ask:
		return false, fmt.Errorf("asked to %s, answered %q", m.ask, got)
	}
	return false, nil
}

// err is why one of them gave up, or nil.
func (c *culprits) err() error {
	select {
	case err := <-c.failed:
		return fmt.Errorf("a client that has handlers misbehave: %w", err)
	default:
		return nil
	}
}

// end ends them, and tells whether all were at work until then.
func (c *culprits) end() error {
	err := c.err()
	c.stop()
	c.done.Wait()
	return err
}
