package browsertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The oldest published client answers every message with a JSON string that holds a JavaScript
// literal. It must stay connected, from any page of this machine.
func TestOldestClient(t *testing.T) {
	for name, address := range map[string]func(*testing.T, string) string{
		"served from another port": served,
		"opened from a file":       filed,
	} {
		t.Run(name, func(t *testing.T) {
			p := newTab(t)
			s := serve(t, "127.0.0.1:0")
			p.do(chromedp.Navigate(address(t, oldestFor(t, s))))
			p.until(`[...document.querySelectorAll("#logs li")].filter(l => l.textContent === "Woohoo!").length >= 4`)
			if got := evaluate[string](p, `document.querySelector("#logs li").textContent`); got != "open" {
				t.Errorf("first came %q", got)
			}
			if got := evaluate[string](p, `document.getElementById("logs").textContent`); strings.Contains(got, "close") {
				t.Errorf("it was closed: %s", got)
			}
			// The answer to the last of the four may still be under way.
			if n := s.stuff(); n < 3 || !strings.Contains(s.journal(), "Got stuff!") {
				t.Errorf("the server counted %d, and logged\n%s", n, s.journal())
			}
			if n := p.webSockets(); n != 1 {
				t.Errorf("%d WebSockets were opened", n)
			}
		})
	}
}

// oldestFor is the client's page, with the address of s where its own was.
func oldestFor(t *testing.T, s *running) string {
	html, err := os.ReadFile("testdata/oldest.html")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(html), "ADDRESS", s.addr, 1)
}

func served(t *testing.T, html string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, html)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func filed(t *testing.T, html string) string {
	file := filepath.Join(t.TempDir(), "oldest.html")
	if err := os.WriteFile(file, []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}
