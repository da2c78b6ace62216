// Package wheel keeps the time at which each connection next wants attention.
//
// A [Wheel] is a hierarchical timing wheel with one place for each id. It holds ids and times and
// nothing else: it reads no clock, starts no goroutine and takes no lock. The caller passes the time
// in, keeps all calls on one wheel apart, and knows what an id stands for.
//
// # Shape
//
// There are four levels that turn round every 256 slots. A slot of level 0 is one unit of [Time], and
// a slot of each farther level is a whole turn of the level below, so that one turn of the farthest is
// all of Time. A level has room for two turns, the present one and the next, and a due time goes into
// the nearest level that it fits into. Later it is handed down, so an id moves at most three times,
// and one that is due within 256 slots doesn't move at all. A bitmap says which slots are occupied,
// which makes an empty hour cost as little as an empty slot.
//
// # Cost
//
// Set, Sooner, Remove and Due take constant time. An id costs 12 bytes: a link to either side and
// the due time. They lie in pages without pointers, so the garbage collector doesn't look into them,
// and pages are added as ids grow, so growth copies no array of places. Pages are kept for good: the
// wheel stays as large as it was at its fullest.
//
// An Advance takes out as many ids as its buffer holds, and hands down as many ahead of their time. A
// million ids on one interval are thereby handed down bit by bit, where all at once would take tens
// of milliseconds. Only what is left when time gets to a slot is handed down at once. That is much
// only if many ids are due close together and there were few calls before, as after a jump.
//
// # Order
//
// Ids come out in the order of their due times, and ids of one due time in the order in which they
// were set. A due time that has passed counts as the wheel's time, which is the latest time that the
// wheel was told. So whoever asks for the past stands at the end of the line, behind all that is due
// by now, and can't keep the others waiting by asking again and again.
package wheel

// Wheel holds at most one place, a due time, for each id. The zero value is not usable: see [New]. A
// Wheel is not safe for concurrent use: the caller lets one goroutine at a time in.
type Wheel struct {
	// latest is the wheel's time. No due time is stored that was before it.
	latest Time
	// cursor is the slot that is being drained: nothing in the wheel is due before it. It lags behind
	// latest only after an Advance that left due ids behind, at the earliest of them.
	cursor Time

	count    int
	occupied [rings / 64]uint64
	pages    []*page
}

// New returns an empty wheel whose time is now.
func New(now Time) *Wheel {
	return &Wheel{latest: now, cursor: now, pages: []*page{newPage(0)}}
}

// Set gives id a place at due, or moves it there from wherever it was. A due time that is not after
// the wheel's time is due at the next Advance. One more than Horizon ahead is taken for the past.
//
// Ids are meant to be small and dense, like indexes into a table of connections, because room comes in
// pages of 2,048 neighbours. Set panics if id is above [MaxID].
func (w *Wheel) Set(id ID, due Time) {
	r, n := w.reserve(id)
	w.place(r, n, w.notPast(due))
}

// Sooner gives id a place at due if it has none or a later one, and reports whether it did. An id
// that has the same due time already, or is due by now already, keeps its place in line.
func (w *Wheel) Sooner(id ID, due Time) bool {
	r, n := w.reserve(id)
	due = w.notPast(due)
	// Both are measured from the cursor, which neither is before, because in a long drain they may
	// be farther apart than Before can tell.
	if n.linked(r) && due-w.cursor >= n.due-w.cursor {
		return false
	}
	w.place(r, n, due)
	return true
}

// Remove takes id's place away. It reports false if id had none.
func (w *Wheel) Remove(id ID) bool {
	r, n := w.find(id)
	if n == nil {
		return false
	}
	w.unlink(r, n)
	w.count--
	return true
}

// Due returns the time at which id is due, and false if it has no place. A due time that had passed
// when it was set is given as what the wheel's time was then.
func (w *Wheel) Due(id ID) (Time, bool) {
	_, n := w.find(id)
	if n == nil {
		return 0, false
	}
	return n.due, true
}

// LastDue returns the time at which id was due when Advance took it out last. It means nothing while id has
// a place, or if it never had one. LastDue panics if id never had a place nor any of its neighbours.
func (w *Wheel) LastDue(id ID) Time { return w.node(id + rings).due }

// Len returns how many ids have a place.
func (w *Wheel) Len() int { return w.count }

// notPast returns due, or the wheel's time if due is before that.
func (w *Wheel) notPast(due Time) Time {
	if due.Before(w.latest) {
		return w.latest
	}
	return due
}

// place moves r to the end of the line of those due at due, which is not before the cursor.
func (w *Wheel) place(r ref, n *node, due Time) {
	if n.linked(r) {
		w.unlink(r, n)
	} else {
		w.count++
	}
	n.due = due
	w.pushBack(w.ringFor(due), r, n)
}
