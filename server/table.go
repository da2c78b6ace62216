package server

// tablePage is how many slots the table grows by: growing copies nothing, and wastes one page at
// the most. It is also what one goroutine takes at a time where several go over all connections.
const tablePage = 256

// table gives each connection of a loop a small number, its slot, by which the poller's tokens and
// the wheel's places name it. The loop's lock guards it.
type table struct {
	pages []*[tablePage]*Conn
	free  []uint32 // slots that were given back; the last one, whose memory is warm, goes first
	next  uint32   // the lowest slot that was never used
	n     int
}

// add finds a slot for c.
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

// get is the connection at slot, or nil.
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

// page copies out the connections of one page, so that they can be looked at without the lock.
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
