package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server"
)

func TestURL(t *testing.T) {
	for addr, want := range map[string]string{
		"localhost:0":  "http://localhost:4711/",
		":0":           "http://localhost:4711/",
		"0.0.0.0:0":    "http://localhost:4711/",
		"[::]:0":       "http://localhost:4711/",
		"127.0.0.1:0":  "http://127.0.0.1:4711/",
		"[::1]:0":      "http://[::1]:4711/",
		"example:http": "http://example:4711/",
	} {
		s := serveCmd{Addr: addr}
		if got := s.url(&net.TCPAddr{Port: 4711}); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// fakeService shuts down after a while, and serves until then.
type fakeService struct {
	takes  time.Duration
	fails  error
	over   chan struct{}
	closed bool
}

func (f *fakeService) Serve(net.Listener) error {
	if f.fails != nil {
		return f.fails
	}
	<-f.over
	return errors.New("closed")
}

func (f *fakeService) Shutdown(ctx context.Context) error {
	select {
	case <-time.After(f.takes):
		close(f.over)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeService) Close() error {
	f.closed = true
	close(f.over)
	return nil
}

func TestSuperviseInVirtualTime(t *testing.T) {
	failure := errors.New("no more")
	for _, c := range []struct {
		name    string
		service fakeService
		second  time.Duration // after which a second signal comes; 0 is never
		takes   time.Duration
		closed  bool
		err     string // none: in order
	}{
		{"in order", fakeService{takes: 3 * time.Second}, 0, 3 * time.Second, false, ""},
		{"second signal", fakeService{takes: time.Hour}, time.Second, time.Second, true, "second signal"},
		{"too long", fakeService{takes: time.Hour}, 0, drainTime, true, "in order"},
		{"failure", fakeService{fails: failure}, 0, 0, true, "no more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.service.over = make(chan struct{})
				signals := make(chan os.Signal, 2)
				if c.service.fails == nil {
					signals <- syscall.SIGINT
				}
				if c.second > 0 {
					time.AfterFunc(c.second, func() { signals <- syscall.SIGINT })
				}
				start := time.Now()
				err := supervise(&c.service, make([]net.Listener, 1), drainTime, signals, slog.New(slog.DiscardHandler))
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				if took := time.Since(start); took != c.takes || c.service.closed != c.closed {
					t.Errorf("took %v, closed %v", took, c.service.closed)
				}
			})
		})
	}
}

// child is the command in a process of its own.
type child struct {
	*exec.Cmd
	url string
	log *journal
}

// launch starts the process as this command, for the time of the test, and returns its output.
func (c *child) launch(t *testing.T) io.Reader {
	t.Helper()
	c.Env = append(os.Environ(), asCommand+"=1")
	c.Stderr = c.log
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return out
}

func startChild(t *testing.T, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(self, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...), log: new(journal)}
	out := c.launch(t)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no address: %v\n%s", err, c.log)
	}
	_, rest, _ := strings.Cut(line, "http://")
	c.url, _, _ = strings.Cut(rest, "/")
	return c
}

// ends waits for the end of the process, and answers its status.
func (c *child) ends(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode()
}

func TestSignalsEndInOrderWithTheProfileWhole(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		mode   string
	}{
		{syscall.SIGTERM, "cpu"}, {syscall.SIGINT, "heap"}, {syscall.SIGTERM, "trace"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "new")
			p := startChild(t, "--profile", c.mode, "--profile-dir", dir, "--every", "10ms")
			conn := mustDial(t, "ws://"+p.url+"/ws")
			hear(t, conn)
			p.Process.Signal(c.signal)
			code, _ := closeFrame(t, conn)
			if code != 1001 {
				t.Errorf("the client was told %d", code)
			}
			ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
			if status := p.ends(t); status != exitOK {
				t.Errorf("status %d\n%s", status, p.log)
			}
			checkProfile(t, filepath.Join(dir, profileModes[c.mode].file))
		})
	}
}

func TestSecondSignalEndsAtOnceWithTheProfileWhole(t *testing.T) {
	dir := t.TempDir()
	p := startChild(t, "--profile", "cpu", "--profile-dir", dir)
	conn := mustDial(t, "ws://"+p.url+"/ws")
	p.Process.Signal(syscall.SIGTERM)
	closeFrame(t, conn) // and doesn't answer it
	p.Process.Signal(syscall.SIGTERM)
	start := time.Now()
	if status := p.ends(t); status != exitFailed || !strings.Contains(p.log.String(), "second signal") {
		t.Errorf("status %d\n%s", status, p.log)
	}
	if took := time.Since(start); took > 4*time.Second { // an unanswered close frame takes 5 s
		t.Errorf("took %v", took)
	}
	checkProfile(t, filepath.Join(dir, "cpu.pprof"))
}

// While it waits for balancers to notice, it lets everybody in; a second signal ends that, too.
func TestDrainDelay(t *testing.T) {
	p := startChild(t, "--drain-delay", "24h", "--every", "10ms", "--admin", "0")
	ready := adminURL(t, p.log) + "/readyz"
	awaitStatus := func(want int) {
		t.Helper()
		for start := time.Now(); ; {
			if status, _ := get(t, ready); status == want {
				return
			}
			if time.Since(start) > patience {
				t.Fatalf("/readyz does not become %d", want)
			}
		}
	}
	awaitStatus(http.StatusOK) // a signal before it listens ends it at once
	p.Process.Signal(syscall.SIGTERM)
	awaitStatus(http.StatusServiceUnavailable)
	conn := mustDial(t, "ws://"+p.url+"/ws")
	hear(t, conn)
	p.Process.Signal(syscall.SIGTERM)
	if code, _ := closeFrame(t, conn); code != 1001 {
		t.Errorf("the client was told %d", code)
	}
	if status := p.ends(t); status != exitFailed || !strings.Contains(p.log.String(), "second signal") {
		t.Errorf("status %d\n%s", status, p.log)
	}
}

// The flags of all endpoints arrive, and 0 is no keepalive.
func TestOptions(t *testing.T) {
	origins := []string{"null"}
	for text, keepalive := range map[string]time.Duration{"0": -1, "3s": 3 * time.Second} {
		s := parsed(t, "--keepalive="+text, "--pong-timeout=4s", "--write-timeout=5s")
		want := server.Options{Keepalive: keepalive, PongTimeout: 4 * time.Second, WriteTimeout: 5 * time.Second, Origins: origins}
		if got := s.options(origins); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v", got)
		}
	}
}

// While it drains, it serves who is there and tells others when to come; a second signal tells who is
// left at once.
func TestDrainThatASecondSignalEnds(t *testing.T) {
	p := startChild(t, "--drain-time", "24h", "--drain-code", "1012", "--every", "10ms")
	conn := mustDial(t, "ws://"+p.url+"/ws")
	hear(t, conn)
	p.Process.Signal(syscall.SIGTERM)
	var refused ws.StatusError
	var after string
	dialer := ws.Dialer{OnStatusError: func(_ int, _ []byte, answer io.Reader) {
		if r, err := http.ReadResponse(bufio.NewReader(answer), nil); err == nil {
			after = r.Header.Get("Retry-After")
		}
	}}
	for start := time.Now(); ; {
		late, _, _, err := dialer.Dial(t.Context(), "ws://"+p.url+"/ws")
		if errors.As(err, &refused) {
			break
		}
		if err != nil || time.Since(start) > patience {
			t.Fatalf("a handshake: %v", err)
		}
		late.Close()
	}
	if seconds, err := strconv.Atoi(after); refused != http.StatusServiceUnavailable || err != nil || seconds < 23*3600 {
		t.Errorf("told %d with Retry-After %q", refused, after)
	}
	hear(t, conn)
	p.Process.Signal(syscall.SIGTERM)
	if code, _ := closeFrame(t, conn); code != 1012 {
		t.Errorf("the client was told %d", code)
	}
	if status := p.ends(t); status != exitFailed || !strings.Contains(p.log.String(), "second signal") {
		t.Errorf("status %d\n%s", status, p.log)
	}
}

// closeFrame reads up to the close frame.
func closeFrame(t *testing.T, conn net.Conn) (ws.StatusCode, string) {
	t.Helper()
	for {
		h, err := ws.ReadHeader(conn)
		if err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		if h.OpCode == ws.OpClose {
			return ws.ParseCloseFrameData(payload)
		}
	}
}

// checkProfile reads a profile to its end: one that was cut short doesn't have its checksum.
func checkProfile(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".pprof") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n == 0 {
		t.Errorf("%s: %d bytes, %v", file, n, err)
	}
}

// Every mode makes the file that the table promises.
func TestProfileModes(t *testing.T) {
	for mode, m := range profileModes {
		dir := t.TempDir()
		stop, file, err := startProfile(mode, dir)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if file != filepath.Join(dir, m.file) {
			t.Errorf("%s: %s", mode, file)
		}
		checkProfile(t, file)
	}
}
