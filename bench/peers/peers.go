// Command peers serves the demonstration application on other WebSocket libraries, each written
// the way its own users would, and compares them with Stillpool in one run.
//
// Every peer serves two paths on one address: /ws sends the text message Woohoo! once a second to
// each connection, the first a second after it opened, and /echo sends every message back. Another
// period can be chosen.
package main

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const woohoo = "Woohoo!"

// every is the period of the ticks. It is set before a peer is started.
var every = time.Second

// peer is a server to compare with.
type peer struct {
	name   string
	module string // whose version is printed; empty for the floor
	about  string
	serve  func(addr string) error // returns only with an error
	noEcho bool
}

var peers = []peer{
	{
		name: "gorilla", module: "github.com/gorilla/websocket", serve: serveGorilla,
		about: "a reading goroutine, a writing goroutine and a time.Ticker a connection",
	},
	{
		name: "gws", module: "github.com/lxzan/gws", serve: serveGWS,
		about: "a reading goroutine a connection, one goroutine that ticks them all",
	},
	{
		name: "quickws", module: "github.com/antlabs/quickws", serve: serveQuickWS,
		about: "a reading goroutine a connection, one goroutine that ticks them all",
	},
	{
		name: "nbio", module: "github.com/lesismal/nbio", serve: serveNbio,
		about: "event loops, non-blocking, one goroutine that ticks them all",
	},
	{
		name: "easygo", module: "github.com/gobwas/ws", serve: serveEasyGo,
		about: "gobwas/ws on easygo/netpoll with a bounded pool of blocking readers",
	},
	{
		name: "floor", noEcho: true,
		serve: func(addr string) error { return serveFloor(addr, 1) },
		about: "no library: a bare write of the frame to each socket, in one burst a period",
	},
	{
		name: "floor-spread", noEcho: true,
		serve: func(addr string) error { return serveFloor(addr, 50) },
		about: "the same, in fifty bursts spread over the period",
	},
}

func peerNamed(name string) (peer, bool) {
	for _, p := range peers {
		if p.name == name {
			return p, true
		}
	}
	return peer{}, false
}

// able tells whether a server has the endpoint of the job.
func able(name string, j bench.Job) bool {
	p, ok := peerNamed(name)
	return !ok || !p.noEcho || j.Tick != nil
}

func noPeer(name string) error {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return fmt.Errorf("no peer is called %q (there are %s)", name, strings.Join(names, ", "))
}

// version is what this binary was linked with.
func (p peer) version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || p.module == "" {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == p.module {
			return dep.Version
		}
	}
	return ""
}

// serveHTTP is how the libraries that upgrade from net/http are started.
func serveHTTP(addr string, ws, echo http.HandlerFunc) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", ws)
	mux.HandleFunc("/echo", echo)
	return http.ListenAndServe(addr, mux)
}
