package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience bounds a whole test, and so everything that it waits for.
const patience = 40 * time.Second

// What all tests share: the command, built once, and one browser. Each test has a tab of its own.
var (
	command string
	browser context.Context
)

func TestMain(m *testing.M) {
	os.Exit(withBrowser(m))
}

func withBrowser(m *testing.M) int {
	chromium := findChromium()
	if chromium == "" {
		if os.Getenv("STILLPOOL_REQUIRE_ALL") == "1" {
			fmt.Println("FAIL: no chromium in PATH, and STILLPOOL_REQUIRE_ALL is 1")
			return 1
		}
		fmt.Println("The browser tests are left out: there is no chromium in PATH (STILLPOOL_REQUIRE_ALL=1 makes that a failure)")
		return m.Run() // each test leaves itself out, see newTab
	}
	dir, err := os.MkdirTemp("", "stillpool-browsertest")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	command = filepath.Join(dir, "stillpool")
	if err := build(command); err != nil {
		fmt.Println(err)
		return 1
	}
	ctx, end := launch(chromium, filepath.Join(dir, "profile"))
	defer end()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Printf("%s doesn't start: %v\n", chromium, err)
		return 1
	}
	browser = ctx
	return m.Run()
}

func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// build makes the command from the module above, whatever a go.work says.
func build(to string) error {
	cmd := exec.Command("go", "build", "-o", to, ".")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the command: %w\n%s", err, out)
	}
	return nil
}

// launch starts the browser with a fresh profile and without anything that it does on its own.
func launch(chromium, profile string) (context.Context, func()) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // it needs privileges that containers don't give
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		// No proxy of the machine's may stand between the browser and this machine.
		chromedp.Flag("no-proxy-server", true),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(allocator)
	return ctx, func() { endBrowser(); endAllocator() }
}
