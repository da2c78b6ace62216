package bench

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// collect feeds a stream in chunks of the given lengths, the rest as one, and writes down what comes
// out: a line a message or control frame, with … where a message is unfinished.
func collect(stream []byte, chunks []byte) ([]string, error) {
	var d decoder
	var lines []string
	var message []byte
	emit := func(p piece) error {
		if p.op.IsControl() {
			lines = append(lines, fmt.Sprintf("%x %q", p.op, p.data))
			return nil
		}
		message = append(message, p.data...)
		if p.last {
			lines = append(lines, fmt.Sprintf("%x %q", p.op, message))
			message = nil
		}
		return nil
	}
	for len(stream) > 0 {
		n := len(stream)
		if len(chunks) > 0 {
			n, chunks = min(n, int(chunks[0])), chunks[1:]
		}
		if err := d.feed(bytes.Clone(stream[:n]), emit); err != nil {
			return lines, err
		}
		stream = stream[n:]
	}
	if len(message) > 0 {
		lines = append(lines, fmt.Sprintf("… %q", message))
	}
	return lines, nil
}

func frames(fs ...ws.Frame) (stream []byte) {
	for _, f := range fs {
		stream = append(stream, ws.MustCompileFrame(f)...)
	}
	return stream
}

func part(op ws.OpCode, fin bool, payload string) ws.Frame {
	return ws.NewFrame(op, fin, []byte(payload))
}

func TestDecoderAtEverySplit(t *testing.T) {
	long := strings.Repeat("a", 126)
	longer := strings.Repeat("b", 65_536)
	for _, c := range []struct {
		name   string
		stream []byte
		want   []string
	}{
		{"text", frames(part(ws.OpText, true, "Woohoo!")), []string{`1 "Woohoo!"`}},
		{"two in a row", frames(part(ws.OpText, true, "a"), part(ws.OpBinary, true, "b")), []string{`1 "a"`, `2 "b"`}},
		{"empty", frames(part(ws.OpText, true, ""), part(ws.OpText, true, "x")), []string{`1 ""`, `1 "x"`}},
		{"16-bit length", frames(part(ws.OpText, true, long)), []string{`1 "` + long + `"`}},
		{"64-bit length", frames(part(ws.OpBinary, true, longer)), []string{`2 "` + longer + `"`}},
		{
			"control inside a message",
			frames(part(ws.OpText, false, "a"), part(ws.OpPing, true, "hi"), part(ws.OpContinuation, false, ""),
				part(ws.OpPong, true, ""), part(ws.OpContinuation, true, "b"), part(ws.OpClose, true, "\x03\xe8")),
			[]string{`9 "hi"`, `a ""`, `1 "ab"`, `8 "\x03\xe8"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i := range min(len(c.stream), 300) {
				for _, chunks := range [][]byte{{byte(i)}, bytes.Repeat([]byte{byte(i%13 + 1)}, 300)} {
					got, err := collect(c.stream, chunks)
					if err != nil || !slices.Equal(got, c.want) {
						t.Fatalf("in chunks of %v: got %.80q, %v, want %.80q", chunks[0], got, err, c.want)
					}
				}
			}
		})
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream string
		want   error
	}{
		{"mask", "\x81\x81\x00\x00\x00\x00a", errMasked},
		{"reserved bit", "\xc1\x01a", errReserved},
		{"unknown opcode", "\x83\x00", errOpcode},
		{"unknown control opcode", "\x8b\x00", errOpcode},
		{"long control frame", "\x89\x7e\x00\x7e", errControlLength},
		{"fragmented control frame", "\x09\x00", errControlSplit},
		{"continuation of nothing", "\x80\x00", errContinuation},
		{"continuation after the end", "\x81\x00\x80\x00", errContinuation},
		{"message inside a message", "\x01\x00\x81\x00", errInterleaved},
		{"16-bit length of 125", "\x82\x7e\x00\x7d", errLength},
		{"64-bit length of 65535", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", errLength},
		{"negative length", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", errLengthSign},
	} {
		for i := range len(c.stream) {
			if _, err := collect([]byte(c.stream), []byte{byte(i)}); err != c.want {
				t.Errorf("%s, split after %d: got %v, want %v", c.name, i, err, c.want)
			}
		}
	}
}

// FuzzDecoder holds two things: how a stream is split changes nothing, and what is accepted means
// what gobwas/ws says that it means.
func FuzzDecoder(f *testing.F) {
	f.Add(frames(part(ws.OpText, true, "Woohoo!")), []byte{1, 1, 1})
	f.Add(frames(part(ws.OpText, false, "a"), part(ws.OpPing, true, "p"), part(ws.OpContinuation, true, "")), []byte{3})
	f.Add(frames(part(ws.OpBinary, true, strings.Repeat("x", 300)), part(ws.OpClose, true, "\x03\xe8bye")), []byte{2, 1, 250})
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00abc"), []byte{9})
	f.Fuzz(func(t *testing.T, stream, chunks []byte) {
		whole, wholeErr := collect(stream, nil)
		split, splitErr := collect(stream, chunks)
		if wholeErr != splitErr || !slices.Equal(whole, split) {
			t.Fatalf("whole: %q, %v; in chunks of %v: %q, %v", whole, wholeErr, chunks, split, splitErr)
		}
		if wholeErr == nil {
			if want := reference(stream); !slices.Equal(whole, want) {
				t.Fatalf("got %q, want %q", whole, want)
			}
		}
	})
}

// reference is collect by gobwas/ws, for a stream without errors.
func reference(stream []byte) (lines []string) {
	r := bytes.NewReader(stream)
	var message []byte
	var op ws.OpCode
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			break
		}
		payload, _ := io.ReadAll(io.LimitReader(r, h.Length))
		complete := int64(len(payload)) == h.Length
		switch {
		case h.OpCode.IsControl() && complete:
			lines = append(lines, fmt.Sprintf("%x %q", h.OpCode, payload))
			continue
		case h.OpCode.IsControl():
			continue
		case h.OpCode != ws.OpContinuation:
			op = h.OpCode
		}
		message = append(message, payload...)
		if complete && h.Fin {
			lines = append(lines, fmt.Sprintf("%x %q", op, message))
			message = nil
		}
	}
	if len(message) > 0 {
		lines = append(lines, fmt.Sprintf("… %q", message))
	}
	return lines
}
