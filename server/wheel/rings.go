package wheel

import "math/bits"

// A slot is a ring: a circular, doubly linked list whose head is a node itself, so that linking and
// unlinking have no special cases. The ref of a ring says what it is: level times 512 plus slot.
//
// A slot of a farther level is as long as a turn of the level below it, which is 256 slots. A level
// has room for the turn that time is in and the one after. The farthest one uses half of its room,
// because one turn of it is all of Time.
const (
	levels   = 4
	turnBits = 8
	slots    = 2 << turnBits
	rings    = levels * slots
)

// ringAt returns the ring for time t on level.
func ringAt(level uint32, t Time) ref {
	return level*slots + uint32(t>>(level*turnBits))%slots
}

// ringFor returns the ring for a due time that is not before the cursor. It is on the nearest level
// for which that time is in this turn or the next. The farthest level takes the rest, and goes round:
// there, a due time may reach the index of the slot that time is in now. That slot was handed down
// when time entered it, so there is no confusion.
func (w *Wheel) ringFor(due Time) ref {
	level := uint32(0)
	for level < levels-1 && w.turnsAhead(level, due) > 1 {
		level++
	}
	return ringAt(level, due)
}

// turnsAhead returns how many turns of level must end before due. The sum needs more than 32 bits if
// due is almost all of Time ahead of the cursor.
func (w *Wheel) turnsAhead(level uint32, due Time) uint64 {
	shift := (level + 1) * turnBits
	inTurn := w.cursor & (1<<shift - 1)
	return (uint64(inTurn) + uint64(due-w.cursor)) >> shift
}

// pushBack puts r at the end of ring's line.
func (w *Wheel) pushBack(ring, r ref, n *node) {
	head := w.node(ring)
	w.link(r, n, head.prev, ring)
	w.occupied[ring/64] |= 1 << (ring % 64)
}

// pushFront puts r at the beginning of ring's line.
func (w *Wheel) pushFront(ring, r ref, n *node) {
	head := w.node(ring)
	w.link(r, n, ring, head.next)
	w.occupied[ring/64] |= 1 << (ring % 64)
}

// link puts r between two neighbours, which are one and the same in an empty ring.
func (w *Wheel) link(r ref, n *node, prev, next ref) {
	n.prev, n.next = prev, next
	w.node(prev).next = r
	w.node(next).prev = r
}

// unlink takes r out of its ring and leaves it linked to itself.
func (w *Wheel) unlink(r ref, n *node) {
	w.node(n.prev).next = n.next
	w.node(n.next).prev = n.prev
	if n.next == n.prev {
		// With r gone one node is left, and a ring always has its head: n.next is the ring's own ref.
		w.vacate(n.next)
	}
	n.next, n.prev = r, r
}

// vacate records that ring is empty.
func (w *Wheel) vacate(ring ref) {
	w.occupied[ring/64] &^= 1 << (ring % 64)
}

// nearest returns how many slots after from, going round, the nearest occupied slot of level is: 0 if
// it is from itself. It reports false if the level is empty. On the farthest level the empty half is
// counted too if it lies between; that is one turn too many, and vanishes as Time wraps.
func (w *Wheel) nearest(level, from uint32) (uint32, bool) {
	const words = slots / 64
	m := w.occupied[level*words:][:words]
	from %= slots
	if rest := m[from/64] >> (from % 64); rest != 0 {
		return uint32(bits.TrailingZeros64(rest)), true
	}
	// The last word to look at is the first one again, for the slots before from: what is not before
	// from was just seen to be empty.
	for i := from/64 + 1; i <= from/64+words; i++ {
		if word := m[i%words]; word != 0 {
			slot := i*64 + uint32(bits.TrailingZeros64(word))
			return slot - from, true
		}
	}
	return 0, false
}
