package interop

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// leftOut says why a client or proxy does not take part.
var leftOut = map[string]error{}

// takesPart skips the test if the client or proxy is missing, or fails it if all are required.
func takesPart(t *testing.T, name string) {
	t.Helper()
	switch missing := leftOut[name]; {
	case missing != nil && os.Getenv("STILLPOOL_REQUIRE_ALL") == "1":
		t.Fatalf("%v, and STILLPOOL_REQUIRE_ALL is 1", missing)
	case missing != nil:
		t.Skipf("left out: %v", missing)
	}
}

func TestMain(m *testing.M) {
	os.Exit(withClients(m))
}

// withClients runs the tests with the clients that are not written in Go, as far as they are there.
func withClients(m *testing.M) int {
	chromium, err := findChromium()
	note("chromium", err)
	note("node", findNode())
	for _, proxy := range []string{"nginx", "haproxy", "caddy"} {
		note(proxy, inPath(proxy))
	}
	note("engine.io", findEngineIO())
	for _, name := range []string{"websockets", "aiohttp"} {
		note(name, findPython(name))
	}
	for name, command := range map[string][]string{
		"node":       {"node", "js/node.mjs"},
		"websockets": {python, "py/clients.py", "websockets"},
		"aiohttp":    {python, "py/clients.py", "aiohttp"},
	} {
		if leftOut[name] != nil {
			continue
		}
		n, err := startTalker(command...)
		if err != nil {
			fmt.Printf("%s does not start: %v\n", name, err)
			return 1
		}
		talkers[name] = n
		defer n.stop()
	}
	if leftOut["chromium"] == nil {
		profile, err := os.MkdirTemp("", "stillpool-interop")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(profile)
		var end func()
		if tab, end, err = openTab(chromium, profile); err != nil {
			fmt.Printf("%s does not start: %v\n", chromium, err)
			return 1
		}
		defer end()
	}
	return m.Run()
}

// inPath returns an error if a program is not installed.
func inPath(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("there is no %s in PATH (make proxies installs it)", program)
	}
	return nil
}

func note(client string, missing error) {
	if missing != nil {
		fmt.Printf("The tests with %s are left out: %v (STILLPOOL_REQUIRE_ALL=1 makes that a failure)\n", client, missing)
		leftOut[client] = missing
	}
}
