//go:build linux

package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stillpool/stillpool/server/wheel"
)

// naiveBacklog is what a backlog should be: bytes in a row, each with the time it came.
type naiveBacklog struct {
	bytes []byte
	times []wheel.Time
}

func (n *naiveBacklog) add(now wheel.Time, parts ...[]byte) {
	for _, p := range parts {
		n.bytes = append(n.bytes, p...)
		for range p {
			n.times = append(n.times, now)
		}
	}
}

func (n *naiveBacklog) sent(count int) {
	n.bytes, n.times = n.bytes[count:], n.times[count:]
}

// compare holds a backlog against the naive one.
func (n *naiveBacklog) compare(b *backlog) error {
	var all []byte
	for _, v := range b.vectors(make([][]byte, 0, len(b.segments))) {
		all = append(all, v...)
	}
	switch {
	case !bytes.Equal(all, n.bytes):
		return fmt.Errorf("holds %d bytes, want %d, or others", len(all), len(n.bytes))
	case b.bytes() != len(n.bytes):
		return fmt.Errorf("bytes() is %d, want %d", b.bytes(), len(n.bytes))
	case b.held != len(n.bytes)+segmentCost*len(b.segments):
		return fmt.Errorf("held is %d for %d bytes in %d segments", b.held, len(n.bytes), len(b.segments))
	case len(n.bytes) == 0 && len(b.segments) > 0:
		return fmt.Errorf("%d segments for no bytes", len(b.segments))
	case len(n.bytes) > 0:
		// The age of a segment is that of its first byte, which may be sent by now; frames were
		// gathered in it for joinFor at the most.
		if b.oldest().Before(n.times[0]-joinFor) || n.times[0].Before(b.oldest()) {
			return fmt.Errorf("oldest() is %d, want %d", b.oldest(), n.times[0])
		}
	}
	return nil
}

// backlogTape runs operations that bytes stand for, and holds what comes of each against the naive
// backlog. Every third byte says what, the other two how much.
func backlogTape(tape []byte) error {
	b, naive := new(backlog), new(naiveBacklog)
	now := wheel.Time(1<<32 - 500) // the time may wrap
	next := byte(0)
	fill := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			next++
			p[i] = next
		}
		return p
	}
	for step := 0; len(tape) >= 3; step++ {
		op, x, y := tape[0], int(tape[1]), int(tape[2])
		tape = tape[3:]
		switch op % 6 {
		case 0: // small frames
			head, body := fill(x%15), fill(y+1)
			b.add(head, body, now)
			naive.add(now, head, body)
		case 1: // a large one
			body := fill((x%96)<<8 + y + 1)
			b.add(nil, body, now)
			naive.add(now, body)
		case 2: // the rest of one that is shared
			body := fill(x + y + 1)
			b.share(body, nil, now)
			naive.add(now, body)
		case 3: // the socket takes some
			n := min((x%96)<<8+y, b.bytes())
			b.sent(n)
			naive.sent(n)
		case 4: // and exactly the first segments
			n := 0
			for _, v := range b.vectors(make([][]byte, 0, 1+x%4)) {
				n += len(v)
			}
			b.sent(n)
			naive.sent(n)
		case 5:
			now += wheel.Time(x)
		}
		if err := naive.compare(b); err != nil {
			return fmt.Errorf("after step %d, %d %d %d: %w", step, op, x, y, err)
		}
	}
	return nil
}

func TestBacklogAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		source := rand.New(rand.NewPCG(seed, 0))
		tape := make([]byte, 600)
		for i := range tape {
			tape[i] = byte(source.Uint32())
		}
		if err := backlogTape(tape); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestBacklogJoins: small frames share a segment, as long as it is small and young; a prepared one is
// never written to.
func TestBacklogJoins(t *testing.T) {
	t.Parallel()
	small := make([]byte, 10)
	for _, c := range []struct {
		name string
		do   func(b *backlog)
		want int // segments
	}{
		{"a thousand small ones", func(b *backlog) {
			for range 1000 {
				b.add(small[:2], small, 5)
			}
		}, 1},
		{"up to the limit", func(b *backlog) { b.add(nil, make([]byte, joinTo-10), 5); b.add(nil, small, 5) }, 1},
		{"past the limit", func(b *backlog) { b.add(nil, make([]byte, joinTo-9), 5); b.add(nil, small, 5) }, 2},
		{"in time", func(b *backlog) { b.add(nil, small, 5); b.add(nil, small, 5+joinFor) }, 1},
		{"too late", func(b *backlog) { b.add(nil, small, 5); b.add(nil, small, 6+joinFor) }, 2},
		{"behind a shared one", func(b *backlog) { b.share(small, nil, 5); b.add(nil, small, 5) }, 2},
		{"shared ones", func(b *backlog) { b.share(small, nil, 5); b.share(small, nil, 5) }, 2},
	} {
		b := new(backlog)
		c.do(b)
		if len(b.segments) != c.want {
			t.Errorf("%s: %d segments, want %d", c.name, len(b.segments), c.want)
		}
	}
	prepared := append(make([]byte, 0, 100), "prepared"...)
	b := new(backlog)
	b.share(prepared, nil, 5)
	b.add(nil, []byte("!"), 5)
	if got := prepared[:9][8]; got != 0 {
		t.Errorf("%q was written behind a prepared frame", got)
	}
}

// TestBacklogKeepsACopy of what it may not keep.
func TestBacklogKeepsACopy(t *testing.T) {
	t.Parallel()
	head, body := []byte("he"), []byte("llo")
	b := new(backlog)
	b.add(head, body, 0)
	copy(head, "xx")
	copy(body, "xxx")
	if got := bytes.Join(b.vectors(make([][]byte, 0, 4)), nil); string(got) != "hello" {
		t.Errorf("it became %q", got)
	}
}

// TestBacklogRecycled: what comes out of the pool is empty, and keeps nobody's frames alive.
func TestBacklogRecycled(t *testing.T) {
	t.Parallel()
	b := new(backlog)
	for range 5 {
		b.share(make([]byte, 10), nil, 3)
	}
	b.sent(25)
	b.recycle()
	if b.held != 0 || b.off != 0 || len(b.segments) != 0 {
		t.Errorf("recycled: %+v", b)
	}
	for i, s := range b.segments[:cap(b.segments)] {
		if s.data != nil {
			t.Errorf("segment %d is kept alive", i)
		}
	}
}

// TestBacklogFreesWhatIsSent: a sent segment is not kept alive by the array it was in.
func TestBacklogFreesWhatIsSent(t *testing.T) {
	t.Parallel()
	b := new(backlog)
	for range 4 {
		b.share(make([]byte, 10), nil, 3)
	}
	b.sent(20)
	for i, s := range b.segments[2:4] {
		if s.data != nil {
			t.Errorf("segment %d is kept alive", i)
		}
	}
}
