package main

import (
	"runtime"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// TestEasyGoHalfMessages: more peers than there are workers send half a message. Each costs a worker
// its deadline, and no more, so that others are served.
func TestEasyGoHalfMessages(t *testing.T) {
	t.Parallel()
	s := serve(t, "easygo", "--io-timeout", "100ms")
	good := dial(t, s.addr, "/echo")
	for range 2 {
		for range easyGoWorkers + 10 {
			c := dial(t, s.addr, "/echo")
			c.send(ws.OpText, []byte("whole")) // the registration is renewed
			c.want(ws.OpText, []byte("whole"))
			c.write(clientFrame(ws.OpText, true, []byte("half"))[:8])
		}
		good.send(ws.OpText, []byte("good"))
		good.want(ws.OpText, []byte("good"))
	}
}

// TestPoolIsBounded: as many tasks run at once as there are workers, and not one more.
func TestPoolIsBounded(t *testing.T) {
	const workers, tasks = 4, 100
	p := newPool(workers)
	defer func() {
		for range workers {
			p.schedule(runtime.Goexit)
		}
	}()
	var mu sync.Mutex
	running, most := 0, 0
	full, done := make(chan struct{}), sync.WaitGroup{}
	task := func() {
		mu.Lock()
		running++
		most = max(most, running)
		if running == workers && most == workers {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full // until all workers are busy
		mu.Lock()
		running--
		mu.Unlock()
		done.Done()
	}
	done.Add(tasks)
	for range tasks {
		p.schedule(task)
	}
	done.Wait()
	if most != workers {
		t.Errorf("%d tasks ran at once, not %d", most, workers)
	}
}
