//go:build linux

package netpoll

import (
	"fmt"
	"net"
	"os"
	"runtime"
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

// resources are the goroutines, by the line that names them, and the descriptors, by what they are
// open on.
type resources map[string]string

func census() resources {
	all := resources{}
	for _, stack := range stacks() {
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

// stacks are those of all goroutines.
func stacks() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// leftBehind describes what is there now and was not before. Goroutines that are about to end get a
// while to do so.
func leftBehind(before resources) string {
	deadline := time.Now().Add(2 * time.Second)
	for range time.Tick(5 * time.Millisecond) {
		var left strings.Builder
		for name, stack := range census() {
			if _, ok := before[name]; !ok {
				fmt.Fprintf(&left, "%s\n%s\n", name, stack)
			}
		}
		if left.Len() == 0 || time.Now().After(deadline) {
			return left.String()
		}
	}
	panic("unreachable")
}
