//go:build linux

package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// binaryPreface is a header of version 2, whose length is that of what follows.
func binaryPreface(command, family byte, parts ...any) []byte {
	block := cat(parts...)
	head := cat(prefaceSignature, 0x20|command, family, "..", block)
	binary.BigEndian.PutUint16(head[14:], uint16(len(block)))
	return head
}

// vector is a type-length-value.
func vector(kind byte, value string) []byte {
	return cat(kind, byte(len(value)>>8), byte(len(value)), value)
}

// withChecksum fills in the checksum, which the header has already as zeros at its end.
func withChecksum(p []byte) []byte {
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(p[len(p)-4:], sum)
	return p
}

const (
	four  = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x34\x01\xbb"                                                                                                 // 192.0.2.1:4660 to 192.0.2.2:443
	six   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x34\x01\xbb" // [2001:db8::1]:4660
	crc   = "\x03\x00\x04\x00\x00\x00\x00"
	local = 0
	proxy = 1
)

// prefaceCases are the sections of the specification.
var prefaceCases = func() []prefaceCase {
	path := strings.Repeat("\x00", 108)
	line := func(format string, args ...any) []byte { return fmt.Appendf(nil, format+"\r\n", args...) }
	own := preface{own: true}
	from := func(s string) preface { return preface{client: netip.MustParseAddrPort(s)} }
	longest := "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	sum := func(p []byte) []byte { return withChecksum(p) }
	wrong := func(p []byte, at int) []byte { p[at] ^= 1; return p }
	return []prefaceCase{
		{"2 HTTP", []byte("GET / HTTP/1.1\r\n"), own, errNoPreface},
		{"2 HTTP that begins alike", []byte("PROPFIND / HTTP/1.1\r\n"), own, errNoPreface},
		{"2 an empty line and HTTP", []byte("\r\nGET / HTTP/1.1\r\n"), own, errNoPreface},
		{"2 TLS", []byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"), own, errNoPreface},
		{"2.1 TCP4", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660 443"), from("192.0.2.1:4660"), nil},
		{"2.1 TCP4, the longest", line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535"), from("255.255.255.255:65535"), nil},
		{"2.1 TCP6", line("PROXY TCP6 2001:db8::1 2001:DB8::2 4660 0"), from("[2001:db8::1]:4660"), nil},
		{"2.1 TCP6, the longest", line("PROXY TCP6 %s %s 65535 65535", longest, longest), from("[" + longest + "]:65535"), nil},
		{"2.1 TCP6, mapped", line("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 4660 443"), from("192.0.2.1:4660"), nil},
		{"2.1 UNKNOWN", line("PROXY UNKNOWN"), own, nil},
		{"2.1 UNKNOWN, the longest", line("PROXY UNKNOWN %s %s 65535 65535", longest, longest), own, nil},
		{"2.1 UNKNOWN and anything", line("PROXY UNKNOWN  \x00\xff anything "), own, nil},
		{"2.1 a line of 108", line("PROXY UNKNOWN %s %s 65535 65535 ", longest, longest), own, errPrefaceLine},
		{"2.1 a line without an end", bytes.Repeat([]byte("PROXY UNKNOWN "), 8), own, errPrefaceLine},
		{"2.1 UNKNOWN with more", line("PROXY UNKNOWNS"), own, errPrefaceLine},
		{"2.1 in lower case", line("proxy TCP4 192.0.2.1 192.0.2.2 4660 443"), own, errNoPreface},
		{"2.1 a family in lower case", line("PROXY tcp4 192.0.2.1 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 UDP4", line("PROXY UDP4 192.0.2.1 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 no family", line("PROXY "), own, errPrefaceLine},
		{"2.1 no addresses", line("PROXY TCP4"), own, errPrefaceLine},
		{"2.1 one address", line("PROXY TCP4 192.0.2.1 4660 443"), own, errPrefaceLine},
		{"2.1 one port", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660"), own, errPrefaceLine},
		{"2.1 three ports", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660 443 1"), own, errPrefaceLine},
		{"2.1 two spaces", line("PROXY TCP4  192.0.2.1 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 a space at the end", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660 443 "), own, errPrefaceLine},
		{"2.1 a tab", line("PROXY TCP4\t192.0.2.1 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 IPv6 for TCP4", line("PROXY TCP4 2001:db8::1 2001:db8::2 4660 443"), own, errPrefaceLine},
		{"2.1 IPv4 for TCP6", line("PROXY TCP6 192.0.2.1 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 a destination of another family", line("PROXY TCP4 192.0.2.1 2001:db8::2 4660 443"), own, errPrefaceLine},
		{"2.1 a heading zero", line("PROXY TCP4 192.0.2.01 192.0.2.2 4660 443"), own, errPrefaceLine},
		{"2.1 a heading zero of a port", line("PROXY TCP4 192.0.2.1 192.0.2.2 04660 443"), own, errPrefaceLine},
		{"2.1 a sign", line("PROXY TCP4 192.0.2.1 192.0.2.2 +4660 443"), own, errPrefaceLine},
		{"2.1 a port too high", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660 65536"), own, errPrefaceLine},
		{"2.1 a zone", line("PROXY TCP6 fe80::1%%eth0 2001:db8::2 4660 443"), preface{client: netip.MustParseAddrPort("[fe80::1]:4660")}, nil},
		{"2.1 a single LF", []byte("PROXY UNKNOWN\n"), own, errPrefaceLine},
		{"2.1 a single CR", []byte("PROXY UNKNOWN\rX\r\n"), own, errPrefaceLine},
		{"2.2 TCP over IPv4", binaryPreface(proxy, 0x11, four), from("192.0.2.1:4660"), nil},
		{"2.2 TCP over IPv6", binaryPreface(proxy, 0x21, six), from("[2001:db8::1]:4660"), nil},
		{"2.2 UNIX stream", binaryPreface(proxy, 0x31, path, path), preface{}, nil},
		{"2.2 UDP over IPv4, as unspecified", binaryPreface(proxy, 0x12, four), preface{}, nil},
		{"2.2 UDP over IPv6, as unspecified", binaryPreface(proxy, 0x22, six), preface{}, nil},
		{"2.2 UNIX datagram, as unspecified", binaryPreface(proxy, 0x32, path, path), preface{}, nil},
		{"2.2 UNSPEC", binaryPreface(proxy, 0x00), preface{}, nil},
		{"2.2 UNSPEC with addresses", binaryPreface(proxy, 0x00, "whatever"), preface{}, nil},
		{"2.2 an unspecified protocol", binaryPreface(proxy, 0x10, four), preface{}, nil},
		{"2.2 an unspecified family", binaryPreface(proxy, 0x01, four), preface{}, nil},
		{"2.2 LOCAL", binaryPreface(local, 0x00), own, nil},
		{"2.2 LOCAL with addresses", binaryPreface(local, 0x11, four), own, nil},
		{"2.2 LOCAL with a family that there is not", binaryPreface(local, 0xff, "x"), own, nil},
		{"2.2 version 1", binaryPreface(0x30, 0x11, four), own, errPrefaceVersion},
		{"2.2 a command that there is not", binaryPreface(2, 0x11, four), own, errPrefaceCommand},
		{"2.2 a family that there is not", binaryPreface(proxy, 0x41, four), own, errPrefaceFamily},
		{"2.2 a protocol that there is not", binaryPreface(proxy, 0x13, four), own, errPrefaceFamily},
		{"2.2 no addresses", binaryPreface(proxy, 0x11), own, errPrefaceShort},
		{"2.2 a byte too few", binaryPreface(proxy, 0x21, six[:35]), own, errPrefaceShort},
		{"2.2 IPv4 for IPv6", binaryPreface(proxy, 0x21, four), own, errPrefaceShort},
		{"2.2 half a path", binaryPreface(proxy, 0x31, path, path[1:]), own, errPrefaceShort},
		{"2.2 vectors", binaryPreface(proxy, 0x11, four, vector(1, "h2"), vector(4, ""), vector(0xe0, strings.Repeat("x", 1000))), from("192.0.2.1:4660"), nil},
		{"2.2 half a vector", binaryPreface(proxy, 0x11, four, vector(1, "h2")[:4]), own, errPrefaceVector},
		{"2.2 a vector without a length", binaryPreface(proxy, 0x11, four, "\x01\x00"), own, errPrefaceVector},
		{"2.2 the longest", binaryPreface(proxy, 0x11, four, strings.Repeat("\x04\x00\x00", (prefaceTestMost-28)/3)), from("192.0.2.1:4660"), nil},
		{"2.2 a longer one", binaryPreface(proxy, 0x11, four, vector(4, strings.Repeat("x", prefaceTestMost-28-2))), own, errPrefaceLong},
		{"2.2.3 a checksum", sum(binaryPreface(proxy, 0x11, four, crc)), from("192.0.2.1:4660"), nil},
		{"2.2.3 a checksum behind others", sum(binaryPreface(proxy, 0x21, six, vector(2, "example.com"), crc)), from("[2001:db8::1]:4660"), nil},
		{"2.2.3 a checksum with UNIX", sum(binaryPreface(proxy, 0x31, path, path, crc)), preface{}, nil},
		{"2.2.3 a wrong checksum", wrong(sum(binaryPreface(proxy, 0x11, four, crc)), 34), own, errPrefaceChecksum},
		{"2.2.3 a changed address", wrong(sum(binaryPreface(proxy, 0x11, four, crc)), 16), own, errPrefaceChecksum},
		{"2.2.3 a changed port", wrong(sum(binaryPreface(proxy, 0x11, four, crc)), 25), own, errPrefaceChecksum},
		{"2.2.3 a checksum of 3 bytes", binaryPreface(proxy, 0x11, four, vector(3, "abc")), own, errPrefaceChecksum},
		{"2.2.3 two checksums", sum(binaryPreface(proxy, 0x11, four, crc, crc)), own, errPrefaceChecksum},
		{"2.2.3 no checksum is kept of LOCAL", binaryPreface(local, 0x00, vector(3, "abcd")), own, nil},
	}
}()

type prefaceCase struct {
	name string
	raw  []byte
	want preface
	err  error
}

const prefaceTestMost = 4096

// TestPreface holds each case, whole and in pieces, with something behind it that must be left alone.
func TestPreface(t *testing.T) {
	t.Parallel()
	for _, c := range prefaceCases {
		stream := append(bytes.Clone(c.raw), "GET / HTTP/1.1\r\n"...)
		everySplit(stream, func(how string, chunks [][]byte) {
			said, n, err := cutPrefaceChunks(chunks)
			if c.err != nil {
				if !errors.Is(err, c.err) || n != 0 {
					t.Errorf("section %s, %s: %d bytes, %v, want %v", c.name, how, n, err, c.err)
				}
			} else if said != c.want || n != len(c.raw) || err != nil {
				t.Errorf("section %s, %s: %+v of %d bytes, %v; want %+v of %d", c.name, how, said, n, err, c.want, len(c.raw))
			}
		})
	}
}

// cutPrefaceChunks reads a header as it comes in.
func cutPrefaceChunks(chunks [][]byte) (said preface, n int, err error) {
	var p []byte
	for _, chunk := range chunks {
		p = append(p, chunk...)
		if said, n, err = cutPreface(p, prefaceTestMost); n > 0 || err != nil {
			break
		}
	}
	return said, n, err
}

// FuzzPreface: no header makes the reader panic, where it is cut makes no difference, and what is read
// of it is what is written again.
func FuzzPreface(f *testing.F) {
	for _, c := range prefaceCases {
		f.Add(c.raw, []byte{})
		f.Add(append(bytes.Clone(c.raw), "GET /"...), []byte{0})
		f.Add(c.raw, []byte{11, 0, 3})
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		said, n, err := cutPreface(stream, prefaceTestMost)
		cut, cutN, cutErr := cutPrefaceChunks(cutBy(stream, cuts))
		if said != cut || n != cutN || !errors.Is(cutErr, err) {
			t.Fatalf("whole: %+v of %d, %v\ncut:   %+v of %d, %v", said, n, err, cut, cutN, cutErr)
		}
		if err != nil && n != 0 || n > len(stream) || n > prefaceTestMost || err == nil && n == 0 && len(stream) >= prefaceTestMost {
			t.Fatalf("%d of %d bytes, %v", n, len(stream), err)
		}
		if n == 0 || said.own || !said.client.IsValid() {
			return
		}
		a := said.client.Addr()
		made := fmt.Appendf(nil, "PROXY TCP4 %v %v %d 0\r\n", a, a, said.client.Port())
		if a.Is6() {
			made = bytes.Replace(made, []byte("TCP4"), []byte("TCP6"), 1)
		}
		if again, _, err := cutPreface(made, prefaceTestMost); again != said || err != nil {
			t.Fatalf("%q of %q: %+v, %v", made, stream, again, err)
		}
	})
}
