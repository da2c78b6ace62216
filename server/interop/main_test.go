package interop

import (
	"fmt"
	"os"
	"testing"
)

// leftOut says why a client does not take part.
var leftOut = map[string]error{}

func TestMain(m *testing.M) {
	os.Exit(withClients(m))
}

// withClients runs the tests with the clients that are not written in Go, as far as they are there.
func withClients(m *testing.M) int {
	chromium, err := findChromium()
	note("chromium", err)
	note("node", findNode())
	if len(leftOut) > 0 && os.Getenv("STILLPOOL_REQUIRE_ALL") == "1" {
		fmt.Println("FAIL: STILLPOOL_REQUIRE_ALL is 1")
		return 1
	}
	if leftOut["node"] == nil {
		if node, err = startNode(); err != nil {
			fmt.Println("node does not start:", err)
			return 1
		}
		defer node.stop()
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

func note(client string, missing error) {
	if missing != nil {
		fmt.Printf("The tests with %s are left out: %v (STILLPOOL_REQUIRE_ALL=1 makes that a failure)\n", client, missing)
		leftOut[client] = missing
	}
}
