package server

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// This file is pure: it reads the header of the PROXY protocol, versions 1 and 2, by which a proxy that
// passes on a stream says first whose it is. The sections are those of haproxy's specification.

// What a header can have wrong. Nobody is told but the log: "the receiver should abort the connection".
var (
	errNoPreface       = prefaceError("server: no PROXY header")                                 // 2
	errPrefaceLate     = prefaceError("server: PROXY header took too long")                      // 2
	errPrefaceStranger = prefaceError("server: PROXY header from who is no trusted proxy")       // 2
	errPrefaceLine     = prefaceError("server: malformed PROXY line")                            // 2.1
	errPrefaceVersion  = prefaceError("server: PROXY header of another version")                 // 2.2
	errPrefaceCommand  = prefaceError("server: PROXY header with an unknown command")            // 2.2
	errPrefaceFamily   = prefaceError("server: PROXY header with an unknown family or protocol") // 2.2
	errPrefaceLong     = prefaceError("server: PROXY header longer than Server.MaxHeaderBytes")  // 2.2
	errPrefaceShort    = prefaceError("server: PROXY header too short for its addresses")        // 2.2
	errPrefaceVector   = prefaceError("server: PROXY header with a malformed type-length-value") // 2.2
	errPrefaceChecksum = prefaceError("server: PROXY header whose checksum is wrong")            // 2.2.3
)

// prefaceError is what is wrong with a header.
type prefaceError string

func (e prefaceError) Error() string { return string(e) }

const (
	prefaceLine      = "PROXY "                          // begins version 1
	prefaceSignature = "\r\n\r\n\x00\r\nQUIT\n"          // begins version 2
	prefaceFixed     = len(prefaceSignature) + 1 + 1 + 2 // and is followed by version, family and length
	prefaceLineMost  = 107                               // of version 1, with CR LF
	prefaceCRC       = 0x03                              // PP2_TYPE_CRC32C
)

// preface is what a header says.
type preface struct {
	// own is whether it says nothing, and the addresses of the connection itself count.
	own bool
	// client is the zero AddrPort if it came by a unix socket, or the proxy does not say whence.
	client netip.AddrPort
}

// cutPreface reads a header off p and tells how long it is; 0 while it is not whole. One of more than
// most bytes is an error, as is what no whole one could mend.
func cutPreface(p []byte, most int) (said preface, n int, err error) {
	switch {
	case startsLike(p, prefaceSignature):
		said, n, err = cutPrefaceBinary(p, most)
	case startsLike(p, prefaceLine):
		said, n, err = cutPrefaceLine(p)
	default:
		err = errNoPreface
	}
	if err != nil {
		return preface{}, 0, err
	}
	return said, n, nil
}

// startsLike tells whether p begins with s, as far as it goes.
func startsLike(p []byte, s string) bool {
	n := min(len(p), len(s))
	return string(p[:n]) == s[:n]
}

// cutPrefaceLine is for version 1 (section 2.1).
func cutPrefaceLine(p []byte) (said preface, n int, err error) {
	line, _, whole := bytes.Cut(p[:min(len(p), prefaceLineMost)], []byte("\n"))
	// "The receiver must not tolerate a single CR or LF character".
	cr := bytes.IndexByte(line, '\r')
	switch {
	case cr >= 0 && cr < len(line)-1, whole && cr < 0, !whole && len(p) >= prefaceLineMost:
		return said, 0, errPrefaceLine
	case !whole:
		return said, 0, nil
	}
	said, err = parsePrefaceLine(string(line[len(prefaceLine):cr]))
	return said, cr + len("\r\n"), err
}

// parsePrefaceLine reads family, source and destination, and both ports.
func parsePrefaceLine(s string) (said preface, err error) {
	family, rest, _ := strings.Cut(s, " ")
	if family == "UNKNOWN" {
		return preface{own: true}, nil // "the receiver must ignore anything presented before the CRLF"
	}
	words := strings.Split(rest, " ")
	six := family == "TCP6"
	if len(words) != 4 || !six && family != "TCP4" {
		return said, errPrefaceLine
	}
	source, ok1 := prefaceAddr(words[0], six)
	_, ok2 := prefaceAddr(words[1], six)
	port, ok3 := prefacePort(words[2])
	_, ok4 := prefacePort(words[3])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return said, errPrefaceLine
	}
	return preface{client: netip.AddrPortFrom(source, port)}, nil
}

func prefaceAddr(s string, six bool) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return plainAddr(a), err == nil && a.Is6() == six
}

// prefacePort reads a port: "heading zeroes are not permitted".
func prefacePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == s
}

// cutPrefaceBinary is for version 2 (section 2.2).
func cutPrefaceBinary(p []byte, most int) (said preface, n int, err error) {
	const version, family, length = len(prefaceSignature), len(prefaceSignature) + 1, len(prefaceSignature) + 2
	local := false
	if len(p) > version {
		local = p[version]&0xf == 0
		switch {
		case p[version]>>4 != 2:
			return said, 0, errPrefaceVersion
		case p[version]&0xf > 1:
			return said, 0, errPrefaceCommand
		}
	}
	if len(p) > family && !local && (p[family]>>4 > 3 || p[family]&0xf > 2) {
		return said, 0, errPrefaceFamily
	}
	if len(p) < prefaceFixed {
		return said, 0, nil
	}
	n = prefaceFixed + int(binary.BigEndian.Uint16(p[length:]))
	switch {
	case n > most:
		return said, 0, errPrefaceLong
	case len(p) < n:
		return said, 0, nil
	case local: // "the receiver must discard the protocol block including the family"
		return preface{own: true}, n, nil
	}
	said, err = parsePrefaceBinary(p[:n], p[family])
	return said, n, err
}

// parsePrefaceBinary reads the addresses, and checks what is behind them.
func parsePrefaceBinary(p []byte, family byte) (said preface, err error) {
	sizes := [...]int{1: 4, 2: 16, 3: 108} // of an address
	size := sizes[family>>4]
	if size == 0 || family&0xf == 0 {
		// Unspecified: "the receiver is free to accept the connection anyway and use the real endpoint addresses
		// or to reject it". The real ones are the proxy's, which a client must not pass for, so it has none.
		return said, nil
	}
	block := p[prefaceFixed:]
	vectors := 2 * size
	if family>>4 != 3 {
		vectors += 2 * 2 // the ports
	}
	if len(block) < vectors {
		return said, errPrefaceShort
	}
	if err := checkVectors(p, prefaceFixed+vectors); err != nil {
		return said, err
	}
	if family>>4 == 3 || family&0xf == 2 { // datagrams are not supported, and then as unspecified
		return said, nil
	}
	source, _ := netip.AddrFromSlice(block[:size])
	return preface{client: netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(block[2*size:]))}, nil
}

// checkVectors skips what is behind the addresses: type, length and value, again and again. Only the
// checksum is looked at.
func checkVectors(p []byte, at int) error {
	for at < len(p) {
		if len(p)-at < 3 {
			return errPrefaceVector
		}
		kind, value := p[at], at+3
		at = value + int(binary.BigEndian.Uint16(p[at+1:]))
		if at > len(p) {
			return errPrefaceVector
		}
		if kind == prefaceCRC && (at-value != crc32.Size || binary.BigEndian.Uint32(p[value:]) != prefaceChecksum(p, value)) {
			return errPrefaceChecksum
		}
	}
	return nil
}

// prefaceChecksum is that of p without the checksum, which is at a place in it (section 2.2.3).
func prefaceChecksum(p []byte, at int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, p[:at])
	sum = crc32.Update(sum, table, make([]byte, crc32.Size))
	return crc32.Update(sum, table, p[at+crc32.Size:])
}
