// Command peers serves the demonstration application on other WebSocket libraries, each written
// the way its own users would, and compares them with Stillpool in one run.
//
// Every peer serves three paths on one address. /ws sends the text message Woohoo! once a second to
// each connection, the first a second after it opened, and ignores what it is sent; another period
// can be chosen. /echo sends every message back. /broadcast sends it to every connection of that
// path, the sender too. The two floors only tick.
//
// No peer compresses, not even when it is asked to.
package main

import (
	"expvar"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const woohoo = "Woohoo!"

// settings are what a peer is started with.
type settings struct {
	addr      string        // to listen on
	every     time.Duration // the period of the ticks
	ioTimeout time.Duration // of easygo's blocking reads and writes

	// counts tell how many connections are in each table that a peer keeps of them.
	counts *expvar.Map
}

// count publishes the length of a table.
func (s *settings) count(table string, length func() int) {
	s.counts.Set(table, expvar.Func(func() any { return length() }))
}

// peer is a server to compare with.
type peer struct {
	name    string
	modules []string              // whose versions are printed, the one that gave the name first; none for the floor
	about   string                // how it is built and with which settings
	serve   func(*settings) error // returns only with an error
	noEcho  bool                  // it only ticks
}

var peers = []peer{
	{
		name: "gorilla", modules: []string{"github.com/gorilla/websocket"}, serve: serveGorilla,
		about: "a reading goroutine, and for ticks and broadcasts a writing one, a connection; " +
			"a time.Ticker a connection; 4 KiB buffers each way, those of net/http; " +
			"broadcast: PreparedMessage, a queue of 256 a connection, closed when it is full; compression off",
	},
	{
		name: "gws", modules: []string{"github.com/lxzan/gws"}, serve: serveGWS,
		about: "a reading goroutine a connection, 4 KiB read buffer; one goroutine ticks all; " +
			"broadcast: Broadcaster, an unbounded queue a connection; compression off",
	},
	{
		name: "quickws", modules: []string{"github.com/antlabs/quickws"}, serve: serveQuickWS,
		about: "a reading goroutine a connection, read buffer of 1 KiB that grows to the message; one goroutine ticks all; " +
			"broadcast: the reading goroutine writes to all; compression off",
	},
	{
		name: "coder", modules: []string{"github.com/coder/websocket"}, serve: serveCoder,
		about: "a reading goroutine, and for ticks and broadcasts a writing one, a connection; " +
			"a time.Ticker a connection; 4 KiB buffers each way, those of net/http; messages up to 16 MiB; " +
			"broadcast: a queue of 256 a connection, closed when it is full; compression off",
	},
	{
		name: "nbio", modules: []string{"github.com/lesismal/nbio"}, serve: serveNbio,
		about: "non-blocking: a polling goroutine for four processors, handlers on a pool of 1024 a processor; " +
			"64 KiB read buffer a poller, frames of 32 KiB at the most; one goroutine ticks all; " +
			"broadcast: the handler writes to all; compression off",
	},
	{
		name: "gnet", modules: []string{"github.com/panjf2000/gnet/v2", "github.com/gobwas/ws"}, serve: serveGnet,
		about: "non-blocking: an event loop a processor, and one that accepts; level-triggered; " +
			"64 KiB read buffer a loop; messages up to 16 MiB; one goroutine ticks all by AsyncWrite; " +
			"broadcast: a compiled frame by AsyncWrite; compression off",
	},
	{
		name: "easygo", modules: []string{"github.com/gobwas/ws", "github.com/mailru/easygo"}, serve: serveEasyGo,
		about: "gobwas/ws on easygo/netpoll, one-shot events; a pool of 128 blocking readers; " +
			"deadline of 100 ms a read and a write; no buffer a connection; one goroutine ticks all; " +
			"broadcast: the reader writes a compiled frame to all; compression off",
	},
	{
		name: "floor", noEcho: true,
		serve: func(s *settings) error { return serveFloor(s, 1) },
		about: "no library: a bare write of the frame to each socket by one thread, in one burst a period; only ticks",
	},
	{
		name: "floor-spread", noEcho: true,
		serve: func(s *settings) error { return serveFloor(s, 50) },
		about: "the same, in fifty bursts spread over the period; only ticks",
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
	return !ok || misbehaving(j) == nil && (!p.noEcho || j.Tick != nil)
}

func noPeer(name string) error {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return fmt.Errorf("no peer is called %q (there are %s)", name, strings.Join(names, ", "))
}

// version is what this binary was linked with: of the library, and of those it is put together with.
func (p peer) version() string {
	var all []string
	for i, module := range p.modules {
		v := moduleVersion(module)
		if i > 0 {
			v = module[strings.LastIndexByte(module, '/')+1:] + " " + v
		}
		all = append(all, v)
	}
	return strings.Join(all, " + ")
}

// moduleVersion shortens the version of a commit without a tag to the commit.
func moduleVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path != path {
			continue
		}
		if date, commit, ok := strings.Cut(strings.TrimPrefix(dep.Version, "v0.0.0-"), "-"); ok && len(date) == 14 {
			return commit
		}
		return dep.Version
	}
	return ""
}

// serveHTTP is how the libraries that upgrade from net/http are started.
func serveHTTP(s *settings, tick, echo, broadcast http.HandlerFunc) error {
	return http.ListenAndServe(s.addr, newMux(tick, echo, broadcast))
}

func newMux(tick, echo, broadcast http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", tick)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/broadcast", broadcast)
	return mux
}
