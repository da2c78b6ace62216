package wheel

import (
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

// What the caller waits for at worst, which would be the slot at which a farther slot begins if that
// was not handed down ahead of time. It is the longest of all, so it also shows what else the machine
// has to do.
func BenchmarkLongestAdvance(b *testing.B) {
	for _, interval := range []Time{200, 400, 6000} {
		b.Run((time.Duration(interval) * 5 * time.Millisecond).String(), func(b *testing.B) {
			w, buf := ticking(million, interval), make([]ID, 256)
			now := tick(w, 0, interval, buf, million)
			var longest time.Duration
			for range b.N {
				from := time.Now()
				now = tick(w, now, interval, buf, 1)
				longest = max(longest, time.Since(from))
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
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
