//go:build linux

package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/server/wheel"
)

// naiveBacklog is what a backlog should be: frames in a row, each with the time it came.
type naiveBacklog struct {
	frames []naiveFrame
	since  wheel.Time // when what waits longest came, whatever was dropped before it; while aging
	aging  bool
}

type naiveFrame struct {
	data  []byte
	at    wheel.Time
	begun bool
	own   bool // queued by the connection's own OnMessage
	kind  segmentKind
	cost  int // of its segments, if it has its own
}

func (n *naiveBacklog) add(f naiveFrame) {
	if !n.aging {
		n.since, n.aging = f.at, true
	}
	n.frames = append(n.frames, f)
}

func (n *naiveBacklog) sent(count int) {
	if count == 0 {
		return
	}
	for ; count > 0 && count >= len(n.frames[0].data); n.frames = n.frames[1:] {
		count -= len(n.frames[0].data)
	}
	if n.aging = len(n.frames) > 0; n.aging {
		f := &n.frames[0]
		f.data, f.begun = f.data[count:], f.begun || count > 0
		n.since = f.at
	}
}

// drop is what backlog.drop should do.
func (n *naiveBacklog) drop(want int, spare bool) (messages int) {
	newest := -1
	for i, f := range n.frames {
		if f.kind == message {
			newest = i
		}
	}
	var kept []naiveFrame
	for i, f := range n.frames {
		if want > 0 && f.kind == message && !f.begun && !(spare && i == newest) {
			want -= len(f.data) + f.cost
			messages++
			continue
		}
		kept = append(kept, f)
	}
	n.frames = kept
	return messages
}

// cut is what backlog.cut should do.
func (n *naiveBacklog) cut() {
	n.frames = slices.DeleteFunc(n.frames, func(f naiveFrame) bool { return !f.begun && f.kind != farewell })
}

// placePong is what backlog.placePong should do.
func (n *naiveBacklog) placePong(frame []byte) {
	old := func(f naiveFrame) bool { return f.kind == pong && !f.begun }
	n.frames = slices.Insert(slices.DeleteFunc(n.frames, old), 0, naiveFrame{data: frame, at: n.since, kind: pong})
}

func (n *naiveBacklog) bytes() (all []byte) {
	for _, f := range n.frames {
		all = append(all, f.data...)
	}
	return all
}

// compare holds a backlog against the naive one.
func (n *naiveBacklog) compare(b *backlog) error {
	var all []byte
	for _, v := range b.vectors(make([][]byte, 0, len(b.segments))) {
		all = append(all, v...)
	}
	want := n.bytes()
	own, wantOwn := b.own, 0
	for _, s := range b.live() {
		if s.own {
			own -= segmentCost
		}
	}
	for _, f := range n.frames {
		if f.own {
			wantOwn += len(f.data)
		}
	}
	switch {
	case own != wantOwn:
		return fmt.Errorf("%d bytes are the connection's own, want %d", own, wantOwn)
	case !bytes.Equal(all, want):
		return fmt.Errorf("holds %d bytes, want %d, or others", len(all), len(want))
	case b.bytes() != len(want):
		return fmt.Errorf("bytes() is %d, want %d", b.bytes(), len(want))
	case b.held != len(want)+segmentCost*len(b.live()):
		return fmt.Errorf("held is %d for %d bytes in %d segments", b.held, len(want), len(b.live()))
	case b.empty() != (len(want) == 0) || b.empty() && (b.off != 0 || len(b.segments) > 0):
		return fmt.Errorf("%d segments for %d bytes, and offset %d", len(b.segments), len(want), b.off)
	case 2*b.first >= len(b.segments) && b.first > 0:
		return fmt.Errorf("%d of %d segments are empty", b.first, len(b.segments))
	case len(want) > 0:
		// The age of a segment is that of its first byte, which may be sent by now; frames were
		// gathered in it for joinFor at the most.
		if b.oldest().Before(n.since-joinFor) || n.since.Before(b.oldest()) {
			return fmt.Errorf("oldest() is %d, want %d", b.oldest(), n.since)
		}
	}
	for i, s := range b.segments[:b.first] {
		if s.data != nil || s.region != nil {
			return fmt.Errorf("segment %d is kept alive", i)
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
	put := func(size int, apart bool, l lease, kind segmentKind) {
		body := make([]byte, size)
		for i := range body {
			next++
			body[i] = next
		}
		var head []byte
		if head = appendHeader(nil, ws.OpBinary, size); !apart {
			head, body = nil, append(head, body...)
		}
		f := naiveFrame{data: slices.Concat(head, body), at: now, kind: kind, cost: segmentCost}
		if kind == rest { // of a frame that has begun, all but the first byte
			if f.data, f.begun = f.data[1:], true; apart {
				head = head[1:]
			} else {
				body = body[1:]
			}
		}
		if apart && l.holds(len(body)) {
			f.cost = frameCost
		}
		b.answering = size%3 == 0
		f.own = b.answering
		naive.add(f)
		b.put(head, body, l, kind, now)
	}
	for step := 0; len(tape) >= 3; step++ {
		op, x, y := tape[0], int(tape[1]), int(tape[2])
		tape = tape[3:]
		before, dropped, want := b.held, 0, 0
		switch op % 13 {
		case 0: // small ones
			put(x%15+y, x%2 == 0, lease{}, frames)
		case 1: // a large one
			put((x%96)<<8+y, x%2 == 0, lease{}, frames)
		case 2: // one that is shared
			put(4*x+y, y%2 == 0, lease{forever: true}, frames)
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
		case 6: // one that may be dropped
			put(x%15+y, x%2 == 0, lease{}, message)
		case 7: // and is shared
			put(4*x+y, y%2 == 0, lease{forever: true}, message)
		case 8: // one of which a part was sent at once
			if b.empty() {
				put(4*x+y+1, y%2 == 0, lease{forever: x%2 == 0}, rest)
			}
		case 9:
			put(x%125, false, lease{}, farewell)
		case 10:
			dropped, want = b.drop(x<<6, y%2 == 0), naive.drop(x<<6, y%2 == 0)
		case 11:
			dropped = b.cut()
			want = before - b.held
			naive.cut()
		case 12:
			if b.ping, b.pinged = bytes.Repeat([]byte{byte(x)}, y%126), true; b.empty() || b.inFrame() {
				b.pinged = false
				continue
			}
			b.placePong()
			naive.placePong(appendFrame(nil, ws.OpPong, b.ping))
		}
		if dropped != want {
			return fmt.Errorf("after step %d, %d %d %d: dropped %d, want %d", step, op, x, y, dropped, want)
		}
		if err := naive.compare(b); err != nil {
			return fmt.Errorf("after step %d, %d %d %d: %w", step, op, x, y, err)
		}
	}
	return nil
}

func TestBacklogAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		source := rand.New(rand.NewPCG(seed, 0))
		tape := make([]byte, 1200)
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
				b.add(small[:2], small, frames, 5)
			}
		}, 1},
		{"up to the limit", func(b *backlog) { b.add(nil, make([]byte, joinTo-10), frames, 5); b.add(nil, small, frames, 5) }, 1},
		{"past the limit", func(b *backlog) { b.add(nil, make([]byte, joinTo-9), frames, 5); b.add(nil, small, frames, 5) }, 2},
		{"in time", func(b *backlog) { b.add(nil, small, frames, 5); b.add(nil, small, frames, 5+joinFor) }, 1},
		{"too late", func(b *backlog) { b.add(nil, small, frames, 5); b.add(nil, small, frames, 6+joinFor) }, 2},
		{"behind a shared one", func(b *backlog) { b.share(small, nil, frames, 5); b.add(nil, small, frames, 5) }, 2},
		{"behind a message that may be dropped", func(b *backlog) { b.add(nil, small, message, 5); b.add(nil, small, frames, 5) }, 2},
		{"a message that may be dropped behind others", func(b *backlog) { b.add(nil, small, frames, 5); b.add(nil, small, message, 5) }, 2},
		{"messages that may be dropped", func(b *backlog) { b.add(nil, small, message, 5); b.add(nil, small, message, 5) }, 2},
		{"shared ones", func(b *backlog) { b.share(small, nil, frames, 5); b.share(small, nil, frames, 5) }, 2},
	} {
		b := new(backlog)
		c.do(b)
		if len(b.segments) != c.want {
			t.Errorf("%s: %d segments, want %d", c.name, len(b.segments), c.want)
		}
	}
	prepared := append(make([]byte, 0, 100), "prepared"...)
	b := new(backlog)
	b.share(prepared, nil, frames, 5)
	b.add(nil, []byte("!"), frames, 5)
	if got := prepared[:9][8]; got != 0 {
		t.Errorf("%q was written behind a prepared frame", got)
	}
}

// TestBacklogKeepsACopy of what it may not keep.
func TestBacklogKeepsACopy(t *testing.T) {
	t.Parallel()
	head, body := []byte("he"), []byte("llo")
	b := new(backlog)
	b.add(head, body, frames, 0)
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
		b.share(make([]byte, 10), nil, frames, 3)
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

// TestBacklogPongWaitsForTheFrame: of a frame that has begun no more than its rest is sent before a pong that waits.
func TestBacklogPongWaitsForTheFrame(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(b *backlog, body []byte){
		"of several in a segment": func(b *backlog, body []byte) { b.add(appendHeader(nil, ws.OpBinary, len(body)), body, frames, 0) },
		"that is shared": func(b *backlog, body []byte) {
			b.put(appendHeader(nil, ws.OpBinary, len(body)), body, lease{forever: true}, frames, 0)
		},
	} {
		for _, begun := range []int{0, 1, 3, 500, 1003, 1004, 1005} { // bytes, of frames of 1,004
			b := new(backlog)
			for range 3 {
				put(b, make([]byte, 1000))
			}
			b.sent(begun)
			b.ping, b.pinged = []byte("p"), true
			if rest := 1004 - begun%1004; b.inFrame() {
				if n := len(bytes.Join(b.vectors(make([][]byte, 0, 16)), nil)); n != rest {
					t.Errorf("%s, %d bytes are sent: %d follow, want %d", name, begun, n, rest)
				}
				b.sent(rest)
			} else if begun%1004 != 0 {
				t.Errorf("%s, %d bytes are sent: no frame has begun", name, begun)
			}
			b.placePong()
			all := bytes.Join(b.vectors(make([][]byte, 0, 16)), nil)
			if want := appendFrame(nil, ws.OpPong, []byte("p")); !bytes.HasPrefix(all, want) || (len(all)-len(want))%1004 != 0 {
				t.Errorf("%s, %d bytes are sent: %d follow, and no pong is first", name, begun, len(all))
			}
		}
	}
}

// TestBacklogBegunInARegion: of a large frame the header's page is given back while the frame is sent. It is still a
// frame that has begun, before which no pong goes and of which cut keeps the rest.
func TestBacklogBegunInARegion(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("x"), 3*regionFrom)
	frame := appendFrame(nil, ws.OpBinary, body)
	for name, put := range map[string]func(*backlog){
		"copied":     func(b *backlog) { b.add(appendHeader(nil, ws.OpBinary, len(body)), body, frames, 0) },
		"droppable":  func(b *backlog) { b.add(appendHeader(nil, ws.OpBinary, len(body)), body, message, 0) },
		"compressed": func(b *backlog) { b.share(frame, nil, frames, 0) },
	} {
		for _, sent := range []int{1, 2, 2 * regionFrom, 2*regionFrom + 1} {
			b := new(backlog)
			put(b)
			b.add(nil, appendFrame(nil, ws.OpText, []byte("next")), frames, 0)
			b.sent(sent)
			if !b.inFrame() {
				t.Fatalf("%s, %d bytes are sent: no frame has begun", name, sent)
			}
			b.cut()
			if rest := bytes.Join(b.vectors(make([][]byte, 0, 16)), nil); !bytes.Equal(rest, frame[sent:]) {
				t.Errorf("%s, %d bytes are sent: %d are kept, want %d", name, sent, len(rest), len(frame)-sent)
			}
		}
	}
}

// TestBacklogFreesWhatIsSent: a sent segment is not kept alive by the array it was in.
func TestBacklogFreesWhatIsSent(t *testing.T) {
	t.Parallel()
	b := new(backlog)
	for range 4 {
		b.share(make([]byte, 10), nil, frames, 3)
	}
	b.sent(20)
	for i, s := range b.segments[2:4] {
		if s.data != nil {
			t.Errorf("segment %d is kept alive", i)
		}
	}
}
