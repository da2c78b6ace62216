package netpoll

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestThreadCPU: a thread's clock advances while the thread computes; there is none for what is no thread of
// this process.
func TestThreadCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := ThreadID()
	before, ok := ThreadCPU(tid)
	if !ok {
		t.Fatal("the own thread has no clock")
	}
	for end := time.Now().Add(20 * time.Second); ; {
		now, ok := ThreadCPU(tid)
		if ok && now > before+time.Millisecond {
			break
		}
		if !ok || time.Now().After(end) {
			t.Fatalf("the clock stands at %v: %v", now, ok)
		}
	}
	for _, other := range []int{0, -1, os.Getppid()} {
		if cpu, ok := ThreadCPU(other); ok {
			t.Errorf("thread %d has used %v", other, cpu)
		}
	}
}
