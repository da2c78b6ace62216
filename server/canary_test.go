package server

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// BenchmarkCanary tells what the loops' raw system calls do to the rest of the process: how long a
// garbage collection takes, which has to stop every goroutine, and how late the runtime's timers
// are. "ticking" is a loop that writes all the time, "accepting" one to which connections come and go all
// the time, "quiet" the same process without either.
func BenchmarkCanary(b *testing.B) {
	for _, load := range []struct {
		name string
		on   func(*testing.B, net.Addr)
	}{{"quiet", nil}, {"ticking", tickCanary}, {"accepting", visitCanary}} {
		b.Run(load.name, func(b *testing.B) {
			addr := serveCanary(b)
			if load.on != nil {
				load.on(b, addr)
			}
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

// serveCanary ticks its connections a hundred times a second each.
func serveCanary(b *testing.B) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	tick := PrepareText("Woohoo!")
	srv := new(Server)
	srv.Handle("/ws", Options{Every: 10 * time.Millisecond, OnTick: func(c *Conn) { c.Send(tick) }})
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	return l.Addr()
}

// tickCanary has a thousand connections. Nobody reads: the kernel takes what the benchmark's time sends.
func tickCanary(b *testing.B, addr net.Addr) {
	for range 1000 {
		conn, _, _, err := ws.Dial(b.Context(), "ws://"+addr.String()+"/ws")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
	}
}

// visitCanary has twenty connections come each five milliseconds, and go when the next come.
// Resets leave no port behind that rests.
func visitCanary(b *testing.B, addr net.Addr) {
	to := addr.(*net.TCPAddr).AddrPort()
	ticker := time.NewTicker(5 * time.Millisecond)
	var visits sync.WaitGroup
	over := make(chan struct{})
	b.Cleanup(func() { close(over); visits.Wait() })
	visits.Go(func() {
		defer ticker.Stop()
		var here []int
		for {
			select {
			case <-over:
				resetAll(here)
				return
			case <-ticker.C:
			}
			resetAll(here)
			here = here[:0]
			for range 20 {
				fd, err := netpoll.Connect(to, netip.Addr{})
				if err != nil {
					b.Error(err)
					return
				}
				here = append(here, fd)
			}
		}
	})
}

func resetAll(fds []int) {
	for _, fd := range fds {
		netpoll.Reset(fd)
	}
}
