package bench

import (
	"context"
	"sync"
	"time"
)

const (
	// strainPeriod is how often memory is looked at for its peak.
	strainPeriod = 100 * time.Millisecond
	// backlogPeriod is the same for the server's own account, which costs it more to give.
	backlogPeriod = time.Second
)

// strain is what stalled connections cost: memory, of which it has a goroutine look for the peak, and what
// becomes of them. It is nothing if there are none.
type strain struct {
	run     *run
	metrics *metricsClient // nil without MetricsURL
	done    chan struct{}
	ended   chan struct{}
	stop    func()

	mu                 sync.Mutex
	rss, sockets, slab *Level // of the server, if its process id is known, and of the kernel
	backlog            *Level // by the server's own account, with metrics
	accounted          time.Time
	err                error // of the goroutine, until it has ended
}

func newStrain(o BroadcastOptions, r *run) (*strain, error) {
	s := &strain{run: r, stop: func() {}}
	if o.Stalled == 0 {
		return s, nil
	}
	var err error
	if s.metrics, err = newMetrics(o.MetricsURL); err != nil {
		return nil, err
	}
	if s.metrics != nil {
		s.backlog = new(Level)
	}
	s.sockets, s.slab = new(Level), new(Level)
	if r.server != nil {
		s.rss = new(Level)
	}
	if err := s.look((*Level).begin); err != nil {
		return nil, err
	}
	s.done, s.ended = make(chan struct{}), make(chan struct{})
	s.stop = sync.OnceFunc(func() {
		close(s.done)
		<-s.ended
	})
	go s.watch()
	return s, nil
}

func (s *strain) watch() {
	defer close(s.ended)
	ticker := time.NewTicker(strainPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
			if err := s.look((*Level).note); err != nil {
				s.err = err
				return
			}
		}
	}
}

// look takes what memory there is. Of the server's it takes the counter that is quick to read, because the
// server is stopped meanwhile.
func (s *strain) look(into func(*Level, int64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rss != nil {
		bytes, err := readField(s.run.server.path("status"), "VmRSS:")
		if err != nil {
			return err
		}
		into(s.rss, bytes)
	}
	sockets, err := socketMemory()
	if err != nil {
		return err
	}
	into(s.sockets, sockets)
	kernel, err := kernelMemory()
	if err != nil {
		return err
	}
	into(s.slab, kernel.Slab)
	return s.account(into)
}

// account asks the server what it holds, at the beginning, every now and then, and at the end.
func (s *strain) account(into func(*Level, int64)) error {
	if s.metrics == nil || time.Since(s.accounted) < backlogPeriod {
		return nil
	}
	bytes, err := s.metrics.backlog()
	if err != nil {
		return err
	}
	s.accounted = time.Now()
	into(s.backlog, bytes)
	return nil
}

// result lets the stalled connections read at last, and tells of them. It is for when all else has been
// measured: a server that waited for them goes on now.
func (s *strain) result(ctx context.Context) (*StalledResult, error) {
	if s.err != nil {
		return nil, s.err
	}
	r := s.run
	meanwhile := sum(r.fleet.census().ends)
	r.catchUp(ctx.Done())
	s.accounted = time.Time{}
	if err := s.look((*Level).end); err != nil {
		return nil, err
	}
	result := &StalledResult{
		Open: r.stalledOpen(), Ends: r.fleet.census().ends, EndedMeanwhile: meanwhile,
		RSS: s.rss, Backlog: s.backlog, Sockets: *s.sockets, Slab: *s.slab,
	}
	r.fleet.each(func(l *loop) {
		of := l.scenario.(*listening)
		result.Conns += of.stalled
		result.Late += of.late
		result.Never += int64(of.stalled)*int64(of.board.posted()) - of.late
	})
	return result, r.fleet.err()
}
