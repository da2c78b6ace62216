package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestPeersAreDescribed: results name the version and the settings of each server.
func TestPeersAreDescribed(t *testing.T) {
	t.Parallel()
	list, err := exec.Command(os.Args[0], "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range measured {
		i := slices.IndexFunc(bytes.Split(list, []byte("\n")), func(line []byte) bool {
			return bytes.HasPrefix(line, []byte(p.name+" ")) && bytes.Contains(line, []byte(p.about))
		})
		if i < 0 {
			t.Errorf("%s is not in the list:\n%s", p.name, list)
		}
		for _, module := range p.modules {
			if v := moduleVersion(module); v == "" || !strings.Contains(p.version(), v) {
				t.Errorf("%s: version %q of %s is not in %q", p.name, v, module, p.version())
			}
		}
		words := []string{"compression off", "goroutine", "broadcast", "tick"}
		switch {
		case p.noEcho:
			words = []string{"only ticks"}
		case len(p.modules) == 0:
			t.Errorf("%s has no library", p.name)
		}
		for _, word := range words {
			if !strings.Contains(p.about, word) {
				t.Errorf("%s: the settings don't speak of %q", p.name, word)
			}
		}
	}
}

func TestUnknownPeerIsRefused(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(os.Args[0], "serve", "nobody").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte(`no peer is called "nobody"`)) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestProfilesAreServedIfAskedFor(t *testing.T) {
	t.Parallel()
	with := serve(t, "gws")
	if heap := with.get("/debug/pprof/heap?debug=1"); !bytes.HasPrefix(heap, []byte("heap profile:")) {
		t.Errorf("the heap profile is %.100q", heap)
	}
	if n := with.listeners(); n != 2 {
		t.Errorf("with profiles it listens %d times", n)
	}
	if r := connect(t, with.addr).ask("/debug/pprof/"); r.StatusCode == 200 {
		t.Error("profiles are served to the peer's own clients")
	}
	without := serveWithoutProfiles(t, "gws")
	if n := without.listeners(); n != 1 {
		t.Errorf("without profiles it listens %d times", n)
	}
}

// listeners are the sockets of the peer that listen.
func (s *served) listeners() (n int) {
	s.t.Helper()
	inodes := map[string]bool{} // of all listening sockets
	for _, file := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", s.Process.Pid, file))
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); f[3] == "0A" {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd/", s.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(dir + e.Name()); err == nil && inodes[target] {
			n++
		}
	}
	return n
}
