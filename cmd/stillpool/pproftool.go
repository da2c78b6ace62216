package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// This file asks "go tool pprof" for what it can show. It is part of Go, and so it knows this
// program's profiles; who has only the binary takes the profile to where Go is.

const (
	// pprofToolTime bounds what the tool does; when it runs for the first time it is built.
	pprofToolTime = time.Minute
	// maxPage bounds a flame graph, of which real ones have some hundred kilobytes.
	maxPage = 64 << 20
)

// look lists the top of a profile and draws its graphs beside it, as far as tools for that are there.
func look(ctx context.Context, mode, file string, nodes int, out io.Writer) error {
	if mode == "trace" {
		fmt.Fprintf(out, "Look at it with: go tool trace %s\n", file)
		return nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		fmt.Fprintf(out, "Look at it where Go is installed: go tool pprof -http localhost:0 %s\n", file)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pprofToolTime)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	fmt.Fprintln(out)
	if err := pprofTool(ctx, out, "-top", "-nodecount="+strconv.Itoa(nodes), self, file); err != nil {
		return err
	}
	flame := filepath.Join(dir, "flame.html")
	if err := drawFlames(ctx, self, file, flame); err != nil {
		return fmt.Errorf("flame graph: %w", err)
	}
	fmt.Fprintf(out, "\nFlame graph, for a browser: %s\n", flame)
	if _, err := exec.LookPath("dot"); err != nil {
		fmt.Fprintln(out, "Call graph: none, for want of Graphviz's dot (Debian: apt install graphviz)")
	} else {
		graph := filepath.Join(dir, "graph.svg")
		if err := pprofTool(ctx, io.Discard, "-svg", "-output="+graph, self, file); err != nil {
			return fmt.Errorf("call graph: %w", err)
		}
		fmt.Fprintf(out, "Call graph: %s\n", graph)
	}
	fmt.Fprintf(out, "More: go tool pprof -http localhost:0 %s %s\n", self, file)
	return nil
}

// pprofTool runs the tool to its end.
func pprofTool(ctx context.Context, out io.Writer, args ...string) error {
	var said clip
	cmd := command(ctx, "go", append([]string{"tool", "pprof"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go tool pprof: %w\n%s", err, said.String())
	}
	return nil
}

// drawFlames saves the page that the tool shows in a browser, which stands on its own. The tool draws
// it only there, and that takes no Graphviz.
func drawFlames(ctx context.Context, binary, file, page string) (err error) {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- pprofTool(ctx, io.Discard, "-no_browser", "-http="+addr, binary, file)
		stop()
	}()
	body, err := fetch(ctx, "http://"+addr+"/ui/flamegraph")
	stop()
	if ended := <-served; body == nil {
		return errors.Join(err, ended)
	}
	return os.WriteFile(page, body, 0o666)
}

// freeAddr asks the kernel for a port, because the tool takes 0 for one and does not tell which. Nothing
// keeps it until the tool listens, but the kernel does not give it to the next who asks, either.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// fetch gets a page from a server that is just being started.
func fetch(ctx context.Context, url string) ([]byte, error) {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			defer http.DefaultClient.CloseIdleConnections()
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return nil, errors.New(answer.Status)
			}
			return io.ReadAll(io.LimitReader(answer.Body, maxPage))
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
