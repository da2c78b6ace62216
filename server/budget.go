package server

import "sync/atomic"

// budget bounds the bytes that the whole process holds for one purpose. Safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes and reports whether they were available. A request that is too large reserves
// nothing, not even for a moment: a small one beside it must succeed.
func (b *budget) take(n int64) bool { return b.takeOf(n, b.limit) }

func (b *budget) takeOf(n, limit int64) bool {
	for {
		used := b.used.Load()
		if used+n > limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// takeFair is take for a holder of has bytes. A holder may never have more bytes than are left for all
// others together. So a few large holders can't lock out many small ones (dynamic thresholds, Choudhury
// and Hahne 1998).
func (b *budget) takeFair(n, has int64) bool {
	if !b.fair(b.used.Add(n), has+n) {
		b.used.Add(-n)
		return false
	}
	return true
}

// fair reports whether one holder may have has bytes when used bytes are taken in all.
func (b *budget) fair(used, has int64) bool { return has <= b.limit-used }

// common returns the part of the limit that any connection may take. The rest, a sixteenth, is for
// connections that are not among the largest holders.
func (b *budget) common() int64 { return b.limit - b.limit/16 }

// hasRoom reports whether about n bytes of the common part are available.
func (b *budget) hasRoom(n int64) bool { return b.used.Load()+n+segmentCost <= b.common() }

// give returns n bytes. It panics when more bytes are returned than were taken.
func (b *budget) give(n int64) {
	if n != 0 && b.used.Add(-n) < 0 {
		panic("server: budget returned twice")
	}
}
