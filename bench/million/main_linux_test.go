package million

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// asChild makes the test binary a child of a run, and asParent a whole run that is killed.
const (
	asChild  = "STILLPOOL_TEST_MILLION_CHILD"
	asParent = "STILLPOOL_TEST_MILLION_PARENT"
)

// TestMain fails when the tests leave goroutines behind, or a process that they started.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asChild) != "" && len(os.Args) == 2:
		if err := ServeChild(os.Args[1], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(asParent) != "":
		runToBeKilled()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt) // its goroutine stays for ever from now on
	signal.Stop(signals)
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 {
		code = checkLeaks(goroutines)
	}
	os.Exit(code)
}

// checkLeaks gives what is just ending a moment to do so.
func checkLeaks(goroutines int) int {
	deadline := time.Now().Add(3 * time.Second)
	for runtime.NumGoroutine() > goroutines || len(marked(fmt.Sprint(os.Getpid()))) > 0 {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "leak: processes %v\n", marked(fmt.Sprint(os.Getpid())))
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0
}

// marked are the processes whose environment has asChild with a value that begins with mark, zombies
// left out: their environment is empty.
func marked(mark string) (pids []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && strings.Contains("\x00"+string(environ), "\x00"+asChild+"="+mark) {
			pids = append(pids, e.Name())
		}
	}
	return pids
}
