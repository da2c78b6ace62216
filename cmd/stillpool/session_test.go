package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// session runs "stillpool bench profile" with args behind its folder, and answers the folder too.
func session(t *testing.T, args string) (status int, out, errs, dir string) {
	t.Setenv(asCommand, "1") // for server and client
	dir = filepath.Join(t.TempDir(), "new")
	status, out, errs = ran(append([]string{"bench", "profile", "--out", dir}, strings.Fields(args)...)...)
	return status, out, errs, dir
}

const briefEcho = "echo --conns 20 --duration 200ms --settle 0s --warmup 0s --quiet"

func TestProfileSession(t *testing.T) {
	status, out, errs, dir := session(t, "--mode allocs -- "+briefEcho)
	if status != exitOK {
		t.Fatalf("status %d\n%s", status, errs)
	}
	file := filepath.Join(dir, "mem.pprof")
	checkProfile(t, file)
	for _, want := range []string{"latency", "Profile: " + file, covers["allocs"], "flat%", "Flame graph"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "flame.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stackViewer(", "</html>", "server.(*Server)"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is missing in the flame graph", want)
		}
	}
	for _, elsewhere := range []string{`src="`, `<link rel="stylesheet"`} { // it stands on its own
		if strings.Contains(string(page), elsewhere) {
			t.Errorf("the flame graph wants %s", elsewhere)
		}
	}
}

func TestProfileSessionTellsShares(t *testing.T) {
	status, out, errs, dir := session(t, "--mode cpu "+briefEcho)
	if status != exitOK || !strings.Contains(out, "while 20 connections were opened") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	checkProfile(t, filepath.Join(dir, "cpu.pprof"))
}

// What fails says so; the server has ended in order, which its whole profile shows.
func TestProfileSessionFails(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"unknown scenario", "--mode heap tock", "tock"},
		{"wrong flag", "--mode heap tick --cons 3", "--cons"},
		{"scenario fails", "--mode heap echo --conns 3 --size=-1", "the scenario failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, errs, dir := session(t, c.args)
			if status != exitFailed || !strings.Contains(errs, c.want) || !strings.Contains(errs, "the scenario failed") || strings.Contains(out, "flat%") {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
			checkProfile(t, filepath.Join(dir, "mem.pprof"))
		})
	}
	status, _, errs, _ := session(t, "--serve=--loops=x tick")
	if status != exitFailed || !strings.Contains(errs, "did not start") || !strings.Contains(errs, "--loops") {
		t.Errorf("status %d\n%s", status, errs)
	}
}

func TestProfileSessionInterrupted(t *testing.T) {
	t.Setenv(asCommand, "1")
	dir := t.TempDir()
	done := make(chan int, 1)
	var out journal
	go func() {
		args := strings.Fields("bench profile --mode heap --out " + dir + " tick --conns 5 --duration 10m --settle 0s --quiet")
		done <- run(args, streams{&out, &out})
	}()
	eventually(t, "the server to run", func() bool {
		_, err := os.Stat(filepath.Join(dir, "mem.pprof")) // the server tries the file before it serves
		return err == nil
	})
	syscall.Kill(os.Getpid(), syscall.SIGINT)
	select {
	case status := <-done:
		if status != exitFailed || !strings.Contains(out.String(), "stillpool: interrupted\n") {
			t.Errorf("status %d\n%s", status, out.String())
		}
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
	checkProfile(t, filepath.Join(dir, "mem.pprof"))
}

func TestEveryProfileSaysWhatItCovers(t *testing.T) {
	for mode := range profileModes {
		if covers[mode] == "" {
			t.Errorf("%s does not", mode)
		}
	}
}
