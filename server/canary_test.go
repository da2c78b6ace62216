package server

import (
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// BenchmarkCanary tells what the loops' raw system calls do to the rest of the process: how long a
// garbage collection takes, which has to stop every goroutine, and how late the runtime's timers
// are. "ticking" is a loop that writes all the time, "quiet" the same process without it.
func BenchmarkCanary(b *testing.B) {
	for _, load := range []struct {
		name  string
		conns int
	}{{"quiet", 0}, {"ticking", 1000}} {
		b.Run(load.name, func(b *testing.B) {
			canaryLoad(b, load.conns)
			var gc, late []time.Duration
			for b.Loop() {
				start := time.Now()
				runtime.GC()
				gc = append(gc, time.Since(start))
				start = time.Now()
				time.Sleep(time.Millisecond)
				late = append(late, time.Since(start)-time.Millisecond)
			}
			for name, d := range map[string][]time.Duration{"gc": gc, "timer-late": late} {
				slices.Sort(d)
				b.ReportMetric(d[len(d)/2].Seconds()*1000, name+"-p50-ms")
				b.ReportMetric(d[len(d)*99/100].Seconds()*1000, name+"-p99-ms")
				b.ReportMetric(d[len(d)-1].Seconds()*1000, name+"-max-ms")
			}
		})
	}
}

// canaryLoad ticks so many connections a hundred times a second each. Nobody reads: the kernel takes
// what the benchmark's time sends.
func canaryLoad(b *testing.B, conns int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	tick := PrepareText("Woohoo!")
	srv := new(Server)
	srv.Handle("/ws", Options{Every: 10 * time.Millisecond, OnTick: func(c *Conn) { c.Send(tick) }})
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	for range conns {
		conn, _, _, err := ws.Dial(b.Context(), "ws://"+l.Addr().String()+"/ws")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
	}
}
