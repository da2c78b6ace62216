package server

import (
	"hash/maphash"
	"maps"
	"math"
	"net/netip"
	"sync"
)

// addresses counts the connections of each client address, or of its network: an IPv6 client has a
// network of addresses to itself (RFC 6177 section 2). It keeps no entry without connections. Its lock
// is sharded, because each connection takes it twice. Safe for concurrent use.
type addresses struct {
	most   int32         // connections that an address may have; 0 counts none
	masks  [2]addressKey // for IPv4, which is mapped into IPv6, and for IPv6
	seed   maphash.Seed
	shards [addressShards]addressShard
}

const (
	addressShards = 64
	smallShard    = 64 // addresses that a shard keeps room for
)

// addressKey is an address in 16 bytes, or the network that it is in.
type addressKey [16]byte

type addressShard struct {
	mu     sync.Mutex
	counts map[addressKey]int32
	peak   int      // largest number of addresses since counts was made
	_      [40]byte // puts the next shard's lock on another cache line
}

// set bounds the connections of an address, or of a network with prefixes of bits4 and bits6 bits.
func (a *addresses) set(most, bits4, bits6 int) {
	a.most, a.seed = int32(min(most, math.MaxInt32)), maphash.MakeSeed()
	a.masks = [2]addressKey{maskOf(96 + bits4), maskOf(bits6)}
}

// maskOf returns a mask with its first bits set.
func maskOf(bits int) (m addressKey) {
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// key returns the network that an address counts for.
func (a *addresses) key(ip addressKey) addressKey {
	mask := &a.masks[1]
	if netip.AddrFrom16(ip).Is4In6() {
		mask = &a.masks[0]
	}
	for i := range ip {
		ip[i] &= mask[i]
	}
	return ip
}

func (a *addresses) shard(k addressKey) *addressShard {
	return &a.shards[maphash.Bytes(a.seed, k[:])%addressShards]
}

// enter counts a connection, unless its address has the maximum already. It reports whether it did.
func (a *addresses) enter(ip addressKey) bool {
	k := a.key(ip)
	s := a.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[k] >= a.most {
		return false
	}
	if s.counts == nil {
		s.counts = make(map[addressKey]int32)
	}
	s.counts[k]++
	s.peak = max(s.peak, len(s.counts))
	return true
}

// leave removes a connection that enter counted.
func (a *addresses) leave(ip addressKey) {
	k := a.key(ip)
	s := a.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.counts[k]; {
	case n == 0:
		panic("server: connection left an address twice")
	case n > 1:
		s.counts[k] = n - 1
	default:
		delete(s.counts, k)
		s.shrink()
	}
}

// shrink makes a smaller map when most addresses are gone, because a map never shrinks by itself.
func (s *addressShard) shrink() {
	if n := len(s.counts); s.peak > smallShard && n < s.peak/4 {
		smaller := make(map[addressKey]int32, n)
		maps.Copy(smaller, s.counts)
		s.counts, s.peak = smaller, n
	}
}
