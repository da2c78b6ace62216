package interop

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/stillpool/stillpool/server"
)

// A conversation is all that a client is told: what to connect to, what to offer and to send, and
// how to close. Every message comes back as it was; all are sent without waiting for that. Clients
// that are not written in Go are told in JSON.
type conversation struct {
	URL          string    `json:"url"`
	Subprotocols []string  `json:"subprotocols"`
	Offer        *offer    `json:"offer"` // of permessage-deflate; nil is none
	Messages     []message `json:"messages"`
	// Close is what the client closes with when everything came back; nil leaves it to the server.
	Close *closing `json:"close"`
}

type message struct {
	Text   bool   `json:"text"`
	Data   []byte `json:"data"`
	Frames int    `json:"frames"` // how many; 0 is one
	Ping   string `json:"ping"`   // sent before the last frame; empty is none
}

// offer is what a client says of permessage-deflate. The names in JSON are those of Node's ws.
type offer struct {
	ServerFresh bool `json:"serverNoContextTakeover,omitempty"`
	ClientFresh bool `json:"clientNoContextTakeover,omitempty"`
	ServerBits  int  `json:"serverMaxWindowBits,omitempty"`
	ClientBits  int  `json:"clientMaxWindowBits,omitempty"`
}

type closing struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// noCode is what is said of a close frame that is empty (RFC 6455 section 7.4.1).
const noCode = int(server.CodeNone)

// A report is what the client saw. Clients judge nothing.
type report struct {
	Extensions  string   `json:"extensions"` // agreed on
	Subprotocol string   `json:"subprotocol"`
	Heard       []heard  `json:"heard"`
	Pongs       []string `json:"pongs"`
	Close       closing  `json:"close"`
	Error       string   `json:"error"`
}

// heard is a message that came.
type heard struct {
	Text   bool   `json:"text"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// The modes are what client and server say of compression, and what comes of it.
var modes = []mode{
	{name: "off", needs: canRefuse},
	{name: "only the server would", server: fresh, needs: canRefuse},
	{name: "only the client would", offer: keep, needs: canKeep},
	{name: "no takeover", server: fresh, offer: forget, agreed: compressed, needs: canForget},
	{name: "takeover, if it were for the client", server: fresh, offer: keep, agreed: compressed, needs: canKeep},
	{name: "takeover, if it were for the server", server: kept, offer: forget, agreed: compressed, needs: canForget},
	{name: "takeover", server: kept, offer: keep, agreed: compressed | referring, needs: canKeep},
}

type mode struct {
	name   string
	server server.Compression
	offer  *offer
	agreed agreement
	needs  ability
}

var (
	fresh  = server.Compression{Enabled: true}
	kept   = server.Compression{Enabled: true, ContextTakeover: true}
	keep   = &offer{}
	forget = &offer{ServerFresh: true, ClientFresh: true}
)

// agreement is what is to be seen of compression, in both directions.
type agreement uint8

const (
	compressed agreement = 1 << iota
	referring            // to earlier messages: context takeover
)

// The cases, each of which every client goes through that can.
var cases = []testCase{
	{name: "sizes", say: each(0, 1, 125, 126, 127, 65535, 65536)},
	{name: "a mebibyte", say: each(1 << 20)},
	{name: "a thousand in flight", say: thousand()},
	{name: "frames", needs: canSplit, say: split(each(2, 125, 126, 1000, 65535, 65536))},
	{name: "pings", needs: canPing, say: pinged(each(0, 1000))},
	{name: "pings between frames", needs: canPing | canSplit, say: pinged(split(each(2, 5000)))},

	{name: "subprotocol of the server's choice", ask: []string{"one", "two"}, subprotocol: "two"},
	{name: "subprotocol of the client's only", ask: []string{"three", "one"}, subprotocol: "one"},

	{name: "client closes without a code", needs: canOmit, client: &closing{Code: noCode}},
	{name: "client closes with 1000", client: &closing{Code: 1000}},
	{name: "client closes with 1000 and a reason", client: &closing{1000, "that's all"}},
	{name: "client closes with 3000", client: &closing{3000, "für heute genug"}},
	{name: "client closes with 4999", client: &closing{4999, strings.Repeat("ü", 61) + "!"}},
	{name: "client closes behind messages", client: &closing{3000, "enough"}, say: each(1, 1000)},

	{name: "server closes with 1000", server: &closing{Code: 1000}},
	{name: "server closes with 1000 and a reason", server: &closing{1000, "that's all"}},
	{name: "server closes with 1001", server: &closing{1001, "moving on"}},
	{name: "server closes with 1008", server: &closing{1008, "für heute genug"}},
	{name: "server closes with 3000", server: &closing{3000, strings.Repeat("ü", 61) + "!"}},
	{name: "server closes behind messages", server: &closing{3000, "enough"}, say: each(1, 1000)},
}

// spoken are the server's subprotocols, best first.
var spoken = []string{"two", "one"}

// A testCase is a conversation before it is known where and in which mode it is had.
type testCase struct {
	name  string
	needs ability
	say   []message
	ask   []string // subprotocols
	// subprotocol is what is agreed on.
	subprotocol string
	// client or server is who closes, and with what; if neither, the client does with 1000.
	client, server *closing
}

// on is the conversation with the server at the given address, with the given offer.
func (c testCase) on(address string, o *offer) conversation {
	told := conversation{URL: "ws://" + address + "/echo", Subprotocols: c.ask, Offer: o, Messages: c.say}
	if c.server == nil {
		told.Close = c.closes()
	} else {
		// So says the server behind that many messages.
		told.URL += fmt.Sprintf("?after=%d&code=%d&reason=%s", len(c.say), c.server.Code, url.QueryEscape(c.server.Reason))
	}
	return told
}

func (c testCase) closes() *closing { return cmp.Or(c.server, c.client, &closing{Code: 1000}) }

// ends is how client and server see the connection end. The server answers a close with its code
// alone (RFC 6455 section 5.5.1).
func (c testCase) ends() (seen closing, noted server.Closing) {
	with := *c.closes()
	noted = server.Closing{Cause: server.ClosedLocally, Code: server.Code(with.Code), Reason: with.Reason}
	if c.server == nil {
		noted.Cause, with.Reason = server.PeerClosed, ""
	}
	return with, noted
}

// onTheWire is what is looked at on the wire: eight times the same, which shrinks to almost nothing
// where a message may refer to an earlier one, and words, which shrink by themselves.
var onTheWire = testCase{say: append(slices.Repeat([]message{digits(2000, 0)}, 8), words(32<<10))}

// inFrames is the same in frames, for clients that can.
var inFrames = testCase{say: split(slices.Clone(onTheWire.say))}

// sizes are what is said of the windows' sizes, each in bits of 8 to 15; 0 is nothing: the server's
// option, and what the client asks for.
type sizes struct {
	option int
	offer  offer
}

// sizesFor are all sizes that the server's option can set, without and with context takeover, and all
// pairs that a client can ask for if it can.
func sizesFor(c client) (all []sizes) {
	least := minBits
	if c.knows(noEight) {
		least++
	}
	for a := least; a <= maxBits; a++ {
		if c.knows(canForget) {
			all = append(all, sizes{a, *forget})
		}
		if c.knows(canKeep) {
			all = append(all, sizes{a, *keep})
		}
		if !c.knows(canAsk) {
			continue
		}
		for b := minBits; b <= maxBits; b++ {
			all = append(all, sizes{0, offer{ServerBits: a, ClientBits: b}})
		}
	}
	return all
}

const minBits, maxBits = 8, 15

func (s sizes) String() string {
	return fmt.Sprintf("option %d, asked for %d and %d, takeover %t", s.option, s.offer.ServerBits, s.offer.ClientBits, !s.offer.ServerFresh)
}

// inSizes is what is said with these sizes: what repeats at the edges of the windows, and beyond them.
func inSizes(s sizes) testCase {
	server, client := s.most()
	return testCase{say: append(around(server), around(client)...)}
}

// most is how large the server's window may be, and the client's.
func (s sizes) most() (server, client int) {
	option := cmp.Or(s.option, maxBits)
	return min(option, cmp.Or(s.offer.ServerBits, maxBits)), min(option, cmp.Or(s.offer.ClientBits, maxBits))
}
