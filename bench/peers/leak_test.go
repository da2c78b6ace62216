package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// runWithoutLeaks fails when the tests leave goroutines or descriptors behind.
func runWithoutLeaks(m *testing.M) int {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close() // the runtime's own poller has its descriptors from now on
	}
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(os.Getpid())
	if code := m.Run(); code != 0 {
		return code
	}
	return checkLeaks(goroutines, descriptors)
}

// checkLeaks gives what is just ending a moment to do so.
func checkLeaks(goroutines, descriptors int) int {
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		if runtime.NumGoroutine() <= goroutines && countDescriptors(os.Getpid()) <= descriptors {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "leak: %d goroutines before and %d after, %d descriptors before and %d after\n",
		goroutines, runtime.NumGoroutine(), descriptors, countDescriptors(os.Getpid()))
	pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	return 1
}

func countDescriptors(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}
