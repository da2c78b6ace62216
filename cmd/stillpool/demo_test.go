package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/stillpool/stillpool/server"
)

func TestTicks(t *testing.T) {
	for _, poller := range []string{"epoll", "easygo"} {
		t.Run(poller, func(t *testing.T) {
			addr, _ := started(t, "--every", "20ms", "--poller", poller)
			c := mustDial(t, "ws://"+addr+"/ws")
			for range 3 {
				if data, op := hear(t, c); data != "Woohoo!" || op != ws.OpText {
					t.Fatalf("got %v %q", op, data)
				}
			}
			if s := statsOf(t, addr); s.EveryMS != 20 || s.Connections != 1 || s.Ticks < 3 {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}

func TestStuffIsLoggedAndCounted(t *testing.T) {
	addr, log := started(t, "--every", "20ms", "--log-level", "debug")
	c := mustDial(t, "ws://"+addr+"/ws")
	const times = ownLines + 3 // at debug every one has its line
	for i := range times {
		say(t, c, ws.OpText, []string{stuffObject, stuffString}[i%2])
	}
	lines := func() int { return strings.Count(log.String(), `msg="Got stuff!" conn=`) }
	eventually(t, "the log", func() bool { return lines() == times })
	if !strings.Contains(log.String(), "remote="+c.LocalAddr().String()) {
		t.Errorf("the address is missing in\n%s", log)
	}
	if s := statsOf(t, addr); s.Stuff != times || s.Connections != 1 {
		t.Errorf("stats are %+v", s)
	}
	if data, _ := hear(t, c); data != "Woohoo!" {
		t.Errorf("afterwards came %q", data)
	}
	c.Close()
	eventually(t, "the close in the log", func() bool { return strings.Contains(log.String(), "msg=Closed conn=") })
}

func TestRefusalsSayWhy(t *testing.T) {
	addr, log := started(t, "--every", "1h")
	for _, c := range []struct {
		op     ws.OpCode
		data   string
		code   ws.StatusCode
		reason string
		logged string
	}{
		{ws.OpBinary, "\x00\xff", 1003, "binary", `data=\x00\xff`},
		{ws.OpText, "two\nlines", 1003, "not JSON", `data=two\nlines`},
		{ws.OpText, `{"msg":"else"}`, 1008, "not stuff", `data="{\"msg\":\"else\"}"`},
		{ws.OpText, strings.Repeat("x", maxStuff), 1003, "not JSON", "bytes=1024"},
		{ws.OpText, strings.Repeat("x", maxStuff+1), 1009, "", ""},
		{ws.OpText, "\xff", 1007, "", ""},
	} {
		conn := mustDial(t, "ws://"+addr+"/ws")
		say(t, conn, c.op, c.data)
		_, _, err := wsutil.ReadServerData(conn)
		var closed wsutil.ClosedError
		if !errors.As(err, &closed) || closed.Code != c.code || !strings.Contains(closed.Reason, c.reason) {
			t.Errorf("%q: got %v, want %d %s", c.data, err, c.code, c.reason)
		}
		if !strings.Contains(log.String(), c.logged) {
			t.Errorf("%q: %q is missing in\n%s", c.data, c.logged, log)
		}
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a peer wrote this line of the log: %q", line)
		}
	}
}

func TestEcho(t *testing.T) {
	addr, _ := started(t)
	c := mustDial(t, "ws://"+addr+"/echo")
	for _, m := range []struct {
		op   ws.OpCode
		data string
	}{
		{ws.OpText, "stuff"}, {ws.OpBinary, "\x00\xff"}, {ws.OpText, ""}, {ws.OpBinary, strings.Repeat("0123456789abcdef", maxEcho/16)},
	} {
		var writing sync.WaitGroup // a long one is read while it is written
		writing.Go(func() {
			if err := wsutil.WriteClientMessage(c, m.op, []byte(m.data)); err != nil {
				t.Error(err)
			}
		})
		if data, op := hear(t, c); data != m.data || op != m.op {
			t.Errorf("sent %v of %d bytes, got %v of %d", m.op, len(m.data), op, len(data))
		}
		writing.Wait()
	}
}

// While one message waits to be read, reading may go on until half of the backlog waits; then the
// largest message may follow, and must have room.
func TestEchoHasRoomForTheNextMessage(t *testing.T) {
	o := echo(server.Options{}, server.Compression{})
	if room := o.Backlog - o.Backlog/2; room < o.MaxMessage+ws.MaxHeaderSize {
		t.Errorf("%d bytes for a message of %d", room, o.MaxMessage)
	}
}

func TestBroadcast(t *testing.T) {
	addr, _ := started(t)
	var all []net.Conn
	for range 3 {
		all = append(all, mustDial(t, "ws://"+addr+"/broadcast"))
	}
	bystander := mustDial(t, "ws://"+addr+"/echo")
	for _, m := range []struct {
		op   ws.OpCode
		data string
	}{
		{ws.OpText, "stuff"}, {ws.OpBinary, "\x00\xff"}, {ws.OpText, ""}, {ws.OpBinary, strings.Repeat("0123456789abcdef", maxBroadcast/16)},
	} {
		say(t, all[len(m.data)%3], m.op, m.data)
		for i, c := range all {
			if data, op := hear(t, c); data != m.data || op != m.op {
				t.Errorf("sent %v of %d bytes, connection %d got %v of %d", m.op, len(m.data), i, op, len(data))
			}
		}
	}
	say(t, bystander, ws.OpText, "own")
	if data, _ := hear(t, bystander); data != "own" {
		t.Errorf("/echo got %q", data)
	}
	if s := statsOf(t, addr); s.Connections != 4 {
		t.Errorf("%d connections are counted, want 4", s.Connections)
	}
}

func TestBroadcastIsBounded(t *testing.T) {
	addr, _ := started(t)
	sender, other := mustDial(t, "ws://"+addr+"/broadcast"), mustDial(t, "ws://"+addr+"/broadcast")
	say(t, sender, ws.OpBinary, strings.Repeat("x", maxBroadcast+1))
	var closed wsutil.ClosedError
	if _, _, err := wsutil.ReadServerData(sender); !errors.As(err, &closed) || closed.Code != ws.StatusMessageTooBig {
		t.Errorf("got %v, want 1009", err)
	}
	say(t, other, ws.OpText, "still here")
	if data, _ := hear(t, other); data != "still here" {
		t.Errorf("the other one got %q", data)
	}
}

func TestOrigins(t *testing.T) {
	addr, _ := started(t, "--every", "1h", "--origins", "https://*.example.com:*")
	for origin, allowed := range map[string]bool{
		"":                              true, // not a browser
		"null":                          true,
		"http://" + addr:                true,
		"http://localhost":              true,
		"http://localhost:3000":         true,
		"https://app.localhost:8443":    true,
		"http://127.0.0.1:1":            true,
		"http://[::1]:5173":             true,
		"https://www.example.com":       true,
		"http://example.org":            false,
		"http://localhost.example.org":  false,
		"http://127.0.0.1.example.org":  false,
		"http://notlocalhost":           false,
		"https://example.com.evil.test": false,
	} {
		for _, path := range []string{"/ws", "/echo", "/broadcast"} {
			if _, err := dial(t, "ws://"+addr+path, origin); (err == nil) != allowed {
				t.Errorf("%s from %q: %v, want allowed %v", path, origin, err, allowed)
			}
		}
	}
}

// boundTo is a listener that has an address.
type boundTo struct {
	net.Listener
	addr net.Addr
}

func (b boundTo) Addr() net.Addr { return b.addr }

func TestLoopbackOriginsAreForLoopback(t *testing.T) {
	for addr, want := range map[string]int{"127.0.0.1": len(loopbackOrigins) + 1, "::1": len(loopbackOrigins) + 1, "0.0.0.0": 1, "192.0.2.1": 1} {
		one := boundTo{addr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		local := boundTo{addr: &net.TCPAddr{IP: net.ParseIP("127.0.0.1")}}
		for _, ls := range [][]net.Listener{{one}, {one, local}, {local, one}} {
			if got := allowedOrigins(ls, []string{"https://a.example"}); len(got) != want {
				t.Errorf("%s of %d: %q", addr, len(ls), got)
			}
		}
	}
	if got := allowedOrigins([]net.Listener{boundTo{addr: &net.UnixAddr{Name: "/run/x"}}}, nil); len(got) != 0 {
		t.Errorf("a unix socket, which is for a proxy: %q", got)
	}
}

func TestMaxConns(t *testing.T) {
	addr, _ := started(t, "--every", "1h", "--max-conns", "2")
	for range 2 {
		mustDial(t, "ws://"+addr+"/ws")
	}
	_, err := dial(t, "ws://"+addr+"/ws", "")
	var status ws.StatusError
	if !errors.As(err, &status) || int(status) != http.StatusServiceUnavailable {
		t.Errorf("the third got %v, want status 503", err)
	}
}

func TestPageOnTheSamePort(t *testing.T) {
	addr, _ := started(t)
	for path, want := range map[string]int{"/": 200, "/main.js": 200, "/nothing": 404} {
		r, err := http.Get(fmt.Sprintf("http://%s%s", addr, path))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want || r.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %v", path, r)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
