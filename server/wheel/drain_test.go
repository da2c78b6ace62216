package wheel

import "testing"

// An id that asks for the past whenever it comes out must neither hold Advance for ever nor keep the
// others waiting: it gets its turn behind all that is due by now.
func TestPastDueGoesToTheEndOfTheLine(t *testing.T) {
	w := New(0)
	for id := range ID(5) {
		w.Set(id, 10+100*Time(id))
	}
	var got []ID
	buf := make([]ID, 1)
	for range 8 {
		n := w.Advance(1000, buf)
		got = append(got, buf[:n]...)
		w.Set(buf[0], 10)
	}
	wantIDs(t, got, 0, 1, 2, 3, 4, 0, 1, 2)
}

// While time goes on and every drain is cut short, late ones must still come before what became due
// after them.
func TestPastDueIsNotStarvedByLaterDrains(t *testing.T) {
	w := New(0)
	for id := range ID(100) {
		w.Set(id, Time(id))
	}
	buf := make([]ID, 2)
	w.Advance(10, buf)
	w.Set(1000, 3)
	var got []ID
	for now := Time(11); len(got) < 12; now++ {
		n := w.Advance(now, buf)
		got = append(got, buf[:n]...)
	}
	wantIDs(t, got, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000, 11, 12)
}

func TestChangesDuringADrain(t *testing.T) {
	w := New(0)
	for id := range ID(6) {
		w.Set(id, 300)
	}
	buf := make([]ID, 2)
	w.Advance(400, buf)
	wantIDs(t, buf, 0, 1)
	if next, ok := w.Next(); !ok || Time(400).Before(next) {
		t.Errorf("in the middle of a drain Next is %d, %t", next, ok)
	}
	w.Remove(2)      // the next in line
	w.Set(3, 500)    // into the future
	w.Set(0, 400)    // again, and now
	w.Set(7, 350)    // into the past
	w.Sooner(4, 100) // due already: stays where it is
	checkStructure(t, w)
	wantIDs(t, advance(t, w, 400, 2), 4, 5, 0, 7)
	wantIDs(t, advance(t, w, 500, 2), 3)
}

// The rest of a slot is removed in the middle of a drain: nothing may remain that says it is occupied.
func TestRemoveTheRestOfASlot(t *testing.T) {
	w := New(0)
	w.Set(1, 20)
	w.Set(2, 20)
	w.Advance(30, make([]ID, 1))
	w.Remove(2)
	checkStructure(t, w)
	if next, ok := w.Next(); ok {
		t.Errorf("Next of an empty wheel is %d", next)
	}
	wantIDs(t, advance(t, w, 30, 1))
}

func TestAdvanceWithoutABuffer(t *testing.T) {
	w := New(0)
	w.Set(1, 20)
	if n := w.Advance(30, nil); n != 0 {
		t.Errorf("took %d ids into nothing", n)
	}
	w.Set(2, 25) // the wheel's time is 30 now
	w.Set(3, 20)
	wantIDs(t, advance(t, w, 30, 1), 1, 2, 3)
}

// A drain is left alone after one id, with the rest as far apart as two horizons.
func TestDrainAsLongAsTheHorizon(t *testing.T) {
	for _, start := range starts {
		w := New(start)
		w.Set(1, start)
		w.Set(2, start)
		w.Set(3, start+Horizon)
		w.Advance(start+Horizon, make([]ID, 1))
		w.Set(4, start+Horizon+Horizon)
		if w.Sooner(2, start+Horizon+1) || !w.Sooner(4, start+Horizon+Horizon-1) {
			t.Errorf("with the wheel at %d: Sooner mistook the order", start)
		}
		wantIDs(t, advance(t, w, start+Horizon, 1), 2, 3)
		wantIDs(t, advance(t, w, start+Horizon+Horizon-1, 1), 4)
	}
}

// Time is told by calls that have no room, over more than half of the circle: due times must not be
// measured from where it began.
func TestTimeGoesOnWithoutABuffer(t *testing.T) {
	w, now := New(0), Horizon
	w.Advance(now, nil)
	now += 1000
	w.Advance(now, nil)
	w.Set(1, now)
	wantIDs(t, advance(t, w, now+Horizon, 2), 1)
}

// A drain was left alone, what waited in it is removed, and what is left lies a whole circle away: in
// the very slot of the farthest level that the drain had stopped in.
func TestNextAfterAnAbandonedDrain(t *testing.T) {
	for _, start := range starts {
		w := New(start)
		w.Set(1, start)
		w.Advance(start+Horizon, nil)
		w.Set(2, start+Horizon+Horizon)
		w.Remove(1)
		next, ok := w.Next()
		if distance := next - start; !ok || distance <= Horizon || distance > Horizon+Horizon {
			t.Errorf("with the wheel at %d: Next is %d, %t", start, next, ok)
		}
		wantIDs(t, advance(t, w, start+Horizon+Horizon-1, 2))
		wantIDs(t, advance(t, w, start+Horizon+Horizon, 2), 2)
	}
}
