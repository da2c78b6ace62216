package soak

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// asServer makes the test binary the server of a run. Its value says which way it goes wrong.
const asServer = "STILLPOOL_TEST_SOAK_SERVER"

// TestMain fails when the tests leave goroutines behind.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asServer {
		if err := serve(os.Stdin, os.Stdout, faults[os.Args[2]].ways); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 {
		code = checkLeaks(goroutines)
	}
	os.Exit(code)
}

// checkLeaks gives what is just ending a moment to do so.
func checkLeaks(goroutines int) int {
	for deadline := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
	}
	return 0
}
