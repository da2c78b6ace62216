package server

import "sync/atomic"

// budget bounds the bytes that the whole process holds for one purpose. It may be used from any
// goroutine.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or tells that they are not to be had. It asks before it takes: one that wants
// too much must not for a moment leave nothing to those who want little.
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

// takeFair is take for a holder that has so many bytes already, and may at no time have more than is
// left for all others together. So a few that hold much can't lock out the many that want little,
// however long they stay (dynamic thresholds, Choudhury and Hahne 1998).
func (b *budget) takeFair(n, has int64) bool {
	if !b.fair(b.used.Add(n), has+n) {
		b.used.Add(-n)
		return false
	}
	return true
}

// fair tells whether one holder may have so many bytes when so many are used.
func (b *budget) fair(used, has int64) bool { return has <= b.limit-used }

// common is what everybody may take of. The rest is for who is in need.
func (b *budget) common() int64 { return b.limit - b.limit/16 }

// hasRoom tells whether about n bytes are to be had by everybody.
func (b *budget) hasRoom(n int64) bool { return b.used.Load()+n+segmentCost <= b.common() }

// give returns n bytes. Giving back what was not taken is a programmer's error.
func (b *budget) give(n int64) {
	if n != 0 && b.used.Add(-n) < 0 {
		panic("server: budget returned twice")
	}
}
