//go:build linux

package server

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

const bareOffer = "permessage-deflate"

// deflates are the handlers of a row whose endpoint compresses, with windows that live on.
func deflates(bits int) *Options {
	return &Options{OnMessage: echo, Compression: Compression{Enabled: true, ContextTakeover: true, WindowBits: bits}}
}

// rsv1 sets the bit of a frame that says that its message is compressed.
func rsv1(frame []byte) []byte { return cat(frame[0]|0x40, frame[1:]) }

// The examples of RFC 7692 section 7.2.3: "Hello", and once more within the same window.
const (
	deflatedHello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	deflatedAgain = "\xf2\x00\x11\x00\x00"
)

// hello is a message that inflates to one, whatever came before.
func hello(op ws.OpCode) []byte { return rsv1(frame(op, deflatedHello)) }

// deflateFrameClauses: the bit, and where it may stand (RFC 7692 section 6).
func deflateFrameClauses() []clause {
	first := rsv1(fragment(ws.OpText, false, deflatedHello[:3]))
	all := []clause{
		{name: "7692-6 a compressed message has RSV1 set", in: hello(ws.OpText), out: sentText("Hello")},
		{name: "7692-6 …: one that is not compressed has not", in: frame(ws.OpText, deflatedHello[1:2]), out: sentText("H")},
		{name: "7692-6.1 RSV1 is on the first fragment only", in: cat(first, cont(true, deflatedHello[3:])), out: sentText("Hello")},
		{name: "7692-6.1 …: of many", in: cat(rsv1(fragment(ws.OpBinary, false, "")), bytewise(deflatedHello), cont(true, "")), out: sent(ws.OpBinary, "Hello")},
		{name: "7692-6.1 …: control frames between them are as ever", in: cat(first, frame(ws.OpPing, "p"), cont(false, ""), frame(ws.OpPong, "q"), cont(true, deflatedHello[3:])),
			out: cat(sent(ws.OpPong, "p"), sentText("Hello"))},
		{name: "7692-6.1 …: a close frame between them", in: cat(first, closeFrame(1001, "")), code: 1001},
		{name: "7692-6.1 RSV1 MUST NOT be on another fragment", in: cat(first, rsv1(cont(true, deflatedHello[3:]))), code: 1002},
		{name: "7692-6.1 …: nor on that of a message that is not compressed", in: cat(fragment(ws.OpText, false, "H"), rsv1(cont(true, "i"))), code: 1002},
		{name: "7692-6.1 …: nor without a message", in: rsv1(cont(true, deflatedHello)), code: 1002},
		{name: "7692-6.1 RSV1 MUST NOT be on a ping", in: rsv1(frame(ws.OpPing, "")), code: 1002},
		{name: "7692-6.1 …: on a ping inside of a message", in: cat(first, rsv1(frame(ws.OpPing, ""))), code: 1002},
		{name: "7692-6.1 …: on a pong", in: rsv1(frame(ws.OpPong, "")), code: 1002},
		{name: "7692-6.1 …: on a close frame", in: rsv1(closeFrame(1000, "")), code: 1002},
		{name: "7692-6.1 …: on a reserved opcode", in: rsv1(frame(3, "")), code: 1002},
		{name: "7692-6.1 …: on a message that interrupts another", in: cat(first, hello(ws.OpText)), code: 1002},
	}
	for _, drawing := range []string{"1 010 0001", "1 001 0001", "1 011 0010", "1 110 0001", "1 101 0010", "1 111 0001", "0 010 0001", "1 010 1001"} {
		all = append(all, clause{name: "7692-6 RSV2 and RSV3 have no meaning: " + drawing, in: bits(drawing), code: 1002})
	}
	for i := range all {
		all[i].offer, all[i].serve = bareOffer, deflates(15)
	}
	return append(all,
		clause{name: "7692-6 RSV1 without the extension fails: not offered", in: hello(ws.OpText), code: 1002, serve: deflates(15)},
		clause{name: "7692-6 …: declined", in: hello(ws.OpText), code: 1002, offer: bareOffer + "; unknown", serve: deflates(15)},
		clause{name: "7692-6 …: switched off", in: hello(ws.OpText), code: 1002, offer: bareOffer, serve: &Options{OnMessage: echo}})
}

// bytewise are fragments of a byte each.
func bytewise(payload string) (all []byte) {
	for i := range payload {
		all = append(all, cont(false, payload[i:i+1])...)
	}
	return all
}

// deflateDataClauses: what is inside (RFC 7692 section 7.2).
func deflateDataClauses() []clause {
	compressed := func(op ws.OpCode, text string) []byte { return rsv1(frame(op, deflatedAlone(text))) }
	both := cat(sentText("Hello"), sentText("Hello"))
	bomb := func(n int) []byte { return compressed(ws.OpBinary, strings.Repeat("\x00", n)) }
	all := []clause{
		{name: "7692-7.2.3 a block of fixed codes", in: hello(ws.OpText), out: sentText("Hello")},
		{name: "7692-7.2.3 a window that is shared", in: cat(hello(ws.OpText), rsv1(frame(ws.OpText, deflatedAgain))), out: both},
		{name: "7692-7.2.3 …: the second in fragments", in: cat(hello(ws.OpText), rsv1(fragment(ws.OpText, false, "")), bytewise(deflatedAgain), cont(true, "")), out: both},
		{name: "7692-7.2.3 a block without compression", in: rsv1(frame(ws.OpText, "\x00\x05\x00\xfa\xffHello\x00")), out: sentText("Hello")},
		{name: "7692-7.2.3 a block with BFINAL set to 1", in: rsv1(frame(ws.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), out: sentText("Hello")},
		{name: "7692-7.2.3 …: and a message that refers to it", in: cat(rsv1(frame(ws.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), rsv1(frame(ws.OpText, deflatedAgain))), out: both},
		{name: "7692-7.2.3 …: and no 00 behind it, as several clients send it", in: cat(rsv1(frame(ws.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00")), rsv1(frame(ws.OpText, deflatedAgain))), out: both},
		{name: "7692-7.2.3 …: and no 00 behind it, in fragments", in: cat(rsv1(fragment(ws.OpText, false, "")), bytewise("\xf3\x48\xcd\xc9\xc9\x07\x00"), cont(true, "")), out: sentText("Hello")},
		{name: "7692-7.2.3 …: and two 00 behind it", in: rsv1(frame(ws.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00")), code: 1007},
		{name: "7692-7.2.3 …: and a block that refers to it", in: rsv1(frame(ws.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00"+deflatedAgain)), out: sentText("HelloHello")},
		{name: "7692-7.2.3 two blocks", in: rsv1(frame(ws.OpText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")), out: sentText("Hello")},
		{name: "7692-7.2.3 an empty message", in: rsv1(frame(ws.OpText, "\x00")), out: sentText("")},
		{name: "7692-7.2.3 …: made by a flush", in: rsv1(frame(ws.OpBinary, "\x02\x00")), out: sent(ws.OpBinary, "")},
		{name: "7692-7.2.2 a long message", in: compressed(ws.OpText, strings.Repeat("still pool ", 6000)), out: sentText(strings.Repeat("still pool ", 6000))},
		{name: "7692-7.2.2 what deflating makes longer", in: compressed(ws.OpBinary, string(noise(5000))), out: sent(ws.OpBinary, string(noise(5000)))},
		{name: "7692-7.2.2 one that is not compressed between is no part of the window", in: cat(hello(ws.OpText), frame(ws.OpText, "other"), rsv1(frame(ws.OpText, deflatedAgain))),
			out: cat(sentText("Hello"), sentText("other"), sentText("Hello"))},
		{name: "7692-7.2.2 control frames are no part of the window", in: cat(hello(ws.OpText), frame(ws.OpPing, "other"), rsv1(frame(ws.OpText, deflatedAgain))),
			out: cat(sentText("Hello"), sent(ws.OpPong, "other"), sentText("Hello"))},
		{name: "7692-7.2.2 an empty message leaves the window as it is", in: cat(hello(ws.OpText), rsv1(frame(ws.OpText, "\x00")), rsv1(frame(ws.OpText, deflatedAgain))),
			out: cat(sentText("Hello"), sentText(""), sentText("Hello"))},
		{name: "7692-7.2.2 what is broken fails: a reserved type of block", in: rsv1(frame(ws.OpText, "\x06")), code: 1007},
		{name: "7692-7.2.2 …: it ends in the middle", in: rsv1(frame(ws.OpText, deflatedHello[:3])), code: 1007},
		{name: "7692-7.2.2 …: nothing at all", in: rsv1(frame(ws.OpText, "")), code: 1007},
		{name: "7692-7.2.2 …: a length that does not fit its complement", in: rsv1(frame(ws.OpText, "\x00\x05\x00\xfa\xfeHello\x00")), code: 1007},
		{name: "7692-7.2.2 …: a reference to what never was", in: rsv1(frame(ws.OpText, deflatedAgain)), code: 1007},
		{name: "7692-7.2.2 …: behind what is right", in: cat(hello(ws.OpText), rsv1(frame(ws.OpText, "\x06"))), out: sentText("Hello"), code: 1007},
		{name: "7692-7.2.2 the text MUST be UTF-8 when it is inflated", in: compressed(ws.OpText, "κόσμε"), out: sentText("κόσμε")},
		{name: "7692-7.2.2 …: it is not", in: compressed(ws.OpText, "κόσμε\xff"), code: 1007},
		{name: "7692-7.2.2 …: a surrogate", in: compressed(ws.OpText, "\xed\xa0\x80"), code: 1007},
		{name: "7692-7.2.2 …: it ends inside of a character", in: compressed(ws.OpText, strings.Repeat("long ", 1000)+"\xe2\x82"), code: 1007},
		{name: "7692-7.2.2 …: what it is while it is compressed does not count", in: rsv1(frame(ws.OpText, deflatedHello)), out: sentText("Hello")},
		{name: "7692-7.2.2 binary messages are anything", in: compressed(ws.OpBinary, "\xff\xed\xa0\x80"), out: sent(ws.OpBinary, "\xff\xed\xa0\x80")},
		{name: "10.4 limits are on what is inflated: at it", in: bomb(clauseLimit), out: sent(ws.OpBinary, strings.Repeat("\x00", clauseLimit))},
		{name: "10.4 …: one past it", in: bomb(clauseLimit + 1), code: 1009},
		{name: "10.4 …: far past it", in: bomb(16 << 20), code: 1009},
		{name: "10.4 …: far past it, in fragments", in: cat(rsv1(fragment(ws.OpBinary, false, "")), bytewise(deflatedAlone(strings.Repeat("\x00", 1<<20))), cont(true, "")), code: 1009},
		{name: "10.4 …: what comes is past it already", in: rsv1(headerOf(ws.OpBinary, true, 2*clauseLimit)), code: 1009},
	}
	for i := range all {
		all[i].offer, all[i].serve = bareOffer, deflates(15)
	}
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		far := string(noise(1 << bits))
		in := cat(rsv1(frame(ws.OpBinary, deflatedAlone(far))), rsv1(frame(ws.OpBinary, referring(far, far[:100]))))
		all = append(all, clause{name: fmt.Sprintf("7692-7.1.2.2 a message may refer back by all of the client's window: %d bits", bits), in: in,
			out:   cat(sent(ws.OpBinary, far), sent(ws.OpBinary, far[:100])),
			offer: fmt.Sprintf("%s; client_max_window_bits=%d", bareOffer, bits), serve: deflates(15)})
	}
	return append(all,
		clause{name: "7692-7.1.1.2 a client that forgets can't refer to what was before", in: cat(hello(ws.OpText), rsv1(frame(ws.OpText, deflatedAgain))),
			out: sentText("Hello"), code: 1007, offer: bareOffer + "; client_no_context_takeover", serve: deflates(15)},
		clause{name: "7692-7.1.1.2 …: it is right where it does not", in: cat(hello(ws.OpText), hello(ws.OpText)),
			out: both, offer: bareOffer + "; client_no_context_takeover", serve: deflates(15)})
}

// deflateSentClauses: what the server sends can be inflated with the window that was agreed on, and
// with nothing else.
func deflateSentClauses() (all []clause) {
	short := string(prose(300))
	row := func(name, offer string, bits int, serve *Options) {
		var in, out []byte
		long := recurring(1 << bits)
		for _, s := range []string{short, long, short, short + "!", "", long} {
			in, out = append(in, frame(ws.OpBinary, s)...), append(out, sent(ws.OpBinary, s)...)
		}
		all = append(all, clause{name: fmt.Sprintf("%s: %d bits", name, bits), in: in, out: out, offer: offer, serve: serve, packed: true})
	}
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		bound := fmt.Sprintf("; server_max_window_bits=%d", bits)
		row("7692-7.1.2.1 the server keeps to its window, which was asked for", bareOffer+bound, bits, deflates(15))
		if bits > 9 && bits < 15 && bits != 11 {
			continue // the rows below say little about these that those above do not
		}
		row("7692-7.1.2.1 …, which is of its own", bareOffer+"; client_max_window_bits", bits, deflates(bits))
		row("7692-7.1.1.1 a server that forgets refers to nothing before", bareOffer+"; server_no_context_takeover"+bound, bits, deflates(15))
		row("7692-7.1.1.1 …, of its own", bareOffer, bits,
			&Options{OnMessage: echo, Compression: Compression{Enabled: true, WindowBits: bits, Level: 9}})
	}
	prepared := PrepareText(short + short)
	return append(all,
		clause{name: "7692-7.2.1 a prepared message inflates with whatever was before", offer: bareOffer + "; server_max_window_bits=9",
			in:  cat(frame(ws.OpText, short), frame(ws.OpText, "prepared"), frame(ws.OpText, short)),
			out: cat(sentText(short), sentText(short+short), sentText(short)),
			serve: &Options{Compression: Compression{Enabled: true, ContextTakeover: true}, OnMessage: func(c *Conn, m Message) {
				if string(m.Data) == "prepared" {
					c.Send(prepared)
				} else {
					echo(c, m)
				}
			}}},
		clause{name: "7692-7.2.1 pongs and close frames are never compressed", offer: bareOffer, serve: deflates(15),
			in: cat(frame(ws.OpPing, strings.Repeat("p", 125)), closeFrame(1000, strings.Repeat("r", 123))), out: sent(ws.OpPong, strings.Repeat("p", 125)), code: 1000})
}

// recurring is a text in which the same comes again within a window of so many bytes, at its edge, and
// past it.
func recurring(window int) string {
	again := string(noise(40))
	text := again
	for _, gap := range []int{window / 2, window - 41, window - 40, window - 39} {
		text += fmt.Sprintf("%x", noise(gap))[:gap] + again
	}
	return text[:min(len(text), clauseLimit)]
}

// unpacked is what a server sent, with what came compressed as it is when it is inflated; and whether
// any did.
func unpacked(offer, answer string, out []byte) (plain []byte, packed bool, err error) {
	window := agreedWindow(offer, answer)
	for r := bytes.NewReader(out); r.Len() > 0; {
		h, err := ws.ReadHeader(r)
		if err != nil || h.Length > int64(r.Len()) {
			return nil, false, errors.New("a torn frame at the end")
		}
		payload := make([]byte, h.Length)
		r.Read(payload)
		switch {
		case h.Rsv == 0:
		case h.Rsv != 0x4 || window == nil || h.OpCode != ws.OpText && h.OpCode != ws.OpBinary:
			return nil, false, fmt.Errorf("reserved bits %03b with opcode %x", h.Rsv, byte(h.OpCode))
		case !h.Fin || h.Masked || bytes.HasSuffix(payload, []byte(flushTail)):
			return nil, false, fmt.Errorf("a compressed frame %+v, which ends with %x", h, payload[max(0, len(payload)-4):])
		default:
			packed = true
			if payload, err = window.inflate(payload); err != nil {
				return nil, false, err
			}
		}
		plain = append(plain, ws.MustCompileFrame(ws.Frame{Header: ws.Header{Fin: h.Fin, OpCode: h.OpCode, Length: int64(len(payload))}, Payload: payload})...)
	}
	return plain, packed, nil
}

// agreedWindow is the server's, by its answer, within what was asked for; nil if there is no compression.
func agreedWindow(offer, answer string) *lz77 {
	_, agreed, ok := strings.Cut(answer, "Sec-WebSocket-Extensions: permessage-deflate")
	if !ok {
		return nil
	}
	z := &lz77{window: 1 << maxWindowBits}
	for _, params := range []string{offer, agreed} {
		bits := maxWindowBits
		if _, value, ok := strings.Cut(params, "server_max_window_bits="); ok {
			fmt.Sscan(value, &bits)
		}
		z.window = min(z.window, 1<<bits)
		z.forgets = z.forgets || strings.Contains(params, "server_no_context_takeover")
	}
	return z
}
