package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Without a host nobody else may look; with one, the log says who may.
func TestPprofListensOnLoopback(t *testing.T) {
	for _, c := range []struct {
		addr             string
		loopback, warned bool
	}{
		{":0", true, false}, {"0", true, false}, {"127.0.0.1:0", true, false}, {"0.0.0.0:0", false, true},
	} {
		log := new(journal)
		stop, err := servePprof(c.addr, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		host, _, err := net.SplitHostPort(pprofURL(log)[len("http://"):])
		if err != nil || net.ParseIP(host).IsLoopback() != c.loopback {
			t.Errorf("%s: at %s, %v", c.addr, host, err)
		}
		if strings.Contains(log.String(), "level=WARN") != c.warned {
			t.Errorf("%s: logged\n%s", c.addr, log)
		}
		stop()
	}
}

// pprofURL is where the profiles are, as it was logged; empty until then.
func pprofURL(log *journal) string {
	if found := regexp.MustCompile(`(http://\S+)/debug/pprof/`).FindStringSubmatch(log.String()); found != nil {
		return found[1]
	}
	return ""
}

// pprof waits until the log says so.
func (c *child) pprof(t *testing.T) (url string) {
	t.Helper()
	eventually(t, "the address of the profiles", func() bool { url = pprofURL(c.log); return url != "" })
	return url
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(data)
}

func TestPprofHasAnAddressOfItsOwn(t *testing.T) {
	p := startChild(t, "--pprof", "0")
	at := p.pprof(t)
	for _, c := range []struct {
		url    string
		status int
		want   string
	}{
		{at + "/debug/pprof/", http.StatusOK, "goroutine"},
		{at + "/", http.StatusOK, "goroutine"},
		{at + "/debug/pprof/heap?debug=1", http.StatusOK, "heap profile"},
		{at + "/debug/pprof/cmdline", http.StatusOK, "--pprof"},
		{at + "/ws", http.StatusNotFound, ""},
		{"http://" + p.url + "/debug/pprof/", http.StatusNotFound, ""},
		{"http://" + p.url + "/debug/pprof/heap", http.StatusNotFound, ""},
	} {
		if status, body := get(t, c.url); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: status %d, want %d and %q in\n%.200s", c.url, status, c.status, c.want, body)
		}
	}
	off := startChild(t)
	eventually(t, "the log", func() bool { return strings.Contains(off.log.String(), "msg=Serving ") })
	if pprofURL(off.log) != "" {
		t.Errorf("profiles are served without having been asked for:\n%s", off.log)
	}
}

// A profile that is being taken when the server ends is delivered, of the time until then.
func TestPprofEndsInOrder(t *testing.T) {
	p := startChild(t, "--pprof", "0")
	at := p.pprof(t)
	taken := make(chan error, 1)
	go func() { taken <- fetchProfile(at + "/debug/pprof/profile?seconds=600") }()
	eventually(t, "the profile to be taken", func() bool {
		_, goroutines := get(t, at+"/debug/pprof/goroutine?debug=2")
		return strings.Contains(goroutines, "pprof.Profile(")
	})
	p.Process.Signal(syscall.SIGTERM)
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if status := p.ends(t); status != exitOK {
		t.Errorf("status %d\n%s", status, p.log)
	}
}

func fetchProfile(url string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("status %d, %.100q: %w", r.StatusCode, data, err)
	}
	_, err = io.Copy(io.Discard, unzipped)
	return err
}
