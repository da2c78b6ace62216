package wheel

import (
	"cmp"
	"slices"
	"testing"
)

// A model is a wheel as simple as can be. Its times are 64 bits wide and never wrap: the wheel under
// test is given their lower halves.
type model struct {
	now    uint64
	set    uint64 // how many times a place was given, to keep the order of setting
	places map[ID]place
}

type place struct {
	id       ID
	due, set uint64
}

func (m *model) setDue(id ID, due uint64) {
	m.set++
	m.places[id] = place{id, max(due, m.now), m.set}
}

func (m *model) sooner(id ID, due uint64) bool {
	p, ok := m.places[id]
	if ok && max(due, m.now) >= p.due {
		return false
	}
	m.setDue(id, due)
	return true
}

func (m *model) remove(id ID) bool {
	_, ok := m.places[id]
	delete(m.places, id)
	return ok
}

func (m *model) advance(now uint64, limit int) []ID {
	m.now = max(m.now, now)
	var out []ID
	for _, p := range m.inOrder() {
		if p.due > m.now || len(out) == limit {
			break
		}
		out = append(out, p.id)
		delete(m.places, p.id)
	}
	return out
}

func (m *model) inOrder() []place {
	all := make([]place, 0, len(m.places))
	for _, p := range m.places {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.set, b.set))
	})
	return all
}

// earliest returns the earliest due time, or now if there is none or it is later.
func (m *model) earliest() uint64 {
	least := m.now
	for _, p := range m.places {
		least = min(least, p.due)
	}
	return least
}

// A tape is what is left of the fuzzer's bytes. It gives zeros when it has run out.
type tape []byte

func (t *tape) byte() byte {
	if len(*t) == 0 {
		return 0
	}
	b := (*t)[0]
	*t = (*t)[1:]
	return b
}

// id gives one of 128 ids, on two pages and on both sides of where they meet.
func (t *tape) id() ID {
	b := ID(t.byte())
	return b%64 + b/64%2*(pageNodes-32)
}

// distance gives a power of two up to 1<<31, plus or minus a little, so that most values are beside a
// boundary between levels.
func (t *tape) distance() int64 {
	return 1<<(t.byte()%32) + int64(int8(t.byte()))
}

// A pair is a wheel and its model, which are given the same operations.
type pair struct {
	*testing.T
	w *Wheel
	m *model
}

func newPair(t *testing.T, start uint64) *pair {
	return &pair{t, New(Time(start)), &model{now: start, places: map[ID]place{}}}
}

// due keeps a distance from now within what Set promises to understand.
func (p *pair) due(distance int64) uint64 {
	return p.m.now + uint64(min(distance, int64(Horizon)))
}

func (p *pair) set(id ID, due uint64) {
	p.w.Set(id, Time(due))
	p.m.setDue(id, due)
}

func (p *pair) sooner(id ID, due uint64) {
	if got, want := p.w.Sooner(id, Time(due)), p.m.sooner(id, due); got != want {
		p.Fatalf("Sooner(%d, %d) is %t, want %t", id, due, got, want)
	}
}

func (p *pair) remove(id ID) {
	if got, want := p.w.Remove(id), p.m.remove(id); got != want {
		p.Fatalf("Remove(%d) is %t, want %t", id, got, want)
	}
}

// advance keeps now within what Advance promises to understand.
func (p *pair) advance(now uint64, limit int) {
	now = min(now, p.m.earliest()+uint64(Horizon))
	buf := make([]ID, limit)
	n := p.w.Advance(Time(now), buf)
	if want := p.m.advance(now, limit); !slices.Equal(buf[:n], want) {
		p.Fatalf("Advance to %d gives %d, want %d", now, buf[:n], want)
	}
}

// compare checks all that can be asked of a wheel without changing it.
func (p *pair) compare() {
	checkStructure(p.T, p.w)
	if p.w.Len() != len(p.m.places) {
		p.Fatalf("Len is %d, want %d", p.w.Len(), len(p.m.places))
	}
	all := p.m.inOrder()
	for _, want := range all {
		if due, ok := p.w.Due(want.id); !ok || due != Time(want.due) {
			p.Fatalf("id %d is due at %d, %t; want %d", want.id, due, ok, want.due)
		}
	}
	p.compareNext(all)
}

// compareNext checks that Next is there if anything is, not after the first due time, and in the
// future if nothing is due: otherwise its caller would either oversleep or spin.
func (p *pair) compareNext(all []place) {
	next, ok := p.w.Next()
	if ok != (len(all) > 0) {
		p.Fatalf("Next reports %t with %d ids", ok, len(all))
	}
	if !ok {
		return
	}
	first := all[0].due
	if before := Time(first) - next; before > Horizon {
		p.Fatalf("Next is %d, after the first due time, %d", next, first)
	}
	if first > p.m.now && p.w.cursor == p.w.latest && !Time(p.m.now).Before(next) {
		p.Fatalf("Next is %d at %d, but the first is due at %d", next, p.m.now, first)
	}
}

// step does one operation that the tape asks for.
func (p *pair) step(t *tape) {
	switch op := t.byte(); op % 8 {
	case 0, 1:
		p.set(t.id(), p.due(t.distance()))
	case 2:
		p.set(t.id(), p.due(int64(int8(t.byte()))))
	case 3:
		p.sooner(t.id(), p.due(t.distance()))
	case 4:
		p.remove(t.id())
	case 5:
		p.advance(p.m.now+uint64(t.distance()), int(op/8))
	case 6:
		p.advance(p.m.now+uint64(t.byte()), int(op/8))
	case 7: // as a caller would that sleeps until Next
		next, _ := p.w.Next()
		p.advance(p.m.now+uint64(max(0, int32(next-Time(p.m.now)))), int(op/8))
	}
}

// finish takes out everything.
func (p *pair) finish() {
	for p.w.Len() > 0 {
		before := p.w.Len()
		p.advance(p.m.now+uint64(Horizon), 3)
		p.compare()
		if p.w.Len() == before {
			p.Fatalf("%d ids are lost in the wheel", before)
		}
	}
	checkUnlinked(p.T, p.w)
}

func FuzzAgainstModel(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ops := tape(data)
		// The first bytes say where time starts: beside a boundary, the wrap included.
		p := newPair(t, 1<<33+uint64(ops.distance()))
		for len(ops) > 0 {
			p.step(&ops)
			p.compare()
		}
		p.finish()
	})
}
