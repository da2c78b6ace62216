package netpoll

import (
	"testing"
	"time"
)

func TestAlarm(t *testing.T) {
	t.Parallel()
	a, err := NewAlarm()
	must(t, err)
	checkRaw(t, int(a.timer))
	wait := func() <-chan struct{} {
		return parked(t, func() {
			if err := a.Wait(); err != nil {
				t.Errorf("Wait: %v", err)
			}
		})
	}
	start := time.Now()
	a.Set(moment)
	must(t, a.Wait())
	if took := time.Since(start); took < moment {
		t.Errorf("set to %v, it came after %v", moment, took)
	}

	done := wait() // what is set is heard of once
	a.Set(time.Hour)
	a.Set(0) // instead of the hour
	finishes(t, done, "Wait")

	a.Set(moment)
	a.Stop()
	done = wait()
	select {
	case <-done:
		t.Error("an alarm that was stopped came")
	case <-time.After(2 * moment):
	}
	a.Set(-time.Second)
	finishes(t, done, "Wait")

	done = parked(t, func() {
		if err := a.Wait(); err != ErrClosed {
			t.Errorf("Wait at Close: %v", err)
		}
	})
	must(t, a.Close())
	finishes(t, done, "Wait")
	if err := a.Wait(); err != ErrClosed {
		t.Errorf("Wait after Close: %v", err)
	}
}
