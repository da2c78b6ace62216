package wheel

import "testing"

// checkStructure walks every ring: links must agree in both directions, the bitmap must tell the
// truth, an id must lie in a slot that time has yet to come to, and no id may be in no ring or two.
func checkStructure(t *testing.T, w *Wheel) {
	t.Helper()
	seen := 0
	for i, head := range w.pages[0] {
		ring, ids := ref(i), 0
		if head.linked(ring) || head.prev != ring {
			ids = checkRing(t, w, ring)
		}
		seen += ids
		if marked := w.occupied[i/64]>>(i%64)&1 == 1; marked != (ids > 0) {
			t.Fatalf("ring %d has %d ids, but its bit is %t", ring, ids, marked)
		}
	}
	if seen != w.count {
		t.Fatalf("the rings hold %d ids, but %d are counted", seen, w.count)
	}
}

func checkRing(t *testing.T, w *Wheel, ring ref) int {
	t.Helper()
	ids, last := 0, ring
	for r := w.node(ring).next; ; r = w.node(r).next {
		if w.node(r).prev != last {
			t.Fatalf("ring %d: node %d has %d before it, not %d", ring, r, w.node(r).prev, last)
		}
		if r == ring {
			return ids
		}
		if ids++; ids > w.count {
			t.Fatalf("ring %d does not close", ring)
		}
		checkSlot(t, w, ring, w.node(r).due)
		last = r
	}
}

// checkSlot checks that what is due then may be in ring: the slot covers it, and on a farther level
// it is not one that time has entered. It may lie on a farther level than it would be put into now.
func checkSlot(t *testing.T, w *Wheel, ring ref, due Time) {
	t.Helper()
	level := ring / slots
	shift := level * turnBits
	if ring != ringAt(level, due) {
		t.Fatalf("an id due at %d is in ring %d", due, ring)
	}
	if level > 0 && due>>shift == w.cursor>>shift && due-w.cursor < 1<<shift {
		t.Fatalf("at %d an id due at %d is still in ring %d", w.cursor, due, ring)
	}
	if nearest := w.ringFor(due) / slots; level < nearest {
		t.Fatalf("at %d an id due at %d is on level %d, too near", w.cursor, due, level)
	}
}

// checkUnlinked checks that every node of an empty wheel, ring or id, is linked to itself on both sides.
func checkUnlinked(t *testing.T, w *Wheel) {
	t.Helper()
	for i, p := range w.pages {
		if p == nil {
			continue
		}
		for j := range p {
			if r := ref(i*pageNodes + j); p[j].next != r || p[j].prev != r {
				t.Fatalf("in an empty wheel node %d is linked to %d and %d", r, p[j].prev, p[j].next)
			}
		}
	}
}
