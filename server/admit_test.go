//go:build linux

package server

import (
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// len is how many addresses have connections.
func (a *addresses) len() (n int) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		n += len(s.counts)
		s.mu.Unlock()
	}
	return n
}

// TestAddressLimit: one too many from an address is told 429, others are let in, and a place that is
// free again is given.
func TestAddressLimit(t *testing.T) {
	retry := map[string]string{"Retry-After": "1"}
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConnsPerAddress = 2
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		one := open(t, addr, "/ws")
		open(t, addr, "/ws")
		for range 3 {
			three := dial(t, addr)
			three.send(upgradeTo("/ws"))
			three.wantRefusal(errAddressFull, retry)
		}
		other := dialFrom(t, addr, "127.0.0.2")
		other.send(upgradeTo("/ws"))
		other.upgraded()
		if n := s.addresses.len(); n != 2 {
			t.Errorf("%d addresses are counted, of two", n)
		}
		one.send(closeFrame(1000, ""))
		one.wantClose(1000, "")
		one.wantEnd()
		must(t, one.conn.Close())
		await(t, "one has left", func() bool { return s.inUse() == 2 })
		open(t, addr, "/ws")
		wantReasons(t, s, map[RefusalReason]uint64{RefusedAddress: 3})
	})
}

// TestAddressPrefix: a network may count for one address.
func TestAddressPrefix(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConnsPerAddress, s.IPv4Prefix = 1, 8
		s.Handle("/ws", Options{})
		addr := serve(t, s)
		open(t, addr, "/ws")
		neighbour := dialFrom(t, addr, "127.200.0.1")
		neighbour.send(upgradeTo("/ws"))
		neighbour.wantRefusal(errAddressFull, nil)
	})
}

// TestAddressUnix: peers of a unix socket have no address, and no limit by it.
func TestAddressUnix(t *testing.T) {
	t.Parallel()
	s := &Server{MaxConnsPerAddress: 1}
	s.Handle("/ws", Options{OnMessage: lifeEcho})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	must(t, err)
	lifeServeOn(t, s, l)
	for range 3 {
		lifeDial(t, l.Addr().String(), "/ws").echo("hello")
	}
}

// TestAddressDoors: a connection counts for its address by each of the doors, once and until it is
// gone, also while net/http has it.
func TestAddressDoors(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConnsPerAddress, s.Handler = 2, lifePlain
		ep := s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		mounted := lifeListen(t)
		lifeHTTPServer(t, ep, mounted)
		plain := dialBoth(t, addr, true)
		upgraded := open(t, mounted.Addr().String(), "/ws")
		full := func() {
			t.Helper()
			p := dial(t, addr)
			p.wantRefusal(errAddressFull, nil)
			must(t, p.conn.Close())
			m := dial(t, mounted.Addr().String())
			m.send(upgradeTo("/ws"))
			m.refusal(http.MethodGet, errAddressFull, nil)
			must(t, m.conn.Close())
		}
		full()
		plain.send(upgradeTo("/ws"), frame(ws.OpText, "later"))
		plain.upgraded()
		plain.want(ws.OpText, "later")
		full()
		must(t, upgraded.conn.Close())
		await(t, "one has left", func() bool { return s.inUse() == 1 })
		plainToo := dialBoth(t, addr, true)
		full()
		must(t, plainToo.conn.Close())
		await(t, "one has left", func() bool { return s.inUse() == 1 })
		open(t, addr, "/ws")
	})
}

// TestAddressFlood: one address that comes again and again takes no place of the others', nor a token
// of theirs.
func TestAddressFlood(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConns, s.MaxConnsPerAddress, s.HandshakeRate, s.HandshakeBurst = 4, 2, 1, 5
		s.Handle("/ws", Options{OnMessage: echo})
		addr := serve(t, s)
		greedy := []*peer{open(t, addr, "/ws"), open(t, addr, "/ws")}
		var told []*peer
		for range s.toldMost() + 20 {
			told = append(told, dial(t, addr)) // and they don't leave
		}
		for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
			p := dialFrom(t, addr, from)
			p.send(upgradeTo("/ws"), frame(ws.OpText, "hello"))
			p.upgraded()
			p.want(ws.OpText, "hello")
		}
		for _, p := range told {
			p.wantRefusal(errAddressFull, nil)
		}
		for _, p := range greedy {
			p.send(frame(ws.OpText, "still"))
			p.want(ws.OpText, "still")
		}
	})
}

// TestHandshakeLimit: halves of handshakes are bounded in number. One that becomes whole, is refused or
// goes makes room, and so does one that net/http gets; one that is being authorized does not.
func TestHandshakeLimit(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxHandshakes, s.Handler = 2, lifePlain
		s.Handle("/ws", Options{})
		verdict := make(chan error, 1)
		s.Handle("/asked", Options{Authorize: func(*http.Request) (Grant, error) { return Grant{}, <-verdict }})
		addr := serve(t, s)
		half := func(nth int) *peer {
			t.Helper()
			await(t, "those before it are done", func() bool { return s.Stats().Handshaking == nth-1 })
			p := dial(t, addr)
			p.send(upgradeTo("/ws")[:20])
			await(t, "it is counted", func() bool { return s.Stats().Handshaking == nth })
			return p
		}
		full := func() {
			t.Helper()
			p := dial(t, addr)
			p.send(upgradeTo("/ws"))
			p.wantRefusal(errManyHandshakes, map[string]string{"Retry-After": "1"})
		}
		one, _ := half(1), half(2)
		full()
		one.send(upgradeTo("/ws")[20:])
		one.upgraded()
		gone := half(2)
		full()
		must(t, gone.conn.Close())
		await(t, "it has gone", func() bool { return s.Stats().Handshaking == 1 })
		wrong := half(2)
		full()
		wrong.send([]byte("\n"))
		wrong.wantRefusal(errBareLF, nil)
		dialBoth(t, addr, true)
		dialBoth(t, addr, true)
		asked := dial(t, addr)
		asked.send(upgradeTo("/asked"))
		await(t, "it is counted", func() bool { return s.Stats().Handshaking == 2 })
		full()
		verdict <- nil
		asked.upgraded()
		half(2)
		wantReasons(t, s, map[RefusalReason]uint64{RefusedHandshakes: 4, RefusedBadRequest: 1})
		if n := s.Stats().Handshaking; n != 2 {
			t.Errorf("%d handshakes", n)
		}
	})
}

// TestHandshakeRate: past the burst, handshakes are told to come again, by each of the doors; and after
// a while they may.
func TestHandshakeRate(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const burst, clients = 3, 60
		s.HandshakeRate, s.HandshakeBurst = 2, burst
		ep := s.Handle("/ws", Options{})
		addr := serve(t, s)
		mounted := lifeListen(t)
		lifeHTTPServer(t, ep, mounted)
		start := time.Now()
		comes := func(addr string) (in bool) {
			p := dial(t, addr)
			defer p.conn.Close()
			p.send(upgradeTo("/ws"))
			if b, err := p.in.Peek(12); err == nil && string(b) == "HTTP/1.1 101" {
				return true
			}
			p.refusal(http.MethodGet, errTooFast, map[string]string{"Retry-After": "1"})
			return false
		}
		in := 0
		for i := range clients {
			if comes([]string{addr, mounted.Addr().String()}[i%2]) {
				in++
			}
		}
		if most := burst + 2*time.Since(start)/time.Second + 2; in < burst || in > int(most) {
			t.Errorf("%d are let in, of a burst of %d", in, burst)
		}
		wantReasons(t, s, map[RefusalReason]uint64{RefusedRate: uint64(clients - in)})
		await(t, "another one may come", func() bool { return comes(addr) })
	})
}

// TestToldCountsForNothing: who is there only to be told of one limit takes nothing of the others.
func TestToldCountsForNothing(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConnsPerAddress, s.HandshakeRate, s.HandshakeBurst = 2, 1, 1
		s.Handle("/", Options{})
		addr := serve(t, s)
		open(t, addr, "/")
		s.pace.full.Store(int64(time.Hour)) // so that nobody else may come
		for range 3 {                       // each stays to read what it is told
			p := dial(t, addr)
			if _, err := p.in.Peek(1); err != nil {
				t.Fatal(err)
			}
		}
		wantReasons(t, s, map[RefusalReason]uint64{RefusedRate: 3})
	})
}

// TestBucket: in no time more is taken than the burst and what came back meanwhile; whoever waits long
// enough has a token, and who waits very long has a burst.
func TestBucket(t *testing.T) {
	t.Parallel()
	var b bucket
	for range 1000 {
		if !b.take(0) {
			t.Fatal("a bucket without a rate is empty")
		}
	}
	b.set(4, 3)
	const each = time.Second / 4
	for i, c := range []struct {
		at   time.Duration
		want int
	}{
		{0, 3}, {each - 1, 0}, {each, 1}, {each, 0}, {3*each - 1, 1}, {3 * each, 1}, {time.Hour, 3},
		{time.Hour + each/2, 0}, {time.Hour + 3*each/2, 1}, {time.Hour + 2*each, 1}, {2 * time.Hour, 3},
	} {
		n := 0
		for b.take(c.at) {
			n++
		}
		if n != c.want {
			t.Errorf("%d: %d tokens at %v, want %d", i, n, c.at, c.want)
		}
	}
	b.set(1_000_000, 50)
	var taken sync.WaitGroup
	var counts [4]int
	for i := range counts {
		taken.Go(func() {
			for range 100 {
				if b.take(3 * time.Hour) {
					counts[i]++
				}
			}
		})
	}
	taken.Wait()
	if n := counts[0] + counts[1] + counts[2] + counts[3]; n != 50 {
		t.Errorf("%d tokens are taken at once of a burst of 50", n)
	}
}

func TestAddressKeys(t *testing.T) {
	t.Parallel()
	var a addresses
	for _, c := range []struct {
		bits4, bits6 int
		one, other   string
		same         bool
	}{
		{32, 64, "192.0.2.1", "192.0.2.1", true},
		{32, 64, "192.0.2.1", "192.0.2.2", false},
		{24, 64, "192.0.2.1", "192.0.2.255", true},
		{24, 64, "192.0.2.1", "192.0.3.1", false},
		{31, 64, "192.0.2.1", "192.0.2.0", true},
		{31, 64, "192.0.2.1", "192.0.2.2", false},
		{1, 1, "127.0.0.1", "128.0.0.1", false},
		{1, 1, "128.0.0.1", "255.0.0.1", true},
		{32, 64, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{32, 64, "2001:db8::1", "2001:db8:0:1::1", false},
		{32, 65, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", false},
		{32, 128, "2001:db8::1", "2001:db8::2", false},
		{32, 1, "::1", "7fff::1", true},
		{1, 1, "::1", "127.0.0.1", false}, // IPv4 is not a network of IPv6's
	} {
		a.set(1, c.bits4, c.bits6)
		one, other := netip.MustParseAddr(c.one).As16(), netip.MustParseAddr(c.other).As16()
		if same := a.key(one) == a.key(other); same != c.same {
			t.Errorf("%s and %s, of %d and %d bits: the same %v", c.one, c.other, c.bits4, c.bits6, same)
		}
	}
}

// TestAddressesForget: the memory for addresses is that of those which have connections.
func TestAddressesForget(t *testing.T) {
	t.Parallel()
	var a addresses
	a.set(2, 32, 64)
	const many = 100_000
	ip := func(i int) addressKey {
		return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).As16()
	}
	room := func() (n int) {
		for i := range a.shards {
			n += a.shards[i].peak
		}
		return n
	}
	for range 2 {
		for i := range many {
			for n, want := range []bool{true, true, false} {
				if a.enter(ip(i)) != want {
					t.Fatalf("%d may have %d connections: %v", i, n+1, !want)
				}
			}
		}
		if a.len() != many || room() != many {
			t.Errorf("%d addresses, room for %d", a.len(), room())
		}
		var gone sync.WaitGroup
		for from := range 4 {
			gone.Go(func() {
				for i := from; i < many; i += 4 {
					a.leave(ip(i))
					a.leave(ip(i))
				}
			})
		}
		gone.Wait()
		if a.len() != 0 || room() > addressShards*smallShard {
			t.Errorf("nobody is there: %d addresses, room for %d", a.len(), room())
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an address can be left twice")
		}
	}()
	a.leave(ip(0))
}

// TestAdmissionLimits: what can't be held is found before the server serves.
func TestAdmissionLimits(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]*Server{
		"MaxConnsPerAddress": {MaxConnsPerAddress: -1}, "IPv4Prefix": {IPv4Prefix: -1}, "IPv6Prefix": {IPv6Prefix: -1},
		"MaxHandshakes": {MaxHandshakes: -1}, "HandshakeRate": {HandshakeRate: -1}, "HandshakeBurst": {HandshakeBurst: -1},
		"a long IPv4Prefix": {IPv4Prefix: 33}, "a long IPv6Prefix": {IPv6Prefix: 129},
		"a high HandshakeRate": {HandshakeRate: maxRate + 1}, "a long HandshakeBurst": {HandshakeBurst: maxBurst + 1},
	} {
		l := lifeListen(t)
		if err := bad.Serve(l); err == nil || err == ErrServerClosed {
			t.Errorf("with a bad %s: %v", name, err)
		}
	}
}
