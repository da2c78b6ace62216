package wheel

import (
	"math"
	"slices"
	"testing"
)

// starts are wheel times on both sides of every boundary between levels, and of the wrap.
var starts = []Time{
	0, 1, 100, 254, 255, 256, 257,
	1<<16 - 1, 1 << 16, 1<<16 + 255,
	1<<24 - 1, 1 << 24, 1<<24 + 1<<16 - 1,
	1<<31 - 1, 1 << 31,
	math.MaxUint32 - 1<<24, math.MaxUint32 - 1<<16, math.MaxUint32 - 256, math.MaxUint32 - 255,
	math.MaxUint32 - 1, math.MaxUint32,
}

// distances are those at which a due time changes its level, and their neighbours.
var distances = []Time{
	1, 2, 200, 254, 255, 256, 257, 511, 512, 513,
	1<<16 - 256, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<16 + 255, 1<<16 + 256, 1<<17 - 1, 1 << 17, 1<<17 + 1,
	1<<24 - 1<<16, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1<<24 + 1<<16, 1<<25 - 1, 1 << 25, 1<<25 + 1,
	Horizon - 1, Horizon,
}

// overBoundaries runs f for every start and distance.
func overBoundaries(t *testing.T, f func(start, distance Time)) {
	for _, start := range starts {
		for _, distance := range distances {
			f(start, distance)
			if t.Failed() {
				t.Fatalf("with the wheel at %d and an id due %d later", start, distance)
			}
		}
	}
}

// advance takes all that is due, by a buffer of the given size, and checks the wheel's structure.
func advance(t *testing.T, w *Wheel, now Time, size int) []ID {
	t.Helper()
	var all []ID
	for buf := make([]ID, size); ; {
		n := w.Advance(now, buf)
		checkStructure(t, w)
		all = append(all, buf[:n]...)
		if n < size {
			return all
		}
	}
}

func wantIDs(t *testing.T, got []ID, want ...ID) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got ids %d, want %d", got, want)
	}
}

func TestJumpToJustBeforeDueAndToDue(t *testing.T) {
	overBoundaries(t, func(start, distance Time) {
		w := New(start)
		w.Set(7, start+distance)
		wantIDs(t, advance(t, w, start+distance-1, 4))
		wantIDs(t, advance(t, w, start+distance, 4), 7)
		if w.Len() != 0 {
			t.Errorf("%d ids left", w.Len())
		}
	})
}

func TestJumpFarPastDue(t *testing.T) {
	overBoundaries(t, func(start, distance Time) {
		w := New(start)
		w.Set(7, start+distance)
		wantIDs(t, advance(t, w, start+Horizon, 4), 7)
	})
}

// A caller that sleeps until Next must get the id at its due time, and wake for nothing no more often
// than an id is handed down.
func TestSleepUntilNext(t *testing.T) {
	overBoundaries(t, func(start, distance Time) {
		w := New(start)
		w.Set(7, start+distance)
		now, buf := start, make([]ID, 2)
		for wakes := 1; ; wakes++ {
			next, ok := w.Next()
			if !ok || !now.Before(next) || (start + distance).Before(next) {
				t.Fatalf("Next is %d, %t at %d", next, ok, now)
			}
			now = next
			if w.Advance(now, buf) == 1 {
				break
			}
			if wakes > levels-1 {
				t.Fatalf("still asleep after %d wakes", wakes)
			}
		}
		if now != start+distance {
			t.Errorf("woke at %d", now)
		}
	})
}

// Time goes slot by slot for three turns of the near level, over the wrap too.
func TestEverySlotInTurn(t *testing.T) {
	for _, start := range []Time{0, 255, 1<<16 - 300, math.MaxUint32 - 300} {
		w := New(start)
		for id := range ID(768) {
			w.Set(id, start+1+Time(id))
		}
		buf := make([]ID, 2)
		for id := range ID(768) {
			n := w.Advance(start+1+Time(id), buf)
			wantIDs(t, buf[:n], id)
		}
	}
}

func TestOrderOverAllLevels(t *testing.T) {
	for _, start := range starts {
		w := New(start)
		var want []ID
		for i := range distances {
			far := ID(len(distances) - 1 - i)
			w.Set(far, start+distances[far])
			want = append(want, ID(i))
		}
		wantIDs(t, advance(t, w, start+Horizon, 3), want...)
	}
}

// Ids on each level, all due at once: the farthest were set first, so they come first.
func TestOneDueTimeInOrderOfSetting(t *testing.T) {
	const due = Time(1 << 26)
	w := New(0)
	for id, ahead := range []Time{1 << 26, 1 << 20, 1 << 12, 255, 10} {
		advance(t, w, due-ahead, 1)
		w.Set(ID(2*id), due)
		w.Set(ID(2*id+1), due)
	}
	wantIDs(t, advance(t, w, due, 3), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
}

func TestSetMoves(t *testing.T) {
	w := New(0)
	w.Set(1, 10)
	w.Set(1, 1000)
	w.Set(2, 1000)
	w.Set(2, 10)
	if w.Len() != 2 {
		t.Errorf("Len is %d, want 2", w.Len())
	}
	wantIDs(t, advance(t, w, 10, 4), 2)
	wantIDs(t, advance(t, w, 1000, 4), 1)
}

func TestSooner(t *testing.T) {
	w := New(100)
	for _, c := range []struct {
		due, after Time
		moved      bool
	}{
		{500, 500, true}, {500, 500, false}, {501, 500, false}, {499, 499, true}, {200, 200, true},
		{50, 100, true}, {20, 100, false}, {300, 100, false},
	} {
		if moved := w.Sooner(3, c.due); moved != c.moved {
			t.Errorf("Sooner(%d) is %t", c.due, moved)
		}
		if due, ok := w.Due(3); !ok || due != c.after {
			t.Errorf("due at %d, %t after Sooner(%d), want %d", due, ok, c.due, c.after)
		}
	}
}

func TestRemove(t *testing.T) {
	w := New(0)
	for _, due := range []Time{1, 300, 1 << 17, 1 << 25} {
		w.Set(4, due)
		if !w.Remove(4) || w.Remove(4) {
			t.Errorf("an id due at %d was not removed exactly once", due)
		}
		if _, ok := w.Due(4); ok {
			t.Error("a removed id is still due")
		}
		if next, ok := w.Next(); ok {
			t.Errorf("Next of an empty wheel is %d", next)
		}
		checkStructure(t, w)
	}
	wantIDs(t, advance(t, w, 1<<26, 4))
}

func TestUnknownIDs(t *testing.T) {
	w := New(0)
	for _, id := range []ID{0, pageNodes - 1, pageNodes, MaxID, MaxID + 1, math.MaxUint32} {
		if _, ok := w.Due(id); ok || w.Remove(id) {
			t.Errorf("id %d has a place in an empty wheel", id)
		}
	}
}

func TestSetPanicsAboveMaxID(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(0).Set(MaxID+1, 1)
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := New(1000)
	w.Set(1, 1001)
	wantIDs(t, advance(t, w, 900, 2))
	wantIDs(t, advance(t, w, 1001, 2), 1)
	w.Set(2, 950)
	if due, _ := w.Due(2); due != 1001 {
		t.Errorf("a past due time counts as %d, want the wheel's time", due)
	}
	wantIDs(t, advance(t, w, 900, 2), 2)
}

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		t, u   Time
		before bool
	}{
		{1, 2, true}, {2, 1, false}, {2, 2, false}, {math.MaxUint32, 0, true}, {0, math.MaxUint32, false},
		{5, 5 + Horizon, true}, {5 + Horizon, 5, false}, {math.MaxUint32, Horizon - 1, true},
	} {
		if c.t.Before(c.u) != c.before {
			t.Errorf("(%d).Before(%d) is %t", c.t, c.u, !c.before)
		}
	}
}
