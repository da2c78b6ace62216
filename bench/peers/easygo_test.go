package main

import (
	"runtime"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// TestEasyGoHalfMessages: more peers than there are workers send half a message. Each costs a worker
// its deadline, and no more, so that others are served; a ping that nothing follows costs none.
func TestEasyGoHalfMessages(t *testing.T) {
	t.Parallel()
	s := serve(t, "easygo", "--io-timeout", "100ms")
	good := dial(t, s.addr, "/echo")
	for range 2 {
		good.send(ws.OpPing, nil)
		good.want(ws.OpPong, nil)
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

// TestPoolIsBounded: while all workers are busy there is no room for one task more, and afterwards all
// are done.
func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	const workers, tasks = 4, 100
	p := newPool(workers)
	busy, release := make(chan struct{}), make(chan struct{})
	for range workers {
		p.schedule(func() { busy <- struct{}{}; <-release })
		<-busy
	}
	select {
	case p.tasks <- func() {}:
		t.Error("a worker is idle")
	case p.slots <- struct{}{}:
		t.Error("another worker could be started")
	default:
	}
	close(release)
	var done sync.WaitGroup
	done.Add(tasks)
	for range tasks {
		p.schedule(done.Done)
	}
	done.Wait()
	for range workers {
		p.schedule(runtime.Goexit) // or the goroutines would count as leaked
	}
}
