package server

import (
	"sync/atomic"
	"time"
)

// bucket is a token bucket: it bounds a rate and a burst. It is pure: the caller passes the time in.
// The zero value is always full. Safe for concurrent use.
//
// It holds only the time at which it will be full again, so that taking a token is one
// compare-and-swap.
type bucket struct {
	each  time.Duration // in which one token comes back
	depth time.Duration // in which all tokens come back
	full  atomic.Int64  // when it will be full, on the caller's clock; a time.Duration
}

// set allows a burst of tokens at once, and rate tokens a second.
func (b *bucket) set(rate, burst int) {
	b.each = time.Second / time.Duration(rate)
	b.depth = b.each * time.Duration(burst)
}

// take takes a token and reports whether there was one.
func (b *bucket) take(now time.Duration) bool {
	for b.each > 0 {
		old := b.full.Load()
		full := max(time.Duration(old), now) + b.each
		if full > now+b.depth {
			return false
		}
		if b.full.CompareAndSwap(old, int64(full)) {
			break
		}
	}
	return true
}
