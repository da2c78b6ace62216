//go:build linux

package netpoll

import (
	"math/rand/v2"
	"testing"
)

// FuzzPoller holds a sequence of calls against a model of what the poller owes. Each byte is one
// call on one of four streams.
func FuzzPoller(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		calls := make([]byte, 60)
		for i := range calls {
			calls[i] = byte(r.Uint32())
		}
		f.Add(calls)
	}
	f.Fuzz(func(t *testing.T, calls []byte) {
		for _, b := range []Backend{Epoll, EasyGo} {
			m := model{t: t, p: open(t, b), given: map[Token]bool{}}
			for i := range m.streams {
				m.streams[i] = &stream{}
				m.streams[i].sock, m.streams[i].peer = unixPair(t)
			}
			for _, call := range calls[:min(len(calls), 200)] { // as much as a socket takes unread, one byte at a time
				m.call(m.streams[call%4], call/4%8)
			}
			m.settle()
		}
	})
}

// model knows of each stream whether an event must come. More events may: they are hints.
type model struct {
	t       *testing.T
	p       Poller
	streams [4]*stream
	given   map[Token]bool // all tokens there ever were
	next    Token
}

type stream struct {
	*sock
	peer   *sock
	tok    Token // zero if not registered
	want   Interest
	unread bool
	owed   Ready // bits of which at least one must come
}

func (m *model) call(s *stream, call byte) {
	switch call {
	case 0:
		m.register(s, m.p.Add, s.tok != 0)
	case 1:
		m.register(s, m.p.Modify, s.tok == 0)
	case 2:
		m.remove(s)
	case 3:
		s.peer.send("x")
		s.unread = true
		m.owe(s)
	case 4:
		s.drain()
		s.unread = false
		s.owed &^= Readable
	case 5:
		if s.tok != 0 {
			m.remove(s)
		}
		fresh, peer := unixPair(m.t)
		s.replaceBy(fresh)
		s.peer.close()
		s.peer, s.unread = peer, false
	case 6:
		m.note(wait(m.t, m.p, 0))
	case 7:
		m.p.Wake()
		m.note(wait(m.t, m.p, bound)) // returns, by the Wake or by an event
	}
}

func (m *model) register(s *stream, do func(int, Token, Interest) error, mustFail bool) {
	m.next++
	want := Interest(m.next % 4)
	err := do(s.fd, m.next, want)
	if mustFail != (err != nil) {
		m.t.Fatalf("registered as %d, and as %d: %v", s.tok, m.next, err)
	}
	if err == nil {
		s.tok, s.want = m.next, want
		s.owed = 0
		if want&Write != 0 {
			s.owed = Writable // nothing is ever sent from this end, so there is room
		}
		m.owe(s)
		m.given[s.tok] = true
	}
}

// owe takes down that data is to be reported.
func (m *model) owe(s *stream) {
	if s.tok != 0 && s.want&Read != 0 && s.unread {
		s.owed |= Readable
	}
}

func (m *model) remove(s *stream) {
	if err := m.p.Remove(s.fd); (err == nil) != (s.tok != 0) {
		m.t.Fatalf("Remove of what is registered as %d: %v", s.tok, err)
	}
	s.tok, s.owed = 0, 0
}

func (m *model) note(events []Event) {
	for _, ev := range events {
		if !m.given[ev.Token] {
			m.t.Fatalf("token %d is nobody's", ev.Token)
		}
		for _, s := range m.streams {
			if s.tok == ev.Token {
				s.owed = 0
			}
		}
	}
}

func (m *model) settle() {
	m.note(flush(m.t, m.p))
	for i, s := range m.streams {
		if s.owed != 0 {
			m.t.Errorf("stream %d: %q was never reported", i, s.owed)
		}
	}
}
