//go:build linux

package server

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// prose is text of n bytes that deflates well, and not to nothing.
func prose(n int) []byte {
	words := strings.Fields("still water runs deep and every pool of it holds a sky that nobody has counted yet")
	source := rand.New(rand.NewPCG(1, uint64(n)))
	var b []byte
	for len(b) < n {
		b = append(append(b, words[source.IntN(len(words))]...), ' ')
	}
	return b[:n]
}

// noise does not deflate at all.
func noise(n int) []byte {
	source := rand.New(rand.NewPCG(2, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(source.Uint32())
	}
	return b
}

// deflatedBy is what another implementation makes of a message, by the letter of section 7.2.1.
func deflatedBy(t testing.TB, level int, window, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriterDict(&out, level, window)
	must(t, err)
	_, err = w.Write(text)
	must(t, err)
	must(t, w.Flush())
	return bytes.TrimSuffix(out.Bytes(), []byte(flushTail))
}

// inflated runs an inflation of a payload, with room for so many bytes.
func inflated(payload, window []byte, room int) (text []byte, whole bool, err error) {
	i := inflation{src: cat(payload, inflateTail), window: window, dst: make([]byte, 0, room)}
	whole, err = i.run()
	return i.dst, whole, err
}

// TestInflateExamples are those of RFC 7692 section 7.2.3.
func TestInflateExamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, payload, window, want string }{
		{"7.2.3.1 one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", "", "Hello"},
		{"7.2.3.2 sharing the window", "\xf2\x00\x11\x00\x00", "Hello", "Hello"},
		{"7.2.3.3 a block without compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "", "Hello"},
		{"7.2.3.4 a block with BFINAL set", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "", "Hello"},
		{"7.2.3.5 two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "", "Hello"},
		{"7.2.3.6 an empty message", "\x00", "", ""},
		{"7.2.3.6 an empty message of another implementation", "\x02\x00", "", ""},
		{"a block with BFINAL set, and no 00 behind it", "\xf3\x48\xcd\xc9\xc9\x07\x00", "", "Hello"},
		{"an empty block with BFINAL set, and no 00", "\x03\x00", "", ""},
		{"a stored block with BFINAL set, and no 00", "\x01\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f", "", "Hello"},
		{"an empty stored block with BFINAL set, and no 00", "\x01\x00\x00\xff\xff", "", ""},
		{"two blocks, the last with BFINAL set, and no 00", "\xf2\x48\x05\x00\x00\x00\xff\xff\xcb\xc9\xc9\x07\x00", "", "Hello"},
		{"a block that refers to the window, with BFINAL set, and no 00", "\xf3\x00\x11\x00", "Hello", "Hello"},
		{"as many blocks with BFINAL as are free, and no 00", strings.Repeat("\x03\x00", freeStreams), "", ""},
		{"a block behind one with BFINAL, both with BFINAL, and no 00", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x00\x11\x00", "", "HelloHello"},
		{"a block behind one with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", "", "HelloHello"},
		{"a block that refers to the window from behind one with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", "what was before", "HelloHello"},
	} {
		if got, whole, err := inflated([]byte(c.payload), []byte(c.window), 100); string(got) != c.want || !whole || err != nil {
			t.Errorf("%s: %q, whole %v, error %v; want %q", c.name, got, whole, err, c.want)
		}
	}
}

func TestInflateRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, payload, window string }{
		{"a kind of block that there is not", "\x06", ""},
		{"lengths that are no complements", "\x00\x05\x00\x00\x00", ""},
		{"a reference to before the beginning", "\xf2\x00\x11\x00\x00", ""},
		{"a reference to before the window", "\xf2\x00\x11\x00\x00", "ell"},
		{"torn", "\xf2\x48\xcd", ""},
		{"two 00 behind a block with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00", ""},
		{"the tail that is to be left out behind a block with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", ""},
		{"a byte that is no block behind one with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x06", ""},
		{"garbage behind a block with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00garbage", ""},
		{"half a block behind one with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00", ""},
		{"torn, with BFINAL", "\xf3\x48\xcd", ""},
		{"blocks with BFINAL and no end", strings.Repeat("\x03\x00", 2*freeStreams), ""},
	} {
		if got, _, err := inflated([]byte(c.payload), []byte(c.window), 1000); err != errDeflate {
			t.Errorf("%s: %q, error %v; want %v", c.name, got, err, errDeflate)
		}
	}
}

// TestInflateStopsWhenFull: a bomb is known at the end of its room, and has cost that much.
func TestInflateStopsWhenFull(t *testing.T) {
	t.Parallel()
	bomb := deflatedBy(t, 9, nil, make([]byte, 10<<20))
	for _, room := range []int{1, 1000, inflateStep, 3*inflateStep + 1} {
		asked := 0
		i := inflation{src: cat(bomb, inflateTail), dst: make([]byte, 0, room), charge: func(n int) error { asked = n; return nil }}
		if whole, err := i.run(); whole || err != nil || len(i.dst) != room || asked != room {
			t.Errorf("room for %d: %d bytes, asked for %d, whole %v, error %v", room, len(i.dst), asked, whole, err)
		}
	}
	refused := errors.New("refused")
	i := inflation{src: cat(bomb, inflateTail), dst: make([]byte, 0, 1<<20), charge: func(n int) error {
		if n > 2*inflateStep {
			return refused
		}
		return nil
	}}
	if _, err := i.run(); err != refused || len(i.dst) > 2*inflateStep {
		t.Errorf("%d bytes, error %v; want what was charged for at the most", len(i.dst), err)
	}
}

// TestSlide holds windows against what they are: the end of all that was said.
func TestSlide(t *testing.T) {
	t.Parallel()
	source := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{1, 2, 256, 4096} {
		var window, all []byte
		for range 300 {
			said := noise(source.IntN(size + size/2 + 2))
			window, all = slide(window, said, size), append(all, said...)
			if want := all[max(0, len(all)-size):]; !bytes.Equal(window, want) || cap(window) > size {
				t.Fatalf("size %d: a window of %d bytes with room for %d, which is not the last %d", size, len(window), cap(window), len(want))
			}
		}
	}
}

// FuzzInflate: whatever a peer sends, the inflater says what compress/flate says of it, and keeps to
// its room. And what this server deflates, with whatever window, compress/flate inflates.
func FuzzInflate(f *testing.F) {
	hello := []byte("Hello")
	for _, payload := range []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\x00", "", "\x06", "\x03\x00\x03\x00",
		"\xf3\x48\xcd\xc9\xc9\x07\x00", "\x01\x00\x00\xff\xff", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x00\x11\x00"} {
		f.Add([]byte(payload), hello, uint8(0))
	}
	f.Add(deflatedBy(f, 9, hello, prose(3000)), hello, uint8(3))
	f.Add(deflatedBy(f, 1, nil, prose(300)), []byte{}, uint8(11))
	f.Add(deflatedBy(f, 9, nil, make([]byte, 100<<10)), prose(1000), uint8(7))
	f.Fuzz(func(t *testing.T, payload, window []byte, choice uint8) {
		const room = 70 << 10
		window = window[:min(len(window), 1<<maxWindowBits)]
		got, whole, err := inflated(payload, window, room)
		want, wantErr := inflatedByOthers(cat(payload, inflateTail), window, room)
		switch {
		case !whole && err == nil: // the room was too small
			if len(got) != room || len(want) < room || !bytes.Equal(got, want[:room]) {
				t.Fatalf("stopped at %d of %d", len(got), room)
			}
		case (err == nil) != (wantErr == nil):
			t.Fatalf("here: %d bytes, error %v; elsewhere: %d bytes, error %v", len(got), err, len(want), wantErr)
		case err == nil && !bytes.Equal(got, want):
			t.Fatalf("here: %q; elsewhere: %q", got, want)
		}
		roundTrip(t, payload, window, minWindowBits+choice%8, 1+int(choice)%9)
	})
}

// roundTrip deflates here and inflates elsewhere.
func roundTrip(t *testing.T, text, window []byte, bits uint8, level int) {
	t.Helper()
	window = window[:min(len(window), 1<<bits)]
	deflated, fits := squeeze(make([]byte, len(text)+len(flushTail)), text, window, bits, level, nil)
	if !fits {
		return
	}
	if back, err := inflatedByOthers(cat(deflated, inflateTail), window, len(text)); err != nil || !bytes.Equal(back, text) {
		t.Fatalf("%d bytes came back as %d, error %v", len(text), len(back), err)
	}
}

// inflatedByOthers is what compress/flate makes of a stream, up to some bytes more than room.
func inflatedByOthers(stream, window []byte, room int) (text []byte, err error) {
	src := bytes.NewReader(stream)
	for streams := 0; src.Len() > 0; streams++ {
		if streams > 0 && streams >= freeStreams+len(text)/streamCost {
			return text, errDeflate
		}
		seen := cat(window, text)
		r := flate.NewReaderDict(src, seen[max(0, len(seen)-1<<maxWindowBits):])
		more, err := io.ReadAll(io.LimitReader(r, int64(room+1-len(text))))
		text = append(text, more...)
		if err != nil || len(text) > room {
			return text, err
		}
		if src.Len() == len(inflateTail) { // the message ended with BFINAL
			break
		}
	}
	return text, nil
}

// TestSqueeze: every window and level, texts that deflate and such that do not.
func TestSqueeze(t *testing.T) {
	t.Parallel()
	for bits := uint8(minWindowBits); bits <= maxWindowBits; bits++ {
		for _, level := range []int{1, 6, 9} {
			for _, n := range []int{1, tinyDeflate - 1, tinyDeflate, 5000, 100_000} {
				roundTrip(t, prose(n), prose(1<<bits), bits, level)
				roundTrip(t, prose(n), nil, bits, level)
			}
		}
	}
	text := noise(1000)
	if _, fits := squeeze(make([]byte, 1000+len(flushTail)), text, nil, 15, 1, nil); fits {
		t.Error("noise became no longer")
	}
	deflated, fits := squeeze(make([]byte, 2000), text, text, 15, 1, nil)
	if !fits || len(deflated) > 50 {
		t.Errorf("said again, %d bytes become %d", len(text), len(deflated))
	}
}
