package server

import (
	"sync"

	"github.com/stillpool/stillpool/server/wheel"
)

const (
	// segmentCost is what a segment costs beside its bytes. It counts as waiting, so that a
	// backlog of many tiny frames is bounded by what it holds, not by what it says.
	segmentCost = 64
	// frameCost is that of a frame whose header and payload are a segment each.
	frameCost = 2 * segmentCost
	// joinFor is for how long, in milliseconds, frames are gathered in one segment: the age of a
	// segment is that of its first byte, so it must not stay open for long.
	joinFor = 100
)

// backlog is what waits for a socket, in order. It is pure memory: outbound.go moves it to the
// socket, and the connection's lock guards it.
type backlog struct {
	segments []segment
	off      int // of the first segment, how much is sent
	held     int // bytes that wait, and segmentCost for each segment

	ping   []byte // payload of the last ping that came meanwhile, if pinged
	pinged bool
}

// segment is a run of frames.
type segment struct {
	data   []byte
	at     wheel.Time // when its first byte was queued
	owned  bool       // data may be appended to; otherwise it is somebody else's too
	region *region    // that data lies in, if it is large
}

// lease says for how long the bytes of a body stay as they are: while the call lasts, for ever, or
// while the region is retained that they lie in.
type lease struct {
	forever bool
	region  *region
}

var backlogs = sync.Pool{New: func() any { return new(backlog) }}

// put queues the rest of a frame, and copies as little of it as it may.
func (b *backlog) put(head, body []byte, l lease, now wheel.Time) {
	if !l.forever && l.region == nil || len(body) < shareFrom {
		b.add(head, body, now)
		return
	}
	if len(head) > 0 {
		b.add(head, nil, now)
	}
	b.share(body, l.region, now)
}

// share queues what nobody will change, and lies in r if that is not nil.
func (b *backlog) share(body []byte, r *region, now wheel.Time) {
	r.retain()
	b.append(segment{data: body, at: now, region: r})
}

func (b *backlog) append(s segment) {
	b.segments = append(b.segments, s)
	b.held += len(s.data) + segmentCost
}

// add queues a copy of two pieces. Small ones are gathered, so that a queue of many small frames
// costs little more than its bytes.
func (b *backlog) add(head, body []byte, now wheel.Time) {
	size := len(head) + len(body)
	s := b.last(size, now)
	if s == nil {
		b.append(newSegment(size, now))
		s = &b.segments[len(b.segments)-1]
	}
	s.data = append(append(s.data, head...), body...)
	b.held += size
}

// newSegment is an empty one with room for size bytes.
func newSegment(size int, now wheel.Time) segment {
	s := segment{at: now, owned: true}
	if size >= regionFrom {
		s.region = reserve(size)
	}
	if s.region != nil {
		s.data = s.region.mem[:0:size]
	} else {
		s.data = make([]byte, 0, size)
	}
	return s
}

// last is the segment that has room for so many bytes more, if there is one.
func (b *backlog) last(size int, now wheel.Time) *segment {
	if len(b.segments) == 0 {
		return nil
	}
	s := &b.segments[len(b.segments)-1]
	if !s.owned || len(s.data)+size > joinTo || now-s.at > joinFor {
		return nil
	}
	return s
}

// sent takes n bytes off the front.
func (b *backlog) sent(n int) {
	b.held -= n
	n += b.off
	done := 0
	for done < len(b.segments) && n >= len(b.segments[done].data) {
		n -= len(b.segments[done].data)
		b.segments[done].region.release()
		done++
	}
	b.off = n
	if done < len(b.segments) && n > 0 {
		b.segments[done].region.consumed(b.segments[done].data[n:])
	}
	if done > 0 {
		b.held -= done * segmentCost
		kept := copy(b.segments, b.segments[done:])
		clear(b.segments[kept:])
		b.segments = b.segments[:kept]
	}
}

// vectors fills dst, up to its capacity, with what is to be sent next.
func (b *backlog) vectors(dst [][]byte) [][]byte {
	off := b.off
	for i := 0; i < len(b.segments) && len(dst) < cap(dst); i++ {
		dst = append(dst, b.segments[i].data[off:])
		off = 0
	}
	return dst
}

// bytes is how many bytes wait.
func (b *backlog) bytes() int { return b.held - len(b.segments)*segmentCost }

// oldest is when the byte that waits longest was queued.
func (b *backlog) oldest() wheel.Time { return b.segments[0].at }

// recycle empties the backlog and gives it back to whoever needs one next.
func (b *backlog) recycle() {
	for _, s := range b.segments {
		s.region.release()
	}
	clear(b.segments)
	*b = backlog{segments: b.segments[:0]}
	if cap(b.segments) <= 64 {
		backlogs.Put(b)
	}
}
