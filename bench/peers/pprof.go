package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
)

// servePprof listens on a second address and serves profiles there, on a mux that the peer does not
// share.
func servePprof(addr string, tables fmt.Stringer) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/tables", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, tables)
	})
	go func() { _ = http.Serve(ln, mux) }()
	return nil
}
