//go:build linux

package server

import (
	"math/rand/v2"
	"testing"
)

// TestTableAgainstMap: random comings and goings, beside a map.
func TestTableAgainstMap(t *testing.T) {
	t.Parallel()
	var table table
	naive := map[uint32]*Conn{}
	most := 0
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 20_000 {
		if grow := step < 8_000; random.IntN(3) < 2 == grow || len(naive) == 0 {
			c := &Conn{id: uint64(step)}
			slot := table.add(c)
			if naive[slot] != nil {
				t.Fatalf("step %d: slot %d is given twice", step, slot)
			}
			naive[slot] = c
			most = max(most, len(naive))
		} else {
			for slot := range naive { // any
				table.remove(slot)
				delete(naive, slot)
				break
			}
		}
		if table.n != len(naive) || int(table.next) != most {
			t.Fatalf("step %d: n is %d, want %d; %d slots were used, want %d", step, table.n, len(naive), table.next, most)
		}
		slot := random.Uint32N(uint32(most + 2*tablePage))
		if got := table.get(slot); got != naive[slot] {
			t.Fatalf("step %d: slot %d has %v, want %v", step, slot, got, naive[slot])
		}
	}
	all := map[*Conn]bool{}
	for i := range table.pages {
		for _, c := range table.page(i, nil) {
			all[c] = true
		}
	}
	if len(all) != len(naive) {
		t.Errorf("the pages have %d connections, want %d", len(all), len(naive))
	}
	for _, c := range naive {
		if !all[c] {
			t.Errorf("no page has connection %d", c.id)
		}
	}
}

// TestTablePages: a page more comes with its first slot, and not before.
func TestTablePages(t *testing.T) {
	t.Parallel()
	var table table
	for want := range uint32(2*tablePage + 1) {
		if slot := table.add(new(Conn)); slot != want {
			t.Fatalf("slot %d, want %d", slot, want)
		}
		if table.get(want+1) != nil {
			t.Fatalf("slot %d is not given yet", want+1)
		}
		if pages := int(want)/tablePage + 1; len(table.pages) != pages {
			t.Fatalf("%d pages for %d slots", len(table.pages), want+1)
		}
	}
	table.remove(7)
	table.remove(tablePage + 9)
	if a, b, c := table.add(new(Conn)), table.add(new(Conn)), table.add(new(Conn)); a != tablePage+9 || b != 7 || c != 2*tablePage+1 {
		t.Errorf("slots %d, %d, %d; want the last that was given back, the one before, and a new one", a, b, c)
	}
}

// TestToken: a token finds its slot, and only its own connection.
func TestToken(t *testing.T) {
	t.Parallel()
	seen := map[uint64]bool{}
	for _, id := range []uint64{1, 2, 1<<32 - 1} {
		for _, slot := range []uint32{0, 1, 1 << 20, 1<<31 - 1} {
			tok := (&Conn{id: id, slot: slot}).token()
			if uint32(tok&slotMask) != slot || tok&listenerToken != 0 || seen[uint64(tok)] {
				t.Errorf("id %d at slot %d: token %x", id, slot, tok)
			}
			seen[uint64(tok)] = true
		}
	}
}
