package wheel

// Advance moves the wheel's time to now and takes ids that are due, not after now, out of the wheel
// into due, until there are no more or due is full. It returns how many it took. If it returns
// len(due) there may be more: call it again, with the same now or a later one. Between the calls the
// wheel may be changed at will.
//
// Ids come out in the order of their due times, and ids of one due time in the order in which they
// were set.
//
// Time never goes back: a now before the wheel's time is taken for the wheel's time. It may go ahead
// by any distance up to Horizon, also of the earliest id that a drain has left behind, and what lies
// empty between costs nothing.
func (w *Wheel) Advance(now Time, due []ID) int {
	if w.latest.Before(now) {
		w.latest = now
	}
	n := w.take(due)
	// Even if due is full, the cursor moves on as far as it can, so that it stays behind for a waiting
	// id but never for nothing: due times are measured from it, and the circle isn't endless.
	for !w.waiting() && w.step() {
		n += w.take(due[n:])
	}
	w.handAhead(len(due))
	return n
}

// Next returns the earliest time at which Advance has something to do: an id is due, or ids of a
// farther level are to be handed down. It is never after the earliest due time, so a caller that
// sleeps until Next misses nothing; and an id is handed down at most three times, so such a caller
// seldom wakes for nothing. If ids that are due were left in the wheel, Next is not after the wheel's
// time. It reports false if the wheel is empty.
func (w *Wheel) Next() (Time, bool) {
	distance, ok := w.distance()
	return w.cursor + distance, ok
}

// distance returns how far from the cursor the next work is. On level 0 the search begins at the
// cursor's own slot; on farther levels at the one after, because there the cursor's own slot was
// handed down, and what is in it now is a whole turn away.
func (w *Wheel) distance() (Time, bool) {
	slot, found := w.nearest(0, uint32(w.cursor))
	least := Time(slot)
	for level := uint32(1); level < levels; level++ {
		shift := level * turnBits
		from := w.cursor>>shift + 1
		slot, ok := w.nearest(level, uint32(from))
		start := (from+Time(slot))<<shift - w.cursor
		if ok && (!found || start < least) {
			least, found = start, true
		}
	}
	return least, found
}

// waiting reports whether ids are due at the cursor.
func (w *Wheel) waiting() bool {
	ring := ringAt(0, w.cursor)
	return w.node(ring).linked(ring)
}

// step moves the cursor, whose slot is empty, to the next work. It reports false, with the cursor at
// the wheel's time, if there is none until then.
func (w *Wheel) step() bool {
	distance, ok := w.distance()
	if !ok || distance > w.latest-w.cursor {
		w.cursor = w.latest
		return false
	}
	w.cursor += distance
	w.handDown()
	return true
}

// handDown empties the farther slots that begin at the cursor of what handAhead has left there. The
// nearer level goes first: of two ids with the same due time the one in the farther level was set
// earlier, and what is handed down goes to the beginning of its line.
func (w *Wheel) handDown() {
	for level := uint32(1); level < levels; level++ {
		if w.cursor%(1<<(level*turnBits)) != 0 {
			return
		}
		w.spill(ringAt(level, w.cursor), w.count)
	}
}

// handAhead hands down ids of the farther slots that come next, before time gets there and up to a
// limit, so that handDown finds little to do. Nothing is set into these slots any more: the nearer
// level has room for them. The nearer level goes first, for the same reason as in handDown, and also
// because its slot comes up sooner.
func (w *Wheel) handAhead(limit int) {
	for level := uint32(1); level < levels && limit > 0; level++ {
		next := w.cursor + 1<<(level*turnBits)
		limit -= w.spill(ringAt(level, next), limit)
	}
}

// spill moves up to limit ids of ring to a nearer level and returns how many it moved. It goes from
// the last to the first, and puts each before those already there, because all that was set into the
// nearer slot directly was set after what had to go to the farther one for its distance. So ids of
// one due time stay in order.
func (w *Wheel) spill(ring ref, limit int) int {
	head := w.node(ring)
	r, moved := head.prev, 0
	for r != ring && moved < limit {
		n := w.node(r)
		prev := n.prev
		w.pushFront(w.ringFor(n.due), r, n)
		r, moved = prev, moved+1
	}
	head.prev = r
	w.node(r).next = ring
	if r == ring {
		w.vacate(ring)
	}
	return moved
}

// take moves ids from the cursor's slot into due, the first in line first, until either has no more.
// All of them are due at the cursor.
func (w *Wheel) take(due []ID) int {
	ring := ringAt(0, w.cursor)
	head := w.node(ring)
	r, taken := head.next, 0
	for r != ring && taken < len(due) {
		n := w.node(r)
		due[taken] = r - rings
		taken++
		r, n.next, n.prev = n.next, r, r
	}
	head.next = r
	w.node(r).prev = ring
	if r == ring {
		w.vacate(ring)
	}
	w.count -= taken
	return taken
}
