package million

import (
	"time"
)

// sampler takes a point each second, shows how far things are, and sees that memory does not run out. It
// has a goroutine of its own.
type sampler struct {
	run    *run
	done   chan struct{}
	ended  chan struct{}
	points []Point

	last   Point // its state is known, its rates are not: the children report a little later
	at     time.Time
	counts counts // before it
	cpu    [2]time.Duration
	lastAt time.Time
}

const sampleEach = time.Second

// mostPoints bounds a series: a day.
const mostPoints = 24 * 60 * 60

func startSampler(r *run) *sampler {
	s := &sampler{run: r, done: make(chan struct{}), ended: make(chan struct{})}
	go s.watch()
	return s
}

// stop ends it, and returns the series.
func (s *sampler) stop() []Point {
	close(s.done)
	<-s.ended
	return s.points
}

func (s *sampler) watch() {
	defer close(s.ended)
	s.look(time.Now())
	ticker := time.NewTicker(sampleEach)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			s.complete()
			return
		case now := <-ticker.C:
			s.complete()
			s.look(now)
			s.run.show.update(s.run.crew.now(), s.points[len(s.points)-1])
			s.guard()
		}
	}
}

// look takes what is known at once.
func (s *sampler) look(now time.Time) {
	r := s.run
	server, client := cpuOf(r.crew.servers), cpuOf(r.crew.clients)
	took := now.Sub(s.at)
	s.last = Point{
		ServerRSSBytes: rssOf(r.crew.servers), ClientRSSBytes: rssOf(r.crew.clients),
		SlabBytes: slab(), AvailableBytes: available(),
	}
	s.last.Phase, s.last.Second = r.now()
	if !s.at.IsZero() {
		s.last.ServerCPUPercent = percent(server-s.cpu[0], took)
		s.last.ClientCPUPercent = percent(client-s.cpu[1], took)
	}
	s.cpu, s.lastAt, s.at = [2]time.Duration{server, client}, s.at, now
}

// complete adds what the children have told of that moment by now.
func (s *sampler) complete() {
	now := s.run.crew.at(s.at)
	p, n := s.last, now.minus(s.counts)
	p.Opened, p.Open, p.Lost, p.Unread = now[opened], now[open], now[lost], max(0, now[sent]-now[received])
	if took := s.at.Sub(s.lastAt).Seconds(); !s.lastAt.IsZero() {
		p.OpenedPerSecond = float64(n[opened]) / took
		p.ReceivedPerSecond = float64(n[received]) / took
		p.TicksPerSecond = float64(n[ticks]) / took
		p.OnTimePerSecond = float64(n[punctual]) / took
		p.SkippedPerSecond = float64(n[skipped]) / took
	}
	if s.counts = now; len(s.points) < mostPoints {
		s.points = append(s.points, p)
	}
}

// guard ends the run before memory is so short that the kernel ends something else.
func (s *sampler) guard() {
	l := s.run.limits
	if s.last.AvailableBytes != unknown && s.last.AvailableBytes < l.MemTotal/spareMemory/2 {
		s.run.cancel(ErrRunningLow)
	}
}
