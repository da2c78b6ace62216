//go:build linux

package netpoll

import (
	"testing"

	"golang.org/x/sys/unix"
)

// eachBackend runs f on both, with a poller, an event's worth of room, and a pair of unix sockets.
func eachBackend(b *testing.B, f func(b *testing.B, p Poller, a, peer *sock)) {
	for _, backend := range []Backend{Epoll, EasyGo} {
		b.Run(string(backend), func(b *testing.B) {
			p := open(b, backend)
			a, peer := unixPair(b)
			must(b, p.Add(a.fd, 1, Read))
			b.ReportAllocs()
			f(b, p, a, peer)
		})
	}
}

func perSecond(b *testing.B, n int, what string) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), what+"/s")
}

// BenchmarkEvent sends, waits and reads on one goroutine: the cost of an event that is there when
// it is looked for.
func BenchmarkEvent(b *testing.B) {
	eachBackend(b, func(b *testing.B, p Poller, a, peer *sock) {
		message, buf, events := make([]byte, 64), make([]byte, 128), make([]Event, 64)
		for b.Loop() {
			if _, err := Send(peer.fd, message); err != nil {
				b.Fatal(err)
			}
			if n, err := p.Wait(events, -1); n != 1 || err != nil {
				b.Fatal(n, err)
			}
			if n, err := Recv(a.fd, buf); n != len(message) || err != nil {
				b.Fatal(n, err)
			}
		}
		perSecond(b, b.N, "events")
	})
}

// BenchmarkBatch is the same with 64 streams ready at a time.
func BenchmarkBatch(b *testing.B) {
	const streams = 64
	eachBackend(b, func(b *testing.B, p Poller, _, _ *sock) {
		var ends, peers [streams]*sock
		for i := range streams {
			ends[i], peers[i] = unixPair(b)
			must(b, p.Add(ends[i].fd, Token(i), Read))
		}
		message, buf, events := make([]byte, 64), make([]byte, 128), make([]Event, streams)
		for b.Loop() {
			for _, peer := range peers {
				if _, err := Send(peer.fd, message); err != nil {
					b.Fatal(err)
				}
			}
			for left := streams; left > 0; {
				n, err := p.Wait(events, -1)
				if err != nil {
					b.Fatal(err)
				}
				for _, ev := range events[:n] {
					if _, err := Recv(ends[ev.Token].fd, buf); err != nil {
						b.Fatal(err)
					}
				}
				left -= n
			}
		}
		perSecond(b, b.N*streams, "events")
	})
}

// BenchmarkPingPong has the answer come from a goroutine that waits on a poller of its own: the
// latency of an event that is waited for.
func BenchmarkPingPong(b *testing.B) {
	eachBackend(b, func(b *testing.B, p Poller, a, peer *sock) {
		backend := Epoll
		if _, ok := p.(*easyGoPoller); ok {
			backend = EasyGo
		}
		q := open(b, backend)
		must(b, q.Add(peer.fd, 1, Read))
		echoes := parked(b, func() { echo(q, peer.fd) })
		message, buf, events := make([]byte, 64), make([]byte, 128), make([]Event, 64)
		for b.Loop() {
			if _, err := Send(a.fd, message); err != nil {
				b.Fatal(err)
			}
			for got := 0; got == 0; {
				if _, err := p.Wait(events, -1); err != nil {
					b.Fatal(err)
				}
				got, _ = Recv(a.fd, buf)
			}
		}
		perSecond(b, b.N, "round-trips")
		must(b, q.Close())
		finishes(b, echoes, "the echo")
	})
}

// echo sends back what comes until p is closed.
func echo(p Poller, fd int) {
	buf, events := make([]byte, 128), make([]Event, 64)
	for {
		if _, err := p.Wait(events, -1); err != nil {
			return
		}
		if n, err := Recv(fd, buf); err == nil {
			Send(fd, buf[:n])
		}
	}
}

// BenchmarkWake is the time from a Wake until a waiter that was parked has answered.
func BenchmarkWake(b *testing.B) {
	eachBackend(b, func(b *testing.B, p Poller, _, _ *sock) {
		woken := make(chan struct{})
		waiter := parked(b, func() {
			for events := make([]Event, 64); ; {
				if _, err := p.Wait(events, -1); err != nil {
					return
				}
				woken <- struct{}{}
			}
		})
		for b.Loop() {
			p.Wake()
			<-woken
		}
		must(b, p.Close())
		for done := false; !done; {
			select {
			case <-woken: // by a Wake that counted for the next Wait
			case <-waiter:
				done = true
			}
		}
	})
}

// BenchmarkAdd registers and removes one descriptor.
func BenchmarkAdd(b *testing.B) {
	eachBackend(b, func(b *testing.B, p Poller, _, peer *sock) {
		for b.Loop() {
			if err := p.Add(peer.fd, 2, Read); err != nil {
				b.Fatal(err)
			}
			if err := p.Remove(peer.fd); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFloor is BenchmarkEvent on bare system calls, which no poller can be below.
func BenchmarkFloor(b *testing.B) {
	a, peer := unixPair(b)
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(b, err)
	own(b, fd)
	must(b, unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, a.fd, &unix.EpollEvent{Events: epollBits(Read)}))
	message, buf, events := make([]byte, 64), make([]byte, 128), make([]unix.EpollEvent, 64)
	for b.Loop() {
		Send(peer.fd, message)
		if n, err := unix.EpollWait(fd, events, 0); n != 1 || err != nil {
			b.Fatal(n, err)
		}
		Recv(a.fd, buf)
	}
	perSecond(b, b.N, "events")
}
