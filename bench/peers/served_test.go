package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what should come at once.
const patience = time.Minute

// testPeriod is that of the ticks.
const testPeriod = 50 * time.Millisecond

// served is a peer in a process of its own, as it is measured.
type served struct {
	*exec.Cmd
	t     *testing.T
	addr  string
	debug string // address of the profiles
	log   string // file
	sizes []int  // of the messages that it can have
}

// serve starts a peer. It is ended with the test, which fails if the peer ended before, or if the race
// detector found something in it. Of easygo's deadline, which depends on the time, tests are rid.
func serve(t *testing.T, name string, flags ...string) *served {
	t.Helper()
	debug := free(t)
	s := serveWithoutProfiles(t, name, append(flags, "--pprof", debug)...)
	s.debug = debug
	return s
}

func serveWithoutProfiles(t *testing.T, name string, flags ...string) *served {
	t.Helper()
	addr := free(t)
	s := start(t, append([]string{
		"serve", name, "--addr", addr, "--every", testPeriod.String(), "--io-timeout", patience.String(),
	}, flags...)...)
	s.addr, s.sizes = addr, sizesOf(name)
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = awaitServer(t.Context(), addr); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func free(t *testing.T) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start runs this binary as the command peers, which TestMain has told the environment to do.
func start(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{t: t, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.Cmd = child(context.Background(), append([]string{os.Args[0]}, args...))
	s.Stdout, s.Stderr = log, log
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func (s *served) end() {
	_ = s.Process.Signal(syscall.SIGTERM) // fails if it has ended
	kill := time.AfterFunc(patience, func() { _ = s.Process.Kill() })
	defer kill.Stop()
	_ = s.Wait() // how it ended is in its state
	log, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Error(err)
	}
	status := s.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGTERM {
		s.t.Errorf("the peer ended by itself (%v):\n%.10000s", s.ProcessState, log)
	}
	for _, race := range races(string(log)) {
		s.t.Errorf("the peer has a race:%s", race)
	}
}

// races are the reports of the race detector in a log, but for one that is none: nbio's goroutine
// that accepts hands a connection to the one that polls by way of epoll, which the detector does not
// know to come before the other.
func races(log string) (all []string) {
	for _, report := range strings.Split(log, "WARNING: DATA RACE")[1:] {
		report, _, _ = strings.Cut(report, "\n==================")
		if !strings.Contains(report, "nbhttp.(*Engine).listen") {
			all = append(all, report)
		}
	}
	return all
}

// get fetches a page from the address of the profiles.
func (s *served) get(path string) []byte {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := c.Get("http://" + s.debug + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", path, r.Status, err)
	}
	return body
}

// tables are the lengths of the peer's own tables, by name.
func (s *served) tables() (all map[string]int) {
	s.t.Helper()
	if err := json.Unmarshal(s.get("/debug/tables"), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

var goroutineTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)

func (s *served) goroutines() int {
	s.t.Helper()
	m := goroutineTotal.FindSubmatch(s.get("/debug/pprof/goroutine?debug=1"))
	if m == nil {
		s.t.Fatal("no goroutine profile")
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

func (s *served) descriptors() int { return countDescriptors(s.Process.Pid) }

// await polls until what says that it is so; what else it says is for the failure.
func await(t *testing.T, what func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, said := what()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(said)
		}
		time.Sleep(testPeriod / 5)
	}
}
