package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const pollInterval = 20 * time.Millisecond

// running is a "stillpool serve" of the test's own.
type running struct {
	*exec.Cmd
	t    *testing.T
	addr string // host and port

	mu  sync.Mutex
	log bytes.Buffer
}

// serve starts the command, and waits until it says where it is.
func serve(t *testing.T, addr string) *running {
	t.Helper()
	s := &running{Cmd: exec.Command(command, "serve", "--addr", addr), t: t}
	s.Stderr = s
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { s.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		s.Process.Kill()
		s.Wait()
	})
	line, _ := bufio.NewReader(out).ReadString('\n')
	_, rest, ok := strings.Cut(line, "http://")
	if !ok {
		t.Fatalf("no address in %q\n%s", line, s.journal())
	}
	s.addr, _, _ = strings.Cut(rest, "/")
	return s
}

// stop ends the command in order.
func (s *running) stop() {
	s.t.Helper()
	s.Process.Signal(syscall.SIGTERM)
	if err := s.Wait(); err != nil {
		s.t.Fatalf("%v\n%s", err, s.journal())
	}
}

// Write takes what the command logs.
func (s *running) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *running) journal() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// stuff is how much stuff the server has counted.
func (s *running) stuff() int {
	s.t.Helper()
	r, err := http.Get("http://" + s.addr + "/stats")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	var counts struct{ Stuff int }
	if err := json.NewDecoder(r.Body).Decode(&counts); err != nil {
		s.t.Fatal(err)
	}
	return counts.Stuff
}
