package wheel

import (
	"reflect"
	"runtime"
	"testing"
	"unsafe"
)

const million = 1_000_000

// ticking returns a wheel with that many ids on one interval, evenly spread.
func ticking(ids ID, interval Time) *Wheel {
	w := New(0)
	for id := range ids {
		w.Set(id, FirstDue(0, Phase(uint64(id), interval), interval))
	}
	return w
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	const ids, interval = 5000, 300
	w := ticking(ids, interval)
	now, buf := Time(0), make([]ID, 64)
	allocs := testing.AllocsPerRun(2*interval, func() {
		now++
		for {
			n := w.Advance(now, buf)
			for _, id := range buf[:n] {
				w.Set(id, now+interval)
			}
			if n < len(buf) {
				break
			}
		}
		w.Remove(ID(now) % ids)
		w.Sooner(ID(now)%ids, now+50000)
	})
	if allocs != 0 || w.Len() != ids {
		t.Errorf("%v allocations, %d ids", allocs, w.Len())
	}
}

// Whatever the interval, what lies in the next farther slot must have been handed down by the time
// that slot begins: otherwise all of it moves in one call, which a million ids would feel.
func TestHandingDownIsSpreadOut(t *testing.T) {
	const ids = 20000
	for _, interval := range []Time{257, 400, 512, 6000} {
		w, buf := ticking(ids, interval), make([]ID, 16)
		now := tick(w, 0, interval, buf, ids)
		for range 2 * interval {
			now = tick(w, now, interval, buf, 1)
			if now%256 != 255 {
				continue
			}
			if next := ringAt(1, now+1); w.node(next).linked(next) {
				t.Fatalf("on an interval of %d, at %d, ids of the next slot are left", interval, now)
			}
		}
	}
}

func TestAMillionIDsCostTwelveBytesEach(t *testing.T) {
	// The rings and the page that is not full are a page each, and the table of pages takes 8 bytes for
	// each page and may have grown to more than it needs.
	const constant = 64 << 10
	before := heap()
	w := ticking(million, 200)
	cost := heap() - before
	runtime.KeepAlive(w)
	if cost > 12*million+constant {
		t.Errorf("%d bytes, %d more than 12 an id", cost, cost-12*million)
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A pointer in a node would make the garbage collector walk through every page.
func TestNodesHoldNoPointers(t *testing.T) {
	if size := unsafe.Sizeof(node{}); size != 12 {
		t.Errorf("a node takes %d bytes", size)
	}
	typ := reflect.TypeFor[node]()
	for i := range typ.NumField() {
		if kind := typ.Field(i).Type.Kind(); kind != reflect.Uint32 {
			t.Errorf("%s is a %s", typ.Field(i).Name, kind)
		}
	}
}

func TestPagesComeOnlyForTheirIDs(t *testing.T) {
	w := New(0)
	w.Set(5*pageNodes, 1)
	if w.pages[1] != nil || w.pages[6] == nil || len(w.pages) != 7 {
		t.Errorf("one id far out made %d pages", len(w.pages))
	}
	w.Set(pageNodes-1, 2)
	w.Set(3, 2)
	if w.pages[1] == nil || w.pages[2] != nil {
		t.Error("ids of the first page made another")
	}
	wantIDs(t, advance(t, w, 2, 8), 5*pageNodes, pageNodes-1, 3)
}
