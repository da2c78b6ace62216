package main

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// measured are the peers without those that other tests add.
var measured = slices.Clone(peers)

// TestPeers: a peer that does something else than the others, or that ends, is a wrong measurement.
// So all pass the same tests; the floor those of the ticks.
func TestPeers(t *testing.T) {
	for _, p := range measured {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, p.name)
			t.Run("ticks", func(t *testing.T) { testTicks(t, s) })
			if p.noEcho {
				return
			}
			t.Run("path", func(t *testing.T) { testPath(t, s) })
			t.Run("echo", func(t *testing.T) { testEcho(t, s) })
			t.Run("split echo", func(t *testing.T) { testSplitEcho(t, s) })
			t.Run("split upgrade", func(t *testing.T) { testSplitUpgrade(t, s) })
			t.Run("broadcast", func(t *testing.T) { testBroadcast(t, s) })
			t.Run("close", func(t *testing.T) { testClose(t, s) })
		})
	}
}

// testTicks: each connection has its ticks, whatever it says itself, and none too early. How late
// they may be is for the benchmark.
func testTicks(t *testing.T, s *served) {
	const conns, ticks = 5, 6
	began := time.Now()
	var all []*client
	for range conns {
		all = append(all, dial(t, s.addr, "/ws"))
	}
	all[0].send(ws.OpText, []byte(`{"msg":"stuff!"}`))
	all[1].send(ws.OpBinary, make([]byte, 1000))
	for range ticks {
		for _, c := range all {
			c.want(ws.OpText, []byte(woohoo))
		}
	}
	// The floor's first may come at once.
	if took := time.Since(began); took < (ticks-1)*testPeriod {
		t.Errorf("%d ticks came in %v", ticks, took)
	}
}

func testPath(t *testing.T, s *served) {
	if r := connect(t, s.addr).ask("/nowhere"); r.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown path has %s", r.Status)
	}
}

// testEcho sends as fast as the server takes it.
func testEcho(t *testing.T, s *served) {
	c := dial(t, s.addr, "/echo")
	all := messages(seeded(t), s.sizes)
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < len(all) && err == nil; i++ {
			_, err = c.Write(clientFrame(all[i].op, true, all[i].data))
		}
		sent <- err
	}()
	for _, m := range all {
		c.want(m.op, m.data)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// testSplitEcho sends the stream in pieces. Before each next one another connection has an echo, so
// that the server has most likely read what there is of the first.
func testSplitEcho(t *testing.T, s *served) {
	r := seeded(t)
	all := messages(r, s.sizes)
	stream := newStream(r, all)
	c, other := dial(t, s.addr, "/echo"), dial(t, s.addr, "/echo")
	answered := make(chan error, 1)
	go func() { answered <- c.wantAnswers(all, stream.pings) }()
	from := 0
	for i, to := range stream.cuts(r) {
		c.write(stream.bytes[from:to])
		other.send(ws.OpText, fmt.Append(nil, i))
		other.want(ws.OpText, fmt.Append(nil, i))
		from = to
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// wantAnswers reads echoes and, at any time, pongs.
func (c *client) wantAnswers(all []message, pings [][]byte) error {
	var messages, pongs int
	for messages < len(all) || pongs < len(pings) {
		h, payload, err := c.receive()
		switch {
		case err != nil:
			return fmt.Errorf("%d messages, %d pongs: %w", messages, pongs, err)
		case h == ws.OpPong && pongs < len(pings) && bytes.Equal(payload, pings[pongs]):
			pongs++
		case messages < len(all) && h == all[messages].op && bytes.Equal(payload, all[messages].data):
			messages++
		default:
			return fmt.Errorf("%d messages, %d pongs, then kind %d, %s", messages, pongs, h, short(payload))
		}
	}
	return nil
}

func testSplitUpgrade(t *testing.T, s *served) {
	c, other := connect(t, s.addr), dial(t, s.addr, "/echo")
	head := []byte(request("/echo"))
	for len(head) > 0 {
		n := min(len(head), 50)
		c.write(head[:n])
		other.send(ws.OpText, head[:n])
		other.want(ws.OpText, head[:n])
		head = head[n:]
	}
	c.wantUpgraded(c.answer())
	c.send(ws.OpPing, nil)
	c.want(ws.OpPong, nil)
	c.send(ws.OpBinary, []byte{1})
	c.want(ws.OpBinary, []byte{1})
}

// testBroadcast: who has its own greeting back is a member for sure. Those of the others may come
// before and after, because a member may join while one is under way.
func testBroadcast(t *testing.T, s *served) {
	r := seeded(t)
	var all []*client
	for i := range 3 {
		c := dial(t, s.addr, "/broadcast")
		hello := fmt.Append(nil, "hello ", i)
		c.send(ws.OpText, hello)
		c.wantAfter(hello, ws.OpText, hello)
		all = append(all, c)
	}
	for _, m := range messages(r, s.sizes)[:8] {
		for _, sender := range all {
			sender.send(m.op, m.data)
			for _, member := range all {
				member.wantAfter(nil, m.op, m.data)
			}
		}
	}
}

// wantAfter is want past the greetings of others.
func (c *client) wantAfter(own []byte, op ws.OpCode, message []byte) {
	c.t.Helper()
	for {
		gotOp, got, err := c.receive()
		if err == nil && bytes.HasPrefix(got, []byte("hello ")) && !bytes.Equal(got, own) {
			continue
		}
		c.compare(gotOp, got, err, op, message)
		return
	}
}

func testClose(t *testing.T, s *served) {
	for _, path := range []string{"/ws", "/echo", "/broadcast"} {
		c := dial(t, s.addr, path)
		c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))
		c.wantClosed(ws.StatusNormalClosure)
	}
}
