package bench

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// maxResponse bounds the head of the answer to the upgrade. No server of a single handshake needs
// more, and a connection keeps at most this much while it waits for the rest.
const maxResponse = 8 << 10

var (
	errAccept       = errors.New("upgrade: wrong Sec-WebSocket-Accept")
	errNoUpgrade    = errors.New("upgrade: answered 101 without Upgrade: websocket and Connection: Upgrade")
	errExtension    = errors.New("upgrade: an extension or subprotocol that was not asked for")
	errResponse     = errors.New("upgrade: malformed answer")
	errResponseLong = errors.New("upgrade: answer too long")
)

// statusError is an answer other than 101.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("upgrade: HTTP %d %s", int(e), http.StatusText(int(e)))
}

// upgrader writes requests and checks answers. It belongs to one loop.
//
// Nothing is kept a connection: the key is made of the loop's random half and the number of the
// connection, so that it can be made again when the answer has come.
type upgrader struct {
	head   string // of the request, up to the key
	offer  string // of extensions; none by default
	agreed string // to the offer, in the last answer that was checked
	half   uint64
	src    bytes.Reader
	buf    *bufio.Reader
}

func newUpgrader(t target) *upgrader {
	return &upgrader{
		head: "GET " + t.path + " HTTP/1.1\r\nHost: " + t.host +
			"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
		half: rand.Uint64(),
		buf:  bufio.NewReader(nil),
	}
}

func (u *upgrader) key(index uint32) string {
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], u.half)
	binary.LittleEndian.PutUint64(nonce[8:], u.half^uint64(index+1)*0x9e3779b97f4a7c15)
	return base64.StdEncoding.EncodeToString(nonce[:])
}

func (u *upgrader) request(index uint32) []byte {
	offer := ""
	if u.offer != "" {
		offer = "\r\nSec-WebSocket-Extensions: " + u.offer
	}
	return []byte(u.head + u.key(index) + offer + "\r\n\r\n")
}

// check looks for a whole answer in p. It returns how many bytes of p the answer took, 0 if more
// must come first.
func (u *upgrader) check(index uint32, p []byte) (int, error) {
	end := bytes.Index(p, []byte("\r\n\r\n")) + 4
	if end < 4 {
		if len(p) >= maxResponse {
			return 0, errResponseLong
		}
		return 0, nil
	}
	u.src.Reset(p[:end])
	u.buf.Reset(&u.src)
	r, err := http.ReadResponse(u.buf, nil)
	if err != nil {
		return 0, errResponse
	}
	return end, u.accepted(index, r)
}

// accepted applies the list of section 4.1, "the client MUST validate the server's response".
func (u *upgrader) accepted(index uint32, r *http.Response) error {
	h := r.Header
	u.agreed = h.Get("Sec-WebSocket-Extensions")
	switch {
	case r.StatusCode != http.StatusSwitchingProtocols:
		return statusError(r.StatusCode)
	case !hasToken(h["Upgrade"], "websocket"), !hasToken(h["Connection"], "upgrade"):
		return errNoUpgrade
	case h.Get("Sec-WebSocket-Accept") != acceptOf(u.key(index)):
		return errAccept
	case u.offer == "" && u.agreed != "", h.Get("Sec-WebSocket-Protocol") != "":
		return errExtension
	}
	return nil
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// acceptOf is the answer to a key, by section 4.2.2.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
