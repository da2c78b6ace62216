package soak

import (
	"strconv"
	"time"

	"github.com/gobwas/ws"
)

// thing is something that a client does.
type thing struct {
	name   string
	weight int
	at     []string // the places where it is done; none are all
	do     func(*life) error
}

// things are what clients do while they are connected.
var things = []*thing{
	{name: "text", weight: 6, do: func(l *life) error { return l.say(wishNone, 0, l.size(16<<10), true) }},
	{name: "binary", weight: 6, do: func(l *life) error { return l.say(wishNone, 0, l.size(16<<10), false) }},
	{name: "nothing in a message", weight: 2, do: func(l *life) error { return l.say(wishNone, 0, 0, l.coin()) }},
	{name: "a large message", weight: 2, do: func(l *life) error { return l.say(wishEcho, 0, largest/2+l.rng.IntN(largest/2), l.coin()) }},
	{name: "a large message, forwarded back", weight: 2, do: func(l *life) error { return l.say(wishForward, 0, largest/2+l.rng.IntN(largest/2), l.coin()) }},
	{name: "many messages at once", weight: 2, do: (*life).many},
	{name: "fragments", weight: 3, do: func(l *life) error {
		return l.saySplit(l.size(64<<10), l.coin(), func() error { return nil })
	}},
	{name: "fragments with pings between", weight: 2, do: func(l *life) error { return l.saySplit(l.size(16<<10), l.coin(), l.ping) }},
	{name: "a frame byte by byte", weight: 1, do: (*life).drip},
	{name: "ping", weight: 3, do: (*life).ping},
	{name: "ask for an echo", weight: 6, do: func(l *life) error { return l.say(wishEcho, 0, l.size(16<<10), l.coin()) }},
	{name: "ask for an echo by Forward", weight: 3, do: func(l *life) error { return l.say(wishForward, 0, l.size(16<<10), l.coin()) }},
	{name: "a message for another client", weight: 3, do: func(l *life) error { return l.say(wishPassOn, 0, l.size(100<<10), l.coin()) }},
	{name: "ask for answers", weight: 3, do: func(l *life) error { return l.say(wishAnswers, answersArg(1+l.rng.IntN(12), 6+l.rng.IntN(8)), 0, true) }},
	{name: "ask for answers from another goroutine", weight: 3, do: func(l *life) error { return l.say(wishAside, answersArg(1+l.rng.IntN(12), 6+l.rng.IntN(8)), 0, true) }},
	{name: "ask for a broadcast", weight: 1, do: func(l *life) error { return l.say(wishBroadcast, uint16(l.size(4<<10)), 0, true) }},
	{name: "ask for other ticks", weight: 2, do: func(l *life) error { return l.say(wishEvery, uint16(50*l.rng.IntN(10)), 0, true) }},
	{name: "ask for a handler that takes long", weight: 2, at: []string{"/working"}, do: func(l *life) error { return l.say(wishBlock, uint16(1+l.rng.IntN(60)), 0, true) }},
	{name: "say nothing until asked for a sign of life", weight: 1, at: []string{"/kept"}, do: func(*life) error { time.Sleep(2 * keepTime); return nil }},
	{name: "stall", weight: 1, do: (*life).stallABit},
	{name: "stall in the midst of a frame", weight: 1, do: (*life).stallInside},
}

// What happens beside that, and is counted.
const (
	didPong      = "a ping of the server's answered"
	didPonged    = "a pong heard"
	didDeflate   = "a compressed message sent"
	didDeflateOn = "a compressed message sent that goes on from others"
	didInflate   = "a compressed message heard"
	didInflateOn = "a compressed message heard that goes on from others"
)

// names are all that clients count.
func names() (all []string) {
	all = []string{didPong, didPonged, didDeflate, didDeflateOn, didInflate, didInflateOn}
	for _, list := range [][]*thing{comings, things, goings} {
		for _, t := range list {
			all = append(all, t.name)
		}
	}
	return all
}

func (l *life) coin() bool { return l.rng.IntN(2) == 0 }

func (l *life) ping() error {
	return l.frame(ws.NewPingFrame([]byte(strconv.Itoa(int(l.pings.Add(1))))))
}

// many sends small messages in one write.
func (l *life) many() error {
	var all []byte
	from := l.sent.sent
	for range 20 + l.rng.IntN(200) {
		data, op, rsv := l.payload(l.next(wishNone, 0, l.size(100)), l.coin())
		f := ws.NewFrame(op, true, data)
		f.Header.Rsv = rsv
		all = append(all, compile(f)...)
		l.sent.sent++
	}
	err := l.raw(all, false)
	if err == errOver {
		l.sent.sent = from
	}
	return err
}

// drip sends a frame byte by byte.
func (l *life) drip() error {
	begin, rest := l.half(100)
	return l.inParts(func() error { return l.feed(append(begin, rest...), true) })
}

// stallInside sends the first part of a frame, and the rest a while later.
func (l *life) stallInside() error {
	begin, rest := l.half(16 << 10)
	return l.inParts(func() error {
		if err := l.write(begin); err != nil {
			return err
		}
		time.Sleep(l.upTo(300 * time.Millisecond))
		return l.write(rest)
	})
}

// inParts keeps others from sending in between. The frame counts as a message.
func (l *life) inParts(send func() error) error {
	l.frames.Lock()
	defer l.frames.Unlock()
	if l.urgent.closing.Load() {
		return errOver
	}
	l.sent.sent++
	return send()
}

// stallABit asks for something and does not read for a while.
func (l *life) stallABit() error {
	l.stall(l.upTo(time.Second))
	return l.say(wishAnswers, answersArg(16, 14), 0, true)
}

func (l *life) stall(d time.Duration) {
	select {
	case l.stalls <- d:
	default: // it still does from the last time
	}
}

func (l *life) upTo(d time.Duration) time.Duration { return time.Duration(l.rng.Int64N(int64(d))) }
