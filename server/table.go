package server

// tablePage is the number of slots that the table grows by: growing copies nothing and wastes at most
// one page. Goroutines that share a walk over all connections take a page at a time.
const tablePage = 256

// table gives each connection of a loop a small number, its slot. The poller's tokens and the wheel's
// timers name a connection by it. loop.mu must be held.
type table struct {
	pages []*[tablePage]*Conn
	free  []uint32 // released slots; the last one, whose memory is warm, is reused first
	next  uint32   // the lowest slot that was never used
	n     int
}

// add returns a slot for c.
func (t *table) add(c *Conn) uint32 {
	t.n++
	slot := t.next
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if int(slot) == len(t.pages)*tablePage {
			t.pages = append(t.pages, new([tablePage]*Conn))
		}
		t.next++
	}
	t.pages[slot/tablePage][slot%tablePage] = c
	return slot
}

// get returns the connection at slot, or nil.
func (t *table) get(slot uint32) *Conn {
	if slot >= t.next {
		return nil
	}
	return t.pages[slot/tablePage][slot%tablePage]
}

func (t *table) remove(slot uint32) {
	t.pages[slot/tablePage][slot%tablePage] = nil
	t.free = append(t.free, slot)
	t.n--
}

// page appends the connections of one page to dst, so that the caller can use them without the lock.
func (t *table) page(i int, dst []*Conn) []*Conn {
	for _, c := range t.pages[i] {
		if c != nil {
			dst = append(dst, c)
		}
	}
	return dst
}

// slotSet is a set of slots, a bit each up to the highest that was added. The loop's lock guards it.
type slotSet []uint64

func (s *slotSet) add(slot uint32) {
	for int(slot/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[slot/64] |= 1 << (slot % 64)
}

// remove takes a slot out of the set, and reports whether it was there.
func (s slotSet) remove(slot uint32) bool {
	if int(slot/64) >= len(s) || s[slot/64]&(1<<(slot%64)) == 0 {
		return false
	}
	s[slot/64] &^= 1 << (slot % 64)
	return true
}
