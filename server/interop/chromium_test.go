package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// tab is a tab of the browser, on a page that talks, or nil.
var tab context.Context

// findChromium is where the browser is, or says that it is missing.
func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no chromium in PATH")
}

// openTab starts the browser with a fresh profile and without anything that it does on its own.
func openTab(chromium, profile string) (context.Context, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // it needs privileges that containers don't give
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		// No proxy of the machine's may stand between the browser and this machine.
		chromedp.Flag("no-proxy-server", true),
	)
	pages := httptest.NewServer(http.FileServer(http.Dir("js")))
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(allocator)
	end := func() { endBrowser(); endAllocator(); pages.Close() }
	err := chromedp.Do(ctx, chromedp.Navigate(pages.URL))
	if err == nil {
		_, err = chromedp.Run(ctx, chromedp.Poll[bool]("Boolean(window.converse)"))
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return ctx, end, nil
}

func talkChromium(t *testing.T, c conversation) report {
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	told, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := chromedp.Run(ctx, chromedp.Evaluate[report]("converse("+string(told)+")", chromedp.EvalAwaitPromise))
	if err != nil {
		return report{Error: err.Error()}
	}
	return r
}
