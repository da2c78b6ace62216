//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
)

// socketDir is a short path, as unix sockets need.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stillpool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// startAs starts the command as a child by way of a shell, which sets up what the child inherits, and returns
// the lines by which it reports its addresses.
func startAs(t *testing.T, script string, files []*os.File, addresses int, args ...string) (*child, []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command("sh", append([]string{"-c", script + `; exec "$0" "$@"`, self, "serve"}, args...)...), log: new(journal)}
	c.ExtraFiles = files
	out := c.launch(t)
	lines := bufio.NewScanner(out)
	var at []string
	for len(at) < addresses && lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), " is at ")
		where, _, _ := strings.Cut(rest, " (")
		at = append(at, where)
	}
	if len(at) < addresses {
		t.Fatalf("addresses %q, want %d\n%s", at, addresses, c.log)
	}
	return c, at
}

// dialAt upgrades /ws at what the command reports as its address.
func dialAt(t *testing.T, at, path string, header http.Header) (net.Conn, error) {
	t.Helper()
	d := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}
	url := strings.Replace(at, "http://", "ws://", 1)
	if socket, ok := strings.CutPrefix(at, "unix:"); ok {
		d.NetDial = unixDial(socket)
		url = "ws://app.example/"
	}
	conn, _, _, err := d.Dial(t.Context(), url+path)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// TestUnixSocket: a stale socket is replaced, one in use is not, permissions are as asked for, and at the end
// the socket is gone.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	p, at := startAs(t, "umask 077", nil, 1, "--addr", "unix:"+path, "--socket-mode", "0666", "--trusted-proxies", "unix", "--max-conns-per-address", "1", "--every", "10ms")
	if at[0] != "unix:"+path {
		t.Errorf("it is at %q", at[0])
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
	conn, err := dialAt(t, at[0], "ws", nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	hear(t, conn)
	// The proxy is believed: one connection for each client, and the host that it was asked for.
	client := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"public.example"}, "Origin": {"https://public.example"}}
	behind, err := dialAt(t, at[0], "ws", client)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	if _, err := dialAt(t, at[0], "ws", client); !errors.Is(err, ws.StatusError(http.StatusTooManyRequests)) {
		t.Errorf("the second of a client: %v", err)
	}
	status, _, errs := ran("serve", "--addr", "unix:"+path)
	if status != exitFailed || !strings.Contains(errs, path) || !strings.Contains(errs, "in use") {
		t.Errorf("a second process: status %d, %q", status, errs)
	}
	behind.Close()
	p.Process.Signal(syscall.SIGTERM)
	code, _ := closeFrame(t, conn)
	if code != 1001 {
		t.Errorf("the client was told %d", code)
	}
	ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
	if status := p.ends(t); status != exitOK {
		t.Errorf("status %d\n%s", status, p.log)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket at the end: %v", err)
	}
}

// TestInherited: the listeners of a service manager take the place of --addr, all of them, and a unix socket
// of its own stays.
func TestInherited(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	unix.(*net.UnixListener).SetUnlinkOnClose(false)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	files := []*os.File{fileOf(t, tcp), fileOf(t, unix), fileOf(t, other)}
	p, at := startAs(t, "export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a:b:c", files, 3, "--every", "10ms", "--addr", "127.0.0.1:1")
	want := []string{"http://" + tcp.Addr().String() + "/", "unix:" + path, "http://" + other.Addr().String() + "/"}
	if fmt.Sprint(at) != fmt.Sprint(want) {
		t.Fatalf("it is at %q, want %q", at, want)
	}
	for _, where := range at {
		conn, err := dialAt(t, where, "ws", nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", where, err, p.log)
		}
		hear(t, conn)
		conn.Close()
	}
	p.Process.Signal(syscall.SIGTERM)
	if status := p.ends(t); status != exitOK {
		t.Errorf("status %d\n%s", status, p.log)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the manager's socket: %v", err)
	}
}

func fileOf(t *testing.T, l net.Listener) *os.File {
	t.Helper()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestInheritedWrong: what is meant for another process is left alone; what is no listener is an error; and the
// variables don't reach the process's children.
func TestInheritedWrong(t *testing.T) {
	pipe, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer end.Close()
	if _, at := startAs(t, "export LISTEN_PID=1 LISTEN_FDS=1", []*os.File{pipe}, 1, "--addr", "127.0.0.1:0"); !strings.HasPrefix(at[0], "http://127.0.0.1:") {
		t.Errorf("another process's: it is at %q", at)
	}
	for _, c := range []struct{ variables, want string }{
		{"LISTEN_PID=$$ LISTEN_FDS=1", "descriptor 3"},
		{"LISTEN_PID=$$ LISTEN_FDS=many", "many"},
		{"LISTEN_PID=$$ LISTEN_FDS=-1", "-1"},
		{"LISTEN_PID=$$ LISTEN_FDS=70000", "70000"},
	} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", "export "+c.variables+`; exec "$0" serve --addr 127.0.0.1:0`, self)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		cmd.ExtraFiles = []*os.File{pipe}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "LISTEN_FDS") || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s", c.variables, err, out)
		}
	}
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("LISTEN_FDS", "0")
	t.Setenv("LISTEN_FDNAMES", "x")
	if ls, err := inheritedListeners(); len(ls) > 0 || err != nil {
		t.Errorf("none: %v, %v", ls, err)
	}
	if left := os.Getenv("LISTEN_PID") + os.Getenv("LISTEN_FDS") + os.Getenv("LISTEN_FDNAMES"); left != "" {
		t.Errorf("left in the environment: %q", left)
	}
}

// TestFewDescriptors: of 200 descriptors at least 150 are connections that are served, and the others are told.
func TestFewDescriptors(t *testing.T) {
	p, at := startAs(t, "ulimit -n 200", nil, 1, "--addr", "127.0.0.1:0", "--every", "1h")
	served := 0
	var err error
	for err == nil && served < 200 {
		if _, err = dialAt(t, at[0], "echo", nil); err == nil {
			served++
		}
	}
	if served < 150 || !errors.Is(err, ws.StatusError(http.StatusServiceUnavailable)) {
		t.Errorf("%d are served, and then %v\n%s", served, err, p.log)
	}
	if answer, err := http.Get(at[0]); err == nil {
		answer.Body.Close()
	}
	for range 100 { // far beyond, all are told
		if _, err := dialAt(t, at[0], "echo", nil); !errors.Is(err, ws.StatusError(http.StatusServiceUnavailable)) {
			t.Fatalf("one too many: %v\n%s", err, p.log)
		}
	}
}

func unixDial(path string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}
