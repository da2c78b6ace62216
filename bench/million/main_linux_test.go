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

// What the test binary is instead, if the environment has one of these: a child of a run, or a process
// that is killed, be it a whole run or not.
const (
	asChild  = "STILLPOOL_TEST_MILLION_CHILD"
	asParent = "STILLPOOL_TEST_MILLION_PARENT"
	asBinder = "STILLPOOL_TEST_MILLION_BINDER" // a process with a child that heeds nobody
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
	case os.Getenv(asBinder) != "":
		bindToBeKilled()
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
		if err == nil && strings.Contains("\x00"+string(environ), "\x00"+asChild+"="+mark+"\x00") {
			pids = append(pids, e.Name())
		}
	}
	return pids
}
