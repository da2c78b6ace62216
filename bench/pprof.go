package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// pprofTime bounds an answer of pprof, with a collection of garbage if one was asked for.
	pprofTime = 30 * time.Second
	// pprofSize bounds its length. The stacks that come before what is of interest are some hundred bytes
	// each, and the profiler keeps thousands of them at most in a server.
	pprofSize = 16 << 20
	// pprofLine bounds a line of it: the longest has 256 numbers of up to 20 digits.
	pprofLine = 64 << 10
)

// pprofClient asks a net/http/pprof server.
type pprofClient struct {
	url    string
	client http.Client
}

// newPprof answers nil for no URL. Of a URL, the path may be left out.
func newPprof(where string, gc bool) (*pprofClient, error) {
	if where == "" {
		return nil, nil
	}
	u, err := asideURL(where, "a pprof server")
	if err != nil {
		return nil, err
	}
	if u.Path = strings.TrimSuffix(u.Path, "/"); u.Path == "" {
		u.Path = "/debug/pprof"
	}
	u.Path = strings.TrimSuffix(u.Path, "/heap") + "/heap"
	u.RawQuery = "debug=1"
	if gc {
		u.RawQuery += "&gc=1"
	}
	return &pprofClient{u.String(), asideClient(pprofTime)}, nil
}

// asideURL is where a server tells of itself, beside what it is for: a URL, or a host and port.
func asideURL(where, what string) (*url.URL, error) {
	if !strings.Contains(where, "://") {
		where = "http://" + where
	}
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("bench: %q is no address of %s", where, what)
	}
	return u, nil
}

// asideClient asks there. No connection is kept: its goroutine and buffers would be in what is measured.
func asideClient(timeout time.Duration) http.Client {
	return http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: timeout}
}

// memory is the runtime's account of now.
func (p *pprofClient) memory(ctx context.Context) (*RuntimeMemory, error) {
	m, err := p.ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("bench: the server's memory by pprof: %w", err)
	}
	return m, nil
}

func (p *pprofClient) ask(ctx context.Context) (*RuntimeMemory, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP %s", p.url, answer.Status)
	}
	return parseMemStats(answer.Body)
}

var errNoMemStats = errors.New("no heap profile with runtime.MemStats at its end")

// parseMemStats reads what a heap profile in its text form says at its end, behind the stacks. It is a
// comment line for each field, "# Name = value"; where there are two values, what is in use comes first
// and what is taken from the system second. It stops at the first line that is longer than any can be, and
// misses none of the fields.
func parseMemStats(profile io.Reader) (*RuntimeMemory, error) {
	var m RuntimeMemory
	fields := map[string][]*int64{
		"Sys": {&m.Sys}, "HeapAlloc": {&m.HeapAlloc}, "HeapSys": {&m.HeapSys}, "HeapIdle": {&m.HeapIdle},
		"HeapInuse": {&m.HeapInuse}, "HeapReleased": {&m.HeapReleased}, "Stack": {&m.StackInuse, &m.StackSys},
		"MSpan": {nil, &m.MSpanSys}, "MCache": {nil, &m.MCacheSys}, "BuckHashSys": {&m.BuckHashSys},
		"GCSys": {&m.GCSys}, "OtherSys": {&m.OtherSys},
	}
	lines := bufio.NewScanner(io.LimitReader(profile, pprofSize))
	lines.Buffer(nil, pprofLine)
	begun := false
	for lines.Scan() {
		if begun = begun || lines.Text() == "# runtime.MemStats"; !begun {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "# "), " = ")
		into := fields[name]
		if !ok || into == nil {
			continue
		}
		if err := parseValues(value, into); err != nil {
			return nil, fmt.Errorf("%s of a heap profile: %w", name, err)
		}
		delete(fields, name)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("heap profile: %w", err)
	}
	if len(fields) > 0 {
		return nil, errNoMemStats
	}
	return &m, nil
}

// parseValues reads as many numbers as there are places; into a nil one it reads nothing.
func parseValues(text string, into []*int64) error {
	parts := strings.Split(text, " / ")
	if len(parts) != len(into) {
		return fmt.Errorf("%q are not %d numbers", text, len(into))
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 63)
		if err != nil {
			return err
		}
		if into[i] != nil {
			*into[i] = int64(n)
		}
	}
	return nil
}
