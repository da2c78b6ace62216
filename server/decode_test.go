//go:build linux

package server

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// said is a unit with bytes of its own.
type said struct {
	op   ws.OpCode
	data string
}

func (s said) String() string { return drawn(s.op, s.data) }

// feed gives a decoder chunk after chunk, each in memory that is another's afterwards, and returns
// what it said, how many bytes it was given, and its error.
func feed(d *decoder, chunks [][]byte) (all []said, given int, err error) {
	for _, chunk := range chunks {
		mine := bytes.Clone(chunk)
		given += len(mine)
		for p := mine; len(p) > 0; {
			var u unit
			if u, p, err = d.next(p); err != nil {
				return all, given, err
			}
			if u.ok {
				all = append(all, said{u.op, string(u.data)})
			}
		}
		for i := range mine {
			mine[i] = 0xee
		}
	}
	return all, given, nil
}

// roomy is a decoder that no limit hinders.
func roomy() *decoder { return &decoder{limit: 1 << 20, budget: &budget{limit: 1 << 30}} }

// cont is a continuation frame, the last of its message or not.
func cont(fin bool, payload string) []byte { return fragment(ws.OpContinuation, fin, payload) }

// headerOf is the header of a frame whose payload does not come.
func headerOf(op ws.OpCode, fin bool, length int64) []byte {
	var b bytes.Buffer
	ws.WriteHeader(&b, ws.Header{Fin: fin, OpCode: op, Masked: true, Mask: maskKey, Length: length})
	return b.Bytes()
}

// TestDecode has streams that are right. However they are split, they say the same.
func TestDecode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("abcdefgh", 60)
	for _, c := range []struct {
		name   string
		stream []byte
		want   []said
	}{
		{"5.7 a masked Hello, as it is drawn there", cat(bits("1 000 0001 | 1 0000101"+key), "\x7f\x9f\x4d\x51\x58"), []said{{ws.OpText, "Hello"}}},
		{"5.6 binary is anything", frame(ws.OpBinary, "\xff\x00\xc0"), []said{{ws.OpBinary, "\xff\x00\xc0"}}},
		{"5.2 empty messages", cat(frame(ws.OpText, ""), frame(ws.OpBinary, "")), []said{{ws.OpText, ""}, {ws.OpBinary, ""}}},
		{"5.2 16 bits of length", frame(ws.OpText, long), []said{{ws.OpText, long}}},
		{"5.4 fragments", cat(fragment(ws.OpText, false, "Hel"), cont(false, "l"), cont(true, "o")), []said{{ws.OpText, "Hello"}}},
		{"5.4 empty fragments", cat(fragment(ws.OpText, false, ""), cont(false, ""), cont(false, "x"), cont(false, ""), cont(true, "")), []said{{ws.OpText, "x"}}},
		{"5.4 nothing but empty fragments", cat(fragment(ws.OpBinary, false, ""), cont(true, "")), []said{{ws.OpBinary, ""}}},
		{"5.4 everything in the last fragment", cat(fragment(ws.OpText, false, ""), cont(true, "all")), []said{{ws.OpText, "all"}}},
		{"5.4 control frames between fragments",
			cat(fragment(ws.OpText, false, "Hel"), frame(ws.OpPing, "p1"), cont(false, "lo "), frame(ws.OpPong, ""), frame(ws.OpPing, ""), cont(true, "you")),
			[]said{{ws.OpPing, "p1"}, {ws.OpPong, ""}, {ws.OpPing, ""}, {ws.OpText, "Hello you"}}},
		{"5.5 the longest control frame", frame(ws.OpPing, strings.Repeat("p", 125)), []said{{ws.OpPing, strings.Repeat("p", 125)}}},
		{"5.5.1 a close frame between fragments", cat(fragment(ws.OpText, false, "Hel"), closeFrame(1000, "bye")), []said{{ws.OpClose, "\x03\xe8bye"}}},
		{"5.5.1 an empty close frame", frame(ws.OpClose, ""), []said{{ws.OpClose, ""}}},
		{"8.1 characters cut by fragments",
			cat(fragment(ws.OpText, false, "\xe2"), cont(false, "\x82"), cont(false, "\xac\xf0\x9d"), frame(ws.OpPing, "\xff"), cont(true, "\x84\x9e")),
			[]said{{ws.OpPing, "\xff"}, {ws.OpText, "€𝄞"}}},
		{"8.1 a character cut at the end of an empty fragment", cat(fragment(ws.OpText, false, "\xc3"), cont(false, ""), cont(true, "\xa9")), []said{{ws.OpText, "é"}}},
		{"8.1 the last code point", frame(ws.OpText, "\xf4\x8f\xbf\xbf"), []said{{ws.OpText, "\U0010ffff"}}},
		{"one message behind another", cat(frame(ws.OpText, "one"), frame(ws.OpBinary, "two"), fragment(ws.OpText, false, "th"), cont(true, "ree"), frame(ws.OpText, "four")),
			[]said{{ws.OpText, "one"}, {ws.OpBinary, "two"}, {ws.OpText, "three"}, {ws.OpText, "four"}}},
		{"binary fragments behind text fragments", cat(fragment(ws.OpText, false, "é"), cont(true, ""), fragment(ws.OpBinary, false, "\xff"), cont(true, "\xff")),
			[]said{{ws.OpText, "é"}, {ws.OpBinary, "\xff\xff"}}},
	} {
		everySplit(c.stream, func(how string, chunks [][]byte) {
			d := roomy()
			if got, _, err := feed(d, chunks); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: %v, error %v; want %v", c.name, how, got, err, c.want)
			}
			if last := c.want[len(c.want)-1]; last.op != ws.OpClose && !d.idle() {
				t.Errorf("%s, %s: not idle at the end", c.name, how)
			}
		})
	}
}

// TestDecodeZeroMask: a key of zeros is a key.
func TestDecodeZeroMask(t *testing.T) {
	t.Parallel()
	stream := cat(bits("1 000 0001 | 1 0000010 | 00000000 00000000 00000000 00000000"), "ok")
	everySplit(stream, func(how string, chunks [][]byte) {
		if got, _, err := feed(roomy(), chunks); err != nil || !slices.Equal(got, []said{{ws.OpText, "ok"}}) {
			t.Errorf("%s: %v, error %v", how, got, err)
		}
	})
}

// TestDecodeFailsFast has streams that are right up to a byte with which they are wrong, whatever
// comes behind it. The error comes with that byte, neither before nor after, and so early that what
// is announced need not come.
func TestDecodeFailsFast(t *testing.T) {
	t.Parallel()
	// masked is the byte that is this one when it is unmasked at the i-th place.
	masked := func(i int, b byte) byte { return b ^ maskKey[i%4] }
	for _, c := range []struct {
		name   string
		right  []byte
		wrong  byte
		before []said
		want   *ProtocolError
	}{
		{"5.2 reserved bit", frame(ws.OpText, "ok"), 0b1_100_0001, []said{{ws.OpText, "ok"}}, errReservedBits},
		{"5.2 reserved opcode", nil, 0b1_000_0011, nil, errReservedOpcode},
		{"5.1 no mask", bits("1 000 0001"), 0b0_0000001, nil, errUnmasked},
		{"5.4 continuation without a message", nil, 0b1_000_0000, nil, errUnexpectedCont},
		{"5.4 continuation behind a whole message", frame(ws.OpText, "ok"), 0b0_000_0000, []said{{ws.OpText, "ok"}}, errUnexpectedCont},
		{"5.4 continuation behind a ping", frame(ws.OpPing, ""), 0b1_000_0000, []said{{ws.OpPing, ""}}, errUnexpectedCont},
		{"5.4 text inside of a message", fragment(ws.OpText, false, "un"), 0b1_000_0001, nil, errUnfinished},
		{"5.4 binary inside of an empty message", fragment(ws.OpText, false, ""), 0b1_000_0010, nil, errUnfinished},
		{"5.5 fragmented ping inside of a message", fragment(ws.OpText, false, "un"), 0b0_000_1001, nil, errFragmentedControl},
		{"5.5 long ping", bits("1 000 1001"), 0b1_1111110, nil, errControlTooLong},
		{"5.2 length not minimal", bits("1 000 0010 | 1 1111110 | 00000000"), 125, nil, errLengthNotMinimal},
		{"5.2 length not minimal, behind a message", cat(frame(ws.OpText, "ok"), bits("1 000 0010 | 1 1111111"), "\x00\x00\x00\x00\x00"), 0, []said{{ws.OpText, "ok"}}, errLengthNotMinimal},
		{"5.2 length with the highest bit", bits("1 000 0010 | 1 1111111"), 0x80, nil, errLengthNegative},
		{"8.1 no first byte of a character", headerOf(ws.OpText, true, 1000), masked(0, 0x80), nil, errInvalidUTF8},
		{"8.1 overlong form", cat(headerOf(ws.OpText, true, 1000), masked(0, 'a')), masked(1, 0xc0), nil, errInvalidUTF8},
		{"8.1 no continuation", cat(headerOf(ws.OpText, true, 1000), masked(0, 0xe2), masked(1, 0x82)), masked(2, 'a'), nil, errInvalidUTF8},
		{"8.1 surrogate", cat(headerOf(ws.OpText, true, 1000), masked(0, 0xed)), masked(1, 0xa0), nil, errInvalidUTF8},
		{"8.1 above the last code point", cat(headerOf(ws.OpText, true, 1000), masked(0, 0xf4)), masked(1, 0x90), nil, errInvalidUTF8},
		{"8.1 in a later fragment", cat(fragment(ws.OpText, false, "fine \xc3"), headerOf(ws.OpContinuation, false, 9)), masked(0, 0xc3), nil, errInvalidUTF8},
		{"8.1 behind a control frame", cat(fragment(ws.OpText, false, "\xf0\x9f"), frame(ws.OpPing, ""), headerOf(ws.OpContinuation, true, 9)), masked(0, 'x'), []said{{ws.OpPing, ""}}, errInvalidUTF8},
		{"8.1 a message that ends inside of a character", cat(headerOf(ws.OpText, true, 2), masked(0, 'a')), masked(1, 0xe2), nil, errInvalidUTF8},
		{"8.1 a last fragment that is empty", cat(fragment(ws.OpText, false, "\xe2"), bits("1 000 0000 | 1 0000000"), maskKey[:3]), maskKey[3], nil, errInvalidUTF8},
		{"7.4.1 over the limit", headerOf(ws.OpBinary, true, 1<<20+1)[:13], maskKey[3], nil, errTooBig},
		{"7.4.1 the longest of all", headerOf(ws.OpBinary, true, 1<<62)[:13], maskKey[3], nil, errTooBig},
		{"7.4.1 over the limit in fragments", cat(fragment(ws.OpBinary, false, "12"), headerOf(ws.OpContinuation, false, 1<<20-1)[:13]), maskKey[3], nil, errTooBig},
	} {
		everySplit(cat(c.right, c.wrong), func(how string, chunks [][]byte) {
			got, given, err := feed(roomy(), chunks)
			if err != c.want || !slices.Equal(got, c.before) {
				t.Errorf("%s, %s: %v, error %v; want %v, error %v", c.name, how, got, err, c.before, c.want)
			}
			if given != len(c.right)+1 {
				t.Errorf("%s, %s: error after %d of %d bytes", c.name, how, given, len(c.right)+1)
			}
		})
		// However much comes with it, what came before it is said first.
		got, _, err := feed(roomy(), [][]byte{cat(c.right, c.wrong, strings.Repeat("\x00", 2000))})
		if err != c.want || !slices.Equal(got, c.before) {
			t.Errorf("%s, and more: %v, error %v; want %v, error %v", c.name, got, err, c.before, c.want)
		}
	}
}

// TestDecodeLimit: the limit is on what a message says, and control frames don't count.
func TestDecodeLimit(t *testing.T) {
	t.Parallel()
	ping := frame(ws.OpPing, strings.Repeat("p", 125))
	for _, c := range []struct {
		name   string
		stream []byte
		want   int // the length of the message; -1 is that it is too big
	}{
		{"at the limit", frame(ws.OpBinary, strings.Repeat("x", 10)), 10},
		{"at the limit, in fragments", cat(fragment(ws.OpText, false, "12345"), ping, cont(false, "6789"), ping, cont(true, "0")), 10},
		{"one too many", frame(ws.OpBinary, strings.Repeat("x", 11)), -1},
		{"one too many, in fragments", cat(fragment(ws.OpText, false, "12345"), ping, cont(false, "6789"), cont(true, "01")), -1},
		{"empty fragments at the limit", cat(fragment(ws.OpText, false, "1234567890"), cont(false, ""), cont(true, "")), 10},
	} {
		everySplit(c.stream, func(how string, chunks [][]byte) {
			d := roomy()
			d.limit = 10
			got, _, err := feed(d, chunks)
			if c.want < 0 {
				if err != errTooBig {
					t.Errorf("%s, %s: %v, error %v; want %v", c.name, how, got, err, errTooBig)
				}
			} else if err != nil || len(got) == 0 || len(got[len(got)-1].data) != c.want {
				t.Errorf("%s, %s: %v, error %v", c.name, how, got, err)
			}
		})
	}
}

// TestDecodeMemory: memory is taken as bytes arrive and not for what is announced. What is held is
// never more than twice what came, and all of it is taken from the budget. A region takes its pages as
// they are written to, and the budget a step ahead of them.
func TestDecodeMemory(t *testing.T) {
	t.Parallel()
	const announced = 1 << 20
	for _, c := range []struct {
		name   string
		header []byte
	}{
		{"one frame", headerOf(ws.OpBinary, true, announced)},
		{"first fragment", headerOf(ws.OpBinary, false, announced)},
	} {
		for _, piece := range []int{1, 7, 1000, 64 << 10} {
			d := roomy()
			if _, _, err := feed(d, [][]byte{c.header}); err != nil || cap(d.msg) != 0 {
				t.Errorf("%s: %d bytes held for a header, error %v", c.name, cap(d.msg), err)
			}
			for came := piece; came < min(announced, 5000*piece); came += piece {
				if _, _, err := feed(d, [][]byte{make([]byte, piece)}); err != nil {
					t.Fatal(err)
				}
				held := int64(cap(d.msg))
				if d.region != nil {
					held = int64(len(d.msg)+chargeStep-1) / chargeStep * chargeStep
				}
				if d.taken < held || d.taken > int64(2*came) || d.budget.used.Load() != d.taken {
					t.Fatalf("%s in pieces of %d: %d bytes came, %d are held, %d taken, %d of the budget used",
						c.name, piece, came, held, d.taken, d.budget.used.Load())
				}
			}
			d.release()
		}
	}
}

// TestDecodeExactly: the buffer of a frame whose length is known does not outgrow it.
func TestDecodeExactly(t *testing.T) {
	t.Parallel()
	d := roomy()
	stream := frame(ws.OpBinary, strings.Repeat("x", 1000))
	if _, _, err := feed(d, [][]byte{stream[:600], stream[600:900]}); err != nil || cap(d.msg) != 1000 {
		t.Errorf("%d bytes are held of a frame of 1,000, error %v", cap(d.msg), err)
	}
}

// TestDecodeBudget: two streams have one budget, and none more than is left for others. What one can't
// have is refused, whatever of it was announced, and what the other gives back can be had.
func TestDecodeBudget(t *testing.T) {
	t.Parallel()
	shared := &budget{limit: 200}
	one := &decoder{limit: 1000, budget: shared}
	two := &decoder{limit: 1000, budget: shared}
	half := func(n int) []byte { return cat(headerOf(ws.OpBinary, true, 1000), strings.Repeat("x", n)) }
	if _, _, err := feed(one, [][]byte{half(80)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := feed(two, [][]byte{half(61)}); err != errNoBudget {
		t.Errorf("80 and 61 of 200: error %v, want %v", err, errNoBudget)
	}
	two.release()
	if _, _, err := feed(two, [][]byte{half(60)}); err != nil {
		t.Errorf("80 and 60 of 200, and 60 left: %v", err)
	}
	if used := shared.used.Load(); used != 140 {
		t.Errorf("%d used, want 140", used)
	}
	one.release()
	two.release()
	if used := shared.used.Load(); used != 0 {
		t.Errorf("%d used at the end", used)
	}
	// What is whole when it comes needs nothing of it.
	if got, _, err := feed(one, [][]byte{frame(ws.OpBinary, strings.Repeat("x", 500))}); err != nil || len(got) != 1 {
		t.Errorf("a message in one piece: %v, error %v", got, err)
	}
}

// TestDecodeHandOut: a buffer that was handed out is left alone from then on.
func TestDecodeHandOut(t *testing.T) {
	t.Parallel()
	d := roomy()
	if _, _, err := feed(d, [][]byte{fragment(ws.OpText, false, "first ")}); err != nil {
		t.Fatal(err)
	}
	u, rest, err := d.next(cont(true, "message"))
	if err != nil || !u.ok || !u.kept || len(rest) != 0 {
		t.Fatalf("%+v, %d bytes left, error %v", u, len(rest), err)
	}
	_, taken := d.handOut()
	if taken != d.budget.used.Load() || taken < int64(len(u.data)) {
		t.Errorf("handed out %d of the budget, of which %d are used, for %d bytes", taken, d.budget.used.Load(), len(u.data))
	}
	if got, _, err := feed(d, [][]byte{fragment(ws.OpText, false, "second"), cont(true, " one")}); err != nil || len(got) != 1 {
		t.Errorf("the next message: %v, error %v", got, err)
	}
	if string(u.data) != "first message" {
		t.Errorf("what was handed out became %q", u.data)
	}
	d.release()
	if used := d.budget.used.Load(); used != taken {
		t.Errorf("%d used beside what was handed out", used-taken)
	}
}

// TestDecodeIdleHoldsNothing: released at the end of a message, a decoder is as it was made.
func TestDecodeIdleHoldsNothing(t *testing.T) {
	t.Parallel()
	d := roomy()
	for _, stream := range [][]byte{
		frame(ws.OpText, "whole"),
		cat(fragment(ws.OpText, false, "a"), frame(ws.OpPing, "ping"), cont(true, "b")),
		cat(closeFrame(1000, "bye")),
	} {
		everySplit(stream, func(how string, chunks [][]byte) {
			if _, _, err := feed(d, chunks); err != nil || !d.idle() {
				t.Fatalf("%s: idle %v, error %v", how, d.idle(), err)
			}
			d.release()
			if made := (&decoder{limit: d.limit, budget: d.budget}); !reflect.DeepEqual(d, made) || d.budget.used.Load() != 0 {
				t.Fatalf("%s: %+v is left, and %d of the budget", how, d, d.budget.used.Load())
			}
		})
	}
}

// TestDecodeIdle: something half received is not nothing.
func TestDecodeIdle(t *testing.T) {
	t.Parallel()
	stream := cat(fragment(ws.OpText, false, ""), frame(ws.OpPing, "p"), cont(true, "x"))
	for n := 1; n < len(stream); n++ {
		d := roomy()
		if _, _, err := feed(d, [][]byte{stream[:n]}); err != nil || d.idle() {
			t.Errorf("after %d of %d bytes: idle %v, error %v", n, len(stream), d.idle(), err)
		}
	}
}

// half is a message of which so many bytes come, and then no more.
func half(n int) []byte { return cat(headerOf(ws.OpBinary, true, 1<<20), strings.Repeat("x", n)) }

// TestInvariant3Inbound: what all peers together have half received is bounded by the budget. One too
// many is told 1013 and closed, and when the others are gone nothing is held.
func TestInvariant3Inbound(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		const each, fit = 30 << 10, 10
		s.InboundBudget = (fit+1)*each + each/2 // what one has must be left for the others
		j := newJournal()
		s.Handle("/", j.keep(Options{}))
		addr := serve(t, s)
		var held []*peer
		for i := range fit {
			p := open(t, addr, "/")
			p.send(half(each))
			held = append(held, p)
			await(t, "half a message is held", func() bool { return s.Stats().InboundHeld >= int64((i+1)*each) })
			j.want(t, "open")
		}
		late := open(t, addr, "/")
		j.want(t, "open")
		late.send(half(each))
		late.wantClose(CodeTryAgain, errNoBudget.Reason)
		late.wantEnd()
		must(t, late.conn.Close())
		j.wantClose(t, Closing{Cause: BadInput, Code: CodeTryAgain, Reason: errNoBudget.Reason, Err: errNoBudget})
		if used := s.Stats().InboundHeld; used > s.InboundBudget {
			t.Errorf("%d bytes held of a budget of %d", used, s.InboundBudget)
		}
		must(t, held[0].conn.Close())
		j.want(t, "close")
		again := open(t, addr, "/")
		j.want(t, "open")
		again.send(half(each))
		await(t, "another has room", func() bool { return s.Stats().InboundHeld >= fit*each })
		for _, p := range append(held[1:], again) {
			must(t, p.conn.Close())
			j.want(t, "close")
		}
		await(t, "nothing is held", func() bool { return s.Stats().InboundHeld == 0 })
	})
}

// TestIdleConnectionKeepsNothingAside: whatever came, a connection on which nothing is half received
// has no buffer.
func TestIdleConnectionKeepsNothingAside(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		j := newJournal()
		s.Handle("/", j.keep(Options{OnMessage: echo}))
		addr := serve(t, s)
		p := dial(t, addr)
		for _, b := range upgradeTo("/") {
			p.send([]byte{b})
		}
		p.upgraded()
		c := j.want(t, "open").conn
		holdsNothing := func(when string) {
			t.Helper()
			quietly(t, c, func() {
				if c.in != nil || c.out != nil || c.ext != nil {
					t.Errorf("%s: in %v, out %v, ext %v", when, c.in, c.out, c.ext)
				}
			})
		}
		holdsNothing("after a handshake byte by byte")
		for i, message := range [][]byte{frame(ws.OpText, "whole"), cat(fragment(ws.OpText, false, "who"), frame(ws.OpPing, ""), cont(true, "le"))} {
			for _, b := range message {
				p.send([]byte{b})
			}
			if i == 1 {
				p.want(ws.OpPong, "")
			}
			p.want(ws.OpText, "whole")
			j.want(t, "message")
			holdsNothing(fmt.Sprintf("after message %d byte by byte", i))
		}
	})
}
