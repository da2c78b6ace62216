package server

import (
	"slices"
	"sync"

	"github.com/gobwas/ws"

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
	first    int // of segments that waits; those before it are empty
	off      int // of the first segment, how much is sent
	held     int // bytes that wait, and segmentCost for each segment
	own      int // of held, what segments of the connection's own OnMessage hold

	// since is when the byte that waits longest was queued, or one that was dropped before it: what is
	// dropped makes a peer no quicker. It holds while aging.
	since wheel.Time
	aging bool

	ping   []byte // payload of the last ping that came meanwhile, if pinged
	pinged bool

	answering bool       // what is put next is queued by the connection's own OnMessage
	pace      pace       // of the peer, while the connection has stWriting
	look      wheel.Time // when it is looked at next

	rank rank // among those for which much waits
}

// segment is a run of frames, or a part of one.
type segment struct {
	data   []byte
	at     wheel.Time // when its first byte was queued
	kind   segmentKind
	owned  bool    // data may be appended to; otherwise it is somebody else's too, or ends with a message
	own    bool    // queued by the connection's own OnMessage
	region *region // that data lies in, if it is large
}

// segmentKind is what a segment holds.
type segmentKind uint8

const (
	frames   segmentKind = iota // whole frames; the last may be without its payload
	rest                        // of one frame, whose beginning is sent or in the segment before
	message                     // one frame, as frames, that may be dropped
	farewell                    // the close frame
	pong                        // a pong
)

// lease says for how long the bytes of a body stay as they are: while the call lasts, for ever, or
// while the region is retained that they lie in.
type lease struct {
	forever bool
	bound   bool // later frames may refer to this one, so it must not be dropped
	region  *region
}

// holds tells whether n bytes are to be kept as they are, and not copied.
func (l lease) holds(n int) bool { return (l.forever || l.region != nil) && n >= shareFrom }

var backlogs = sync.Pool{New: func() any { return new(backlog) }}

// put queues a frame, or the rest of one, and copies as little of it as it may.
func (b *backlog) put(head, body []byte, l lease, kind segmentKind, now wheel.Time) {
	if !l.holds(len(body)) {
		b.add(head, body, kind, now)
		return
	}
	if len(head) > 0 {
		b.add(head, nil, kind, now)
		kind = rest
	}
	b.share(body, l.region, kind, now)
}

// share queues what nobody will change, and lies in r if that is not nil.
func (b *backlog) share(body []byte, r *region, kind segmentKind, now wheel.Time) {
	r.retain()
	b.append(segment{data: body, at: now, kind: kind, region: r})
}

func (b *backlog) append(s segment) {
	if !b.aging {
		b.since, b.aging = s.at, true
	}
	s.own = b.answering
	b.segments = append(b.segments, s)
	b.count(&s, len(s.data)+segmentCost)
}

// add queues a copy of two pieces. Small ones are gathered, so that a queue of many small frames
// costs little more than its bytes; but for those that may be dropped one by one.
func (b *backlog) add(head, body []byte, kind segmentKind, now wheel.Time) {
	size := len(head) + len(body)
	var s *segment
	if kind == frames {
		s = b.last(size, now)
	}
	if s == nil {
		b.append(newSegment(size, kind, now))
		s = &b.segments[len(b.segments)-1]
	}
	s.data = append(append(s.data, head...), body...)
	b.count(s, size)
}

// count adds n bytes of a segment to what waits, or takes them off.
func (b *backlog) count(s *segment, n int) {
	b.held += n
	if s.own {
		b.own += n
	}
}

// newSegment is an empty one with room for size bytes.
func newSegment(size int, kind segmentKind, now wheel.Time) segment {
	s := segment{at: now, kind: kind, owned: kind == frames}
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
	if b.empty() {
		return nil
	}
	s := &b.segments[len(b.segments)-1]
	if !s.owned || s.own != b.answering || len(s.data)+size > joinTo || now-s.at > joinFor {
		return nil
	}
	return s
}

// live are the segments that wait.
func (b *backlog) live() []segment { return b.segments[b.first:] }

func (b *backlog) empty() bool { return b.first == len(b.segments) }

// sent takes n bytes off the front.
func (b *backlog) sent(n int) {
	if n == 0 {
		return
	}
	live := b.live()
	b.count(&live[0], b.off) // as if nothing of it were sent
	n += b.off
	done := 0
	for done < len(live) && n >= len(live[done].data) {
		n -= len(live[done].data)
		b.count(&live[done], -len(live[done].data)-segmentCost)
		live[done].region.release()
		done++
	}
	b.off = n
	if b.aging = done < len(live); b.aging {
		b.count(&live[done], -n)
		b.since = live[done].at
		b.consume(&live[done], n)
	}
	b.pass(done)
}

// consume gives back the memory of the first n bytes of a segment, if it lies in a region. Such a segment is one
// frame, or the payload of one. Its header is gone then, so begun must not read it.
func (b *backlog) consume(s *segment, n int) {
	if s.region != nil && n > 0 {
		s.kind = rest
		s.region.consumed(s.data[n:])
	}
}

// pass takes n segments off the front. They are moved up when as many have gone as are left, so that
// taking one costs the same however many there are.
func (b *backlog) pass(n int) {
	clear(b.segments[b.first : b.first+n])
	if b.first += n; 2*b.first >= len(b.segments) {
		kept := copy(b.segments, b.live())
		clear(b.segments[kept:])
		b.segments, b.first = b.segments[:kept], 0
	}
}

// placePong queues the pong before all else, in the place of older ones. No frame must have begun.
func (b *backlog) placePong() {
	b.dropPongs()
	if b.off > 0 { // between two frames of a segment
		s := &b.live()[0]
		s.data, b.off = s.data[b.off:], 0
	}
	s := segment{data: appendFrame(nil, ws.OpPong, b.ping), at: b.since, kind: pong}
	b.held += len(s.data) + segmentCost
	b.pinged = false
	if b.first == 0 {
		b.segments = slices.Insert(b.segments, 0, s)
		return
	}
	b.first--
	b.segments[b.first] = s
}

// vectors fills dst, up to its capacity, with what is to be sent next: of a frame that has begun the rest and no
// more, if a pong is to follow it.
func (b *backlog) vectors(dst [][]byte) [][]byte {
	off := b.off
	if b.pinged && b.inFrame() {
		n, end := b.begun()
		if n == 2 {
			dst, off = append(dst, b.live()[0].data[off:]), 0
		}
		return append(dst, b.live()[n-1].data[off:end])
	}
	for _, s := range b.live() {
		if len(dst) == cap(dst) {
			break
		}
		dst = append(dst, s.data[off:])
		off = 0
	}
	return dst
}

// bytes is how many bytes wait.
func (b *backlog) bytes() int { return b.held - len(b.live())*segmentCost }

// oldest is since when something has waited and was not sent.
func (b *backlog) oldest() wheel.Time { return b.since }

// recycle empties the backlog and gives it back to whoever needs one next.
func (b *backlog) recycle() {
	for _, s := range b.live() {
		s.region.release()
	}
	clear(b.segments)
	*b = backlog{segments: b.segments[:0]}
	if cap(b.segments) <= 64 {
		backlogs.Put(b)
	}
}
