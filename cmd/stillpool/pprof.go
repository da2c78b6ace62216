package main

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// servePprof serves live profiles at addr and answers how to end that, in order; the empty address is
// none.
func servePprof(addr string, logger *slog.Logger) (stop func(), err error) {
	return serveAside("--pprof", addr, pprofMux(), logger, asideWords{
		serving: "Serving profiles", path: "/debug/pprof/",
		warning: "Other machines may reach the profiles: they tell much, and taking one slows this process down",
	})
}

// pprofMux has the paths that "go tool pprof" knows. Importing the package puts them into
// http.DefaultServeMux too, which nothing here serves.
func pprofMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/{$}", http.RedirectHandler("/debug/pprof/", http.StatusFound))
	return mux
}
