package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	page := newPage(func() counts { return counts{1000, 2, 3, 4, 5} })
	for _, c := range []struct {
		method, path string
		status       int
		contentType  string
		body         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", `id="logs"`},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"GET", "/?every=1", 200, "text/html; charset=utf-8", `id="search"`},
		{"GET", "/main.js", 200, "text/javascript; charset=utf-8", "link.open()"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"GET", "/icon.svg", 200, "image/svg+xml", "<svg"},
		{"GET", "/favicon.ico", 200, "image/svg+xml", "<svg"},
		{"GET", "/stats", 200, "application/json", `{"every_ms":1000,"connections":2,"stuff":3,"ticks":4,"skipped":5}`},
		{"GET", "/nothing", 404, "text/plain; charset=utf-8", "404"},
		{"GET", "/index.html/..%2f", 404, "text/plain; charset=utf-8", "404"},
		{"GET", "/screenshot.png", 404, "text/plain; charset=utf-8", "404"},
		{"POST", "/", 405, "text/plain; charset=utf-8", "Not Allowed"},
		{"POST", "/stats", 405, "text/plain; charset=utf-8", "Not Allowed"},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || w.Header().Get("Content-Type") != c.contentType {
				t.Errorf("got %d %s", w.Code, w.Header().Get("Content-Type"))
			}
			if c.method == "HEAD" && w.Body.Len() != 0 || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("body %q", w.Body)
			}
			for header, want := range map[string]string{
				"Content-Security-Policy":      "default-src 'none'",
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if !strings.HasPrefix(w.Header().Get(header), want) {
					t.Errorf("%s is %q", header, w.Header().Get(header))
				}
			}
		})
	}
}

// A browser that has the page asks whether it is still the same, and is spared the bytes.
func TestPageIsRevalidated(t *testing.T) {
	page := newPage(func() counts { return counts{} })
	first := httptest.NewRecorder()
	page.ServeHTTP(first, httptest.NewRequest("GET", "/main.js", nil))
	again := httptest.NewRequest("GET", "/main.js", nil)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	second := httptest.NewRecorder()
	page.ServeHTTP(second, again)
	if second.Code != http.StatusNotModified || first.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("got %d after ETag %q", second.Code, first.Header().Get("ETag"))
	}
}

// The policy forbids inline scripts and styles, so the page must have none; and whatever the page
// refers to must be served here.
func TestPageKeepsItsPolicy(t *testing.T) {
	html, err := pageFiles.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{`<style`, ` style=`, ` on[a-z]+=`, `<script[^>]*>[^<]`, `https?://`} {
		if found := regexp.MustCompile(no).Find(html); found != nil {
			t.Errorf("the page has %q", found)
		}
	}
	page := newPage(func() counts { return counts{} })
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"]+)"`).FindAllSubmatch(html, -1) {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", "/"+string(m[1]), nil))
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", m[1], w.Code)
		}
	}
}
