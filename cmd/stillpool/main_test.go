package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asCommand makes the test binary the command itself, so that tests can start it as a child.
const asCommand = "STILLPOOL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	for _, v := range os.Environ() { // the developer's own must not reach the tests
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "STILLPOOL_") {
			os.Unsetenv(name)
		}
	}
	status := m.Run()
	if left := leaks(); status == 0 && left != "" {
		fmt.Println("left behind by the tests:\n" + left)
		status = 1
	}
	os.Exit(status)
}

// leaks lists the goroutines and sockets that are still there a while after the tests.
func leaks() (left string) {
	for range 100 {
		if left = goroutines() + sockets(); left == "" {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

func goroutines() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var left []string
	for _, g := range strings.Split(string(stacks), "\n\n")[1:] { // the first is this one
		if !strings.Contains(g, "os/signal.") { // it stays for ever once it was started
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

func sockets() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var left []string
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "socket:") && inherited[to] == false {
			left = append(left, to)
		}
	}
	return strings.Join(left, "\n")
}

// inherited are the sockets that were open before the first test.
var inherited = func() map[string]bool {
	had := map[string]bool{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		had[to] = true
	}
	return had
}()

// ran runs a command line in this process, for those that end by themselves.
func ran(args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = run(args, streams{&o, &e})
	return status, o.String(), e.String()
}

func TestHelpTellsAStranger(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"WebSocket", "serve", "version"}},
		{[]string{"serve", "--help"}, []string{"--addr", "STILLPOOL_ADDR", "localhost:8080", "/echo", "Got stuff!",
			"1003", "1008", "stillpool serve --every 100ms", "STILLPOOL_LOG_FORMAT=json stillpool serve", "SIGTERM"}},
	} {
		status, out, errs := ran(c.args...)
		if status != exitOK || errs != "" {
			t.Errorf("%v: status %d, stderr %q", c.args, status, errs)
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%v: %q is missing in\n%s", c.args, w, out)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	status, out, _ := ran("version")
	if status != exitOK || !strings.HasPrefix(out, "stillpool ") || !strings.Contains(out, runtime.Version()) {
		t.Errorf("status %d, %q", status, out)
	}
}
