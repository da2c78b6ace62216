package wheel

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// tick advances slot by slot and gives every id that comes out its next due time, until n have come.
func tick(w *Wheel, now Time, interval Time, buf []ID, n int) Time {
	for n > 0 {
		now++
		for {
			taken := w.Advance(now, buf)
			for _, id := range buf[:taken] {
				w.Set(id, now+interval)
			}
			n -= taken
			if taken < len(buf) {
				break
			}
		}
	}
	return now
}

// benchmarkTick measures what one tick of one id costs, taken out and set again, with a million of
// them. On an interval of up to 256 slots nothing is handed down, on a longer one most ids are, once.
func benchmarkTick(b *testing.B, interval Time) {
	w, buf := ticking(million, interval), make([]ID, 256)
	now := tick(w, 0, interval, buf, million)
	b.ReportAllocs()
	b.ResetTimer()
	tick(w, now, interval, buf, b.N)
}

func BenchmarkTickEvery200Slots(b *testing.B)  { benchmarkTick(b, 200) }
func BenchmarkTickEvery400Slots(b *testing.B)  { benchmarkTick(b, 400) }
func BenchmarkTickEvery6000Slots(b *testing.B) { benchmarkTick(b, 6000) }

// What the caller waits for when a farther slot begins, which is at one slot of 256: it would be all
// of the handing down if none was done ahead. The figure is the 99.8th percentile, because the longest
// of all only shows what else the machine had to do.
func BenchmarkSlotAtTheTurn(b *testing.B) {
	for _, interval := range []Time{200, 400, 6000} {
		b.Run(strconv.Itoa(int(interval)), func(b *testing.B) {
			w, buf := ticking(million, interval), make([]ID, 256)
			now := tick(w, 0, interval, buf, million)
			var took []time.Duration
			for range b.N {
				from := time.Now()
				now = tick(w, now, interval, buf, 1)
				took = append(took, time.Since(from))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*998/1000].Microseconds()), "µs-99.8th")
		})
	}
}

func BenchmarkSet(b *testing.B) {
	w := ticking(million, 200)
	for i := range b.N {
		w.Set(ID(i)*7919%million, 1+Time(i)%200)
	}
}

// The case of a read that finds its place near enough: nothing moves.
func BenchmarkSoonerThatIsNot(b *testing.B) {
	w := ticking(million, 200)
	for i := range b.N {
		w.Sooner(ID(i)*7919%million, 300)
	}
}

func BenchmarkRemoveAndSet(b *testing.B) {
	w := ticking(million, 200)
	for i := range b.N {
		id := ID(i) * 7919 % million
		w.Remove(id)
		w.Set(id, 100)
	}
}

func BenchmarkNext(b *testing.B) {
	w := New(0)
	w.Set(1, 1<<30)
	for range b.N {
		w.Next()
	}
}

// A process that was suspended: an hour of nothing, at 5 ms a slot.
func BenchmarkAdvanceOverAnEmptyHour(b *testing.B) {
	w, buf, now := New(0), make([]ID, 1), Time(0)
	for range b.N {
		now += 720_000
		w.Set(1, now)
		w.Advance(now, buf)
	}
}
