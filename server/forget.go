package server

import "encoding/binary"

// This file is pure memory too: it takes frames out of a backlog that will not be sent. A frame of which
// a byte is sent stays, or nothing lawful could follow it.

// drop forgets the oldest messages that may be forgotten, until so much of held is free or none is left;
// the newest of them stays if it is to be spared. It tells how many that were.
func (b *backlog) drop(want int, spare bool) (messages int) {
	live := b.live()
	end := len(live)
	if spare {
		end = newest(live)
	}
	i := 0
	for least := b.held - want; i < end && b.held > least; {
		if live[i].kind != message || i == 0 && b.off > 0 {
			i++
			continue
		}
		i += b.forget(live[i:])
		messages++
	}
	b.pass(moveUp(live[:i]))
	return messages
}

// newest is the index of the last message that may be forgotten; 0 if there is none.
func newest(live []segment) int {
	i := len(live) - 1
	for i > 0 && live[i].kind != message {
		i--
	}
	return max(i, 0)
}

// forget empties the first of some segments, and the second if it belongs to it, and tells how many.
func (b *backlog) forget(s []segment) (n int) {
	for n == 0 || n < len(s) && s[n].kind == rest {
		b.count(&s[n], -len(s[n].data)-segmentCost)
		s[n].region.release()
		s[n] = segment{}
		n++
	}
	return n
}

// moveUp moves what is left of some segments to their end, and tells how many there are before it.
func moveUp(s []segment) int {
	to := len(s)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].data != nil {
			to--
			s[to] = s[i]
		}
	}
	return to
}

// cut forgets all but the rest of the frame that has begun, and the close frame. It tells how much of
// held is free now.
func (b *backlog) cut() (freed int) {
	before := b.held
	live := b.live()
	n, end := b.begun()
	if n > 0 {
		last := &live[n-1]
		b.count(last, end-len(last.data))
		last.data, last.owned = last.data[:end:end], false
	}
	if n == 0 && len(live) > 0 {
		b.count(&live[0], b.off) // of the first segment, whole frames are sent
		b.off = 0
	}
	for i := n; i < len(live); i++ {
		if live[i].kind == farewell {
			live[n] = live[i]
			n++
			continue
		}
		b.count(&live[i], -len(live[i].data)-segmentCost)
		live[i].region.release()
	}
	clear(live[n:])
	b.segments = b.segments[:b.first+n]
	b.pass(0)
	return before - b.held
}

// dropPongs drops pongs of which nothing is sent.
func (b *backlog) dropPongs() {
	live := b.live()
	for i := range live {
		if live[i].kind == pong && !(i == 0 && b.off > 0) {
			b.forget(live[i : i+1])
		}
	}
	b.pass(moveUp(live))
}

// inFrame reports whether a part of a frame is sent.
func (b *backlog) inFrame() bool {
	n, _ := b.begun()
	return n > 0
}

// begun is where the frame ends of which a part is sent: in which segment, counted from one, and how
// far in it. It is 0 if there is none.
func (b *backlog) begun() (n, end int) {
	live := b.live()
	if len(live) == 0 {
		return 0, 0
	}
	size := len(live[0].data)
	if end = size; live[0].kind != rest {
		for end = 0; end < b.off; {
			end += frameLength(live[0].data[end:])
		}
		if end == b.off {
			return 0, 0
		}
	}
	if end >= size && len(live) > 1 && live[1].kind == rest {
		return 2, len(live[1].data)
	}
	return 1, end
}

// frameLength is that of the frame at the start of p, which is one of ours, and all of whose header is
// there.
func frameLength(p []byte) int {
	switch n := int(p[1]); n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(p[2:]))
	case 127:
		return 10 + int(binary.BigEndian.Uint64(p[2:]))
	default:
		return 2 + n
	}
}
