package server

import (
	"sync/atomic"
	"time"
)

// This file is pure: it is told the time.

// bucket bounds a rate, with a burst: so many tokens at most are in it, and they come back evenly. It
// may be used from any goroutine. The zero value is always full.
//
// All that it holds is when it will be full again, so that taking a token is one exchange: the further
// off that is, the fewer are left.
type bucket struct {
	each  time.Duration // in which a token comes back
	depth time.Duration // in which all of them do
	full  atomic.Int64  // a time.Duration, as the caller's
}

// set lets burst tokens be taken at once, and rate in each second.
func (b *bucket) set(rate, burst int) {
	b.each = time.Second / time.Duration(rate)
	b.depth = b.each * time.Duration(burst)
}

// take takes a token at a time, if there is one.
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
