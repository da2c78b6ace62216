package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:embed page/*.html page/*.css page/*.js page/*.svg
var pageFiles embed.FS

// contentSecurityPolicy lets the page have what this server serves, and nothing else. That 'self'
// covers the page's own WebSocket is CSP level 3, and what all present browsers do.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are fixed here, because package mime asks the machine, and machines differ.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// counts is what the page shows of the server, and the body of /stats.
type counts struct {
	EveryMS     int64 `json:"every_ms"` // between two ticks of a connection
	Connections int64 `json:"connections"`
	Stuff       int64 `json:"stuff"`
	Ticks       int64 `json:"ticks"`
	Skipped     int64 `json:"skipped"` // ticks
}

// newPage serves the page at /, the files it is made of, and what count answers at /stats.
func newPage(count func() counts) http.Handler {
	mux := http.NewServeMux()
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		panic(err) // the binary was built without its page
	}
	for _, e := range entries {
		mux.Handle("GET /"+e.Name(), newFile(e.Name()))
	}
	mux.Handle("GET /{$}", newFile("index.html"))
	mux.Handle("GET /favicon.ico", newFile("icon.svg")) // for those who ask without having read the page
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(count())
	})
	return guarded(mux)
}

// newFile serves one of the page's files. A browser may keep it, but asks whether it is still the
// same: the binary may have been replaced since.
func newFile(name string) http.Handler {
	body, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		panic(err) // the binary was built without its page
	}
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}

// guarded sets what every answer says to browsers.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
