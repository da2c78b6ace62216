package server

import "sync/atomic"

// budget bounds the bytes that the whole process holds for one purpose. It may be used from any
// goroutine.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or tells that they are not to be had.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// takeFair is take for a holder that has so many bytes already, and may at no time have more than is
// left for all others together. So a few that hold much can't lock out the many that want little,
// however long they stay (dynamic thresholds, Choudhury and Hahne 1998).
func (b *budget) takeFair(n, has int64) bool {
	if used := b.used.Add(n); used > b.limit || has+n > b.limit-used {
		b.used.Add(-n)
		return false
	}
	return true
}

// hasFairRoom tells whether takeFair would get n bytes and a little more.
func (b *budget) hasFairRoom(n, has int64) bool {
	used := b.used.Load() + n + 4*segmentCost
	return has+n+4*segmentCost <= b.limit-used
}

// hasRoom tells whether about n bytes are to be had.
func (b *budget) hasRoom(n int64) bool { return b.used.Load()+n+segmentCost <= b.limit }

// give returns n bytes. Giving back what was not taken is a programmer's error.
func (b *budget) give(n int64) {
	if n != 0 && b.used.Add(-n) < 0 {
		panic("server: budget returned twice")
	}
}
