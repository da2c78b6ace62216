package interop

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stillpool/stillpool/server"
)

// TestInterop has every client go through every case, in a mode for each thing that can come of its
// offers: no compression, with it, and with context takeover.
func TestInterop(t *testing.T) {
	t.Parallel()
	inModes(t, client.outcomes, func(t *testing.T, c client, m mode) {
		for _, tc := range cases {
			if c.knows(tc.needs) {
				t.Run(tc.name, func(t *testing.T) {
					e := serve(t, m.server)
					r := c.talk(t, tc.on(e.addr, m.offer))
					tc.judge(t, r, e)
				})
			}
		}
	})
}

// inModes runs a test with every client in the modes that are chosen for it.
func inModes(t *testing.T, choose func(client) []mode, test func(*testing.T, client, mode)) {
	withEach(t, func(t *testing.T, c client) {
		for _, m := range choose(c) {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				test(t, c, m)
			})
		}
	})
}

// withEach runs a test with every client that is there.
func withEach(t *testing.T, test func(*testing.T, client)) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			takesPart(t, c.name)
			test(t, c)
		})
	}
}

// judge holds what client and server saw against what was to be seen.
func (tc testCase) judge(t *testing.T, r report, e *echo) {
	t.Helper()
	if r.Error != "" {
		t.Fatalf("the client failed behind %d of %d messages: %s", len(r.Heard), len(tc.say), r.Error)
	}
	if r.Subprotocol != tc.subprotocol {
		t.Errorf("agreed on the subprotocol %q, not %q", r.Subprotocol, tc.subprotocol)
	}
	if len(r.Heard) != len(tc.say) {
		t.Errorf("of %d messages %d came back", len(tc.say), len(r.Heard))
	}
	var pings []string
	for i, m := range tc.say {
		if i < len(r.Heard) && r.Heard[i] != m.whole() {
			t.Errorf("message %d came back as %+v, not %+v", i, r.Heard[i], m.whole())
		}
		if m.Ping != "" {
			pings = append(pings, m.Ping)
		}
	}
	if !slices.Equal(r.Pongs, pings) {
		t.Errorf("%q was answered with %q", pings, r.Pongs)
	}
	seen, noted := tc.ends()
	if r.Close != seen {
		t.Errorf("the client saw the end %+v, not %+v", r.Close, seen)
	}
	if why := e.end(t); why != noted {
		t.Errorf("the server saw the end %+v, not %+v", why, noted)
	}
}

func (m message) whole() heard {
	sum := sha256.Sum256(m.Data)
	return heard{m.Text, len(m.Data), hex.EncodeToString(sum[:])}
}

// TestWire looks at the wire, in every mode that the client knows: both sides do what they agreed on,
// and nothing else.
func TestWire(t *testing.T) {
	t.Parallel()
	inModes(t, client.modes, func(t *testing.T, c client, m mode) {
		tc := onTheWire
		if c.knows(canSplit) {
			tc = inFrames
		}
		e := serve(t, m.server)
		p := openTap(t, e.addr)
		r := c.talk(t, tc.on(p.addr, m.offer))
		tc.judge(t, r, e)
		extensions, client, server := p.sides(t)
		m.judgeExtensions(t, "the server agreed to", extensions)
		m.judgeExtensions(t, "the client saw", r.Extensions)
		m.judgeWire(t, "the client", client)
		m.judgeWire(t, "the server", server)
		for i, said := range tc.say {
			if said.Frames > 1 && client[i].frames < 2 {
				t.Errorf("the client sent message %d in one frame", i)
			}
		}
	})
}

// judgeExtensions holds what was agreed on against the mode, which leaves it to nobody whether
// windows live on.
func (m mode) judgeExtensions(t *testing.T, who, extensions string) {
	t.Helper()
	got, err := parseExtensions(extensions)
	_, serverForgets := got["server_no_context_takeover"]
	_, clientForgets := got["client_no_context_takeover"]
	forgets := m.agreed&referring == 0
	if on := m.agreed&compressed != 0; err != nil || on != (got != nil) || on && (serverForgets != forgets || clientForgets != forgets) {
		t.Errorf("%s %q (%v)", who, extensions, err)
	}
}

// judgeWire holds what one side sent against the mode.
func (m mode) judgeWire(t *testing.T, who string, sent []wired) {
	t.Helper()
	if len(sent) != len(onTheWire.say) {
		t.Fatalf("%s sent %d messages, not %d", who, len(sent), len(onTheWire.say))
	}
	last := len(sent) - 1
	if m.agreed&compressed == 0 {
		for i, w := range sent {
			if w.compressed || w.size != len(onTheWire.say[i].Data) {
				t.Errorf("%s sent message %d as %+v", who, i, w)
			}
		}
		return
	}
	if w, all := sent[last], len(onTheWire.say[last].Data); !w.compressed || w.size > all/4 {
		t.Errorf("%s sent %d bytes of words as %+v", who, all, w)
	}
	again, all := 0, 0
	for i, w := range sent[1:last] {
		again += w.size
		all += len(onTheWire.say[i].Data)
	}
	if m.agreed&referring != 0 && again > all/10 || m.agreed&referring == 0 && again < all/4 {
		t.Errorf("%s sent %d bytes that it had sent before as %d", who, all, again)
	}
}

// TestWindows goes through the sizes of windows.
func TestWindows(t *testing.T) {
	t.Parallel()
	withEach(t, func(t *testing.T, c client) {
		for _, s := range sizesFor(c) {
			t.Run(s.String(), func(t *testing.T) {
				tc := inSizes(s)
				e := serve(t, server.Compression{Enabled: true, ContextTakeover: true, WindowBits: s.option})
				r := c.talk(t, tc.on(e.addr, &s.offer))
				tc.judge(t, r, e)
				s.judge(t, c, r.Extensions)
			})
		}
	})
}

// judge holds what was agreed on against what was asked for. RFC 7692 section 7.1.2.1: a server that
// accepts a size says so.
func (s sizes) judge(t *testing.T, c client, extensions string) {
	t.Helper()
	got, err := parseExtensions(extensions)
	if err != nil || got == nil {
		t.Fatalf("agreed to %q: %v", extensions, err)
	}
	mostServer, mostClient := s.most()
	if !c.knows(canBound) {
		mostClient = maxBits
	}
	server, answered := got["server_max_window_bits"]
	client := got["client_max_window_bits"]
	if (s.offer.ServerBits > 0 && !answered) || !upTo(server, mostServer) || !upTo(client, mostClient) {
		t.Errorf("agreed to %q", extensions)
	}
}

// upTo tells whether bits, which are the most if nothing is said of them, are no more than most.
func upTo(bits string, most int) bool {
	n, err := strconv.Atoi(cmp.Or(bits, strconv.Itoa(maxBits)))
	return err == nil && n >= minBits && n <= most
}

// parseExtensions reads the parameters of permessage-deflate, or answers nil if there is none.
func parseExtensions(header string) (map[string]string, error) {
	if header == "" {
		return nil, nil
	}
	name, params, _ := strings.Cut(strings.ReplaceAll(header, " ", ""), ";")
	if name != "permessage-deflate" {
		return nil, fmt.Errorf("an extension that nobody offered: %s", name)
	}
	all := map[string]string{}
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(param, "=")
		all[key] = value
	}
	return all, nil
}
