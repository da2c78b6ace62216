//go:build linux

package server

import (
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run when it leaves goroutines or descriptors behind.
func TestMain(m *testing.M) {
	openRuntimePoller()
	before := census()
	code := m.Run()
	if left := leftBehind(before); code == 0 && left != "" {
		fmt.Fprint(os.Stderr, "FAIL: the tests left behind:\n", left)
		code = 1
	}
	os.Exit(code)
}

// openRuntimePoller makes Go open the descriptors of its own poller, so that they count as there
// from the beginning.
func openRuntimePoller() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	l.Close()
}

// census is the goroutines, by number, and the descriptors, by what they are open on, each with
// what is to be said of it.
func census() map[string]string {
	all := map[string]string{}
	for _, stack := range allStacks() {
		if !strings.Contains(stack, "os/signal.loop") { // package testing starts it when it fuzzes
			name, _, _ := strings.Cut(stack, " [")
			all[name] = stack
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		// The descriptor that read the directory is closed by now, and has no link any more.
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all["descriptor "+e.Name()+" on "+link] = ""
		}
	}
	return all
}

func allStacks() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// leftBehind describes what is there now and was not before. What is about to end gets a while to
// do so: it is looked for again, not waited for.
func leftBehind(before map[string]string) string {
	deadline := time.Now().Add(3 * time.Second)
	for range time.Tick(5 * time.Millisecond) {
		now := census()
		maps.DeleteFunc(now, func(name, _ string) bool { _, ok := before[name]; return ok })
		if len(now) == 0 || time.Now().After(deadline) {
			return describe(now)
		}
	}
	panic("unreachable")
}

func describe(left map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(&b, "%s\n%s\n", name, left[name])
	}
	return b.String()
}
