package wheel_test

import (
	"fmt"

	"github.com/stillpool/stillpool/server/wheel"
)

// Two connections are ticked every 200 slots and a third has a deadline. The caller sleeps until Next
// each time; here, time is only a number.
func Example() {
	const interval = 200
	now := wheel.Time(1000)
	w := wheel.New(now)
	for id := range wheel.ID(2) {
		phase := wheel.Phase(uint64(id), interval)
		w.Set(id, wheel.FirstDue(now, phase, interval))
	}
	const deadline = wheel.ID(2)
	w.Set(deadline, now+300)

	due := make([]wheel.ID, 8)
	for w.Len() == 3 {
		now, _ = w.Next()
		for _, id := range due[:w.Advance(now, due)] {
			fmt.Println(now, "id", id)
			if id != deadline {
				w.Set(id, now+interval)
			}
		}
	}
	// Output:
	// 1123 id 1
	// 1200 id 0
	// 1300 id 2
}
