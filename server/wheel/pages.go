package wheel

import "math"

// ID names a place. See [Wheel.Set] for which ids are good ones.
type ID = uint32

// MaxID is the largest id that a wheel takes.
const MaxID ID = math.MaxUint32 - rings

// pageNodes is the unit of growth. It equals the number of rings, so that the first page holds the
// rings and every other page holds ids, and its 24,576 bytes are one of the allocator's size classes,
// so that nothing is lost to rounding.
const pageNodes = rings

// A ref names a node: the first ones are the rings, and after them come the ids.
type ref = uint32

// A node is a ring's head or an id's place. It holds refs and no pointers, on purpose: a million of
// them are nothing to the garbage collector.
type node struct {
	next, prev ref
	due        Time
}

type page [pageNodes]node

// newPage returns a page whose first node is first. All of its nodes are linked to nothing but
// themselves, which means an empty ring, or an id without a place.
func newPage(first ref) *page {
	p := new(page)
	for i := range p {
		r := first + ref(i)
		p[i].next, p[i].prev = r, r
	}
	return p
}

// linked reports whether n, whose ref is r, is in a ring with others.
func (n *node) linked(r ref) bool { return n.next != r }

// node returns the node of a ref that is known to have one.
func (w *Wheel) node(r ref) *node {
	return &w.pages[r/pageNodes][r%pageNodes]
}

// find returns the node of id, or nil if id has no place.
func (w *Wheel) find(id ID) (ref, *node) {
	if !w.paged(id) {
		return 0, nil
	}
	r := id + rings
	n := w.node(r)
	if !n.linked(r) {
		return 0, nil
	}
	return r, n
}

// reserve returns the node of id, whether it has a place or not, and makes the page if need be.
func (w *Wheel) reserve(id ID) (ref, *node) {
	if !w.paged(id) {
		w.addPage(id)
	}
	r := id + rings
	return r, w.node(r)
}

// paged reports whether there is a page for id. It counts in pages because id + rings may overflow
// for an id that nobody has checked.
func (w *Wheel) paged(id ID) bool {
	p := int(id/pageNodes) + rings/pageNodes
	return p < len(w.pages) && w.pages[p] != nil
}

// addPage makes the page for id, and only that one: the table of pages may have gaps, if the caller
// doesn't take the ids in order.
func (w *Wheel) addPage(id ID) {
	if id > MaxID {
		panic("wheel: id above MaxID")
	}
	r := id + rings
	p := int(r / pageNodes)
	for len(w.pages) <= p {
		w.pages = append(w.pages, nil)
	}
	w.pages[p] = newPage(r - r%pageNodes)
}
