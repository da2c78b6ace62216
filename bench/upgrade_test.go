package bench

import (
	"errors"
	"strings"
	"testing"
)

func answer(u *upgrader, index uint32, change ...string) string {
	a := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptOf(u.key(index)) + "\r\n\r\n"
	return strings.NewReplacer(change...).Replace(a)
}

// TestAccept is the example of section 1.3.
func TestAccept(t *testing.T) {
	if got := acceptOf("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %s", got)
	}
}

func TestKeysDiffer(t *testing.T) {
	u := newUpgrader(target{})
	seen := map[string]bool{}
	for i := range uint32(1000) {
		seen[u.key(i)] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d keys for 1000 connections", len(seen))
	}
}

func TestUpgradeChecked(t *testing.T) {
	u := newUpgrader(target{})
	for _, c := range []struct {
		name   string
		change []string
		want   error
	}{
		{"as it should be", nil, nil},
		{"in other letters", []string{"websocket", "WebSocket", "Connection: Upgrade", "connection: keep-alive, upgrade"}, nil},
		{"with a body of frames", []string{"\r\n\r\n", "\r\n\r\n\x81\x00"}, nil},
		{"refused", []string{"101 Switching Protocols", "403 Forbidden"}, statusError(403)},
		{"without upgrade", []string{"Upgrade: websocket\r\n", ""}, errNoUpgrade},
		{"without connection", []string{"Connection: Upgrade", "Connection: close"}, errNoUpgrade},
		{"of another key", []string{acceptOf(u.key(7)), acceptOf(u.key(8))}, errAccept},
		{"with an extension", []string{"Connection", "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection"}, errExtension},
		{"with a subprotocol", []string{"Connection", "Sec-WebSocket-Protocol: chat\r\nConnection"}, errExtension},
		{"of no HTTP", []string{"HTTP/1.1", "SMTP"}, errResponse},
	} {
		a := answer(u, 7, c.change...)
		if _, err := u.check(7, []byte(a)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestUpgradeAtEverySplit(t *testing.T) {
	u := newUpgrader(target{})
	a := answer(u, 0)
	for i := range len(a) {
		if n, err := u.check(0, []byte(a[:i])); n != 0 || err != nil {
			t.Fatalf("%d of %d bytes: %d, %v", i, len(a), n, err)
		}
	}
	if n, err := u.check(0, []byte(a+"\x81\x00")); n != len(a) || err != nil {
		t.Errorf("took %d of %d bytes, %v", n, len(a), err)
	}
}

func TestUpgradeAnswerIsBounded(t *testing.T) {
	u := newUpgrader(target{})
	if _, err := u.check(0, []byte(strings.Repeat("x", maxResponse-1))); err != nil {
		t.Errorf("one byte less than the bound: %v", err)
	}
	if _, err := u.check(0, []byte(strings.Repeat("x", maxResponse))); err != errResponseLong {
		t.Errorf("at the bound: %v", err)
	}
}
