//go:build linux

package server

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The grammar of RFC 6455 section 9.1 once more, as an expression; a list may have no element at all. What is in quotes is a token after
// unescaping, so what is escaped is a token's character too.
var (
	fuzzElement = strings.NewReplacer("T", "[!#$%&'*+.^_`|~0-9A-Za-z-]", "B", `[ \t]*`).
			Replace(`T+(?:B;BT+(?:B=B(?:T+|"(?:\\?T)+"))?)*`)
	fuzzElements = regexp.MustCompile(fuzzElement)
	fuzzList     = regexp.MustCompile(`^[ \t,]*(?:` + fuzzElement + `[ \t]*(?:,[ \t]*(?:` + fuzzElement + `)?[ \t]*)*)?$`)
	fuzzParam    = regexp.MustCompile(`^(?:server_no_context_takeover|client_no_context_takeover|client_max_window_bits|(?:server|client)_max_window_bits=(?:[89]|1[0-5]))$`)
)

// FuzzNegotiate: a list is refused exactly if it breaks the grammar, be it one header or several, and
// the response is one that RFC 7692 section 7.1 allows to the first offer that is lawful.
func FuzzNegotiate(f *testing.F) {
	for _, list := range []string{
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9, permessage-deflate",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
		`x-webkit-deflate-frame, mux; max-channels=4; flow-control, permessage-deflate; server_max_window_bits="\1\0"`,
		`permessage-deflate; server_max_window_bits="1,0"`, `permessage-deflate; client_max_window_bits="`, `a; b="\"", permessage-deflate`,
		", ,\tpermessage-deflate ; server_max_window_bits = 08,", "permessage-deflate; client_max_window_bits; client_max_window_bits=8", "", ",", " ,\t, ", "a;", "a b", "é",
	} {
		f.Add(list, uint64(0), uint8(0x0f))
		f.Add(list, ^uint64(0), uint8(0x1a))
		f.Add(list, uint64(0b101), uint8(0x38))
	}
	f.Fuzz(func(t *testing.T, list string, cuts uint64, how uint8) {
		if strings.ContainsAny(list, "\r\n") {
			return // no header's value
		}
		ours := Compression{Enabled: how&0x20 == 0, ContextTakeover: how&0x10 == 0, WindowBits: minWindowBits + int(how&7)}
		a, response, err := negotiated(ours, list)
		cut, cutResponse, cutErr := negotiated(ours, headersOf(list, cuts)...)
		if a != cut || response != cutResponse || err != cutErr {
			t.Fatalf("one header:  %+v, %q, error %v\nseveral: %+v, %q, error %v", a, response, err, cut, cutResponse, cutErr)
		}
		if lawful := fuzzList.MatchString(list); lawful != (err == nil) {
			t.Fatalf("%q conforms to the grammar: %v; error %v", list, lawful, err)
		}
		offer := firstLawful(list)
		if err != nil || !ours.Enabled {
			offer = nil
		}
		if (offer != nil) != a.deflate.agreed() || (offer != nil) != (response != "") {
			t.Fatalf("%q: offered %v, agreed to %+v, %q", list, offer, a.deflate, response)
		}
		if offer != nil {
			allowed(t, ours, offer, paramsOf(response), a.deflate)
		}
	})
}

// headersOf cuts a list at some of its commas.
func headersOf(list string, cuts uint64) (values []string) {
	for ; ; cuts >>= 1 {
		i := strings.IndexByte(list, ',')
		if i < 0 {
			return append(values, list)
		}
		if cuts&1 == 0 { // this comma stays, and the next cut is looked for behind it
			rest := headersOf(list[i+1:], cuts>>1)
			rest[0] = list[:i+1] + rest[0]
			return append(values, rest...)
		}
		values, list = append(values, list[:i]), list[i+1:]
	}
}

// firstLawful are the parameters of the first offer that a server may agree to.
func firstLawful(list string) map[string]string {
	for _, element := range fuzzElements.FindAllString(list, -1) {
		if offer := paramsOf(element); offer != nil {
			return offer
		}
	}
	return nil
}

// paramsOf are the parameters of permessage-deflate, or nil if it is something else or has one that is
// not lawful.
func paramsOf(element string) map[string]string {
	parts := strings.Split(strings.NewReplacer(" ", "", "\t", "", `"`, "", `\`, "").Replace(element), ";")
	params := map[string]string{}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		if _, repeated := params[name]; repeated || !fuzzParam.MatchString(p) {
			return nil
		}
		params[name] = value
	}
	if parts[0] != "permessage-deflate" {
		return nil
	}
	return params
}

// allowed holds a response against the offer that it agrees to, and what is kept against both.
func allowed(t *testing.T, ours Compression, offer, response map[string]string, d deflation) {
	t.Helper()
	has := func(m map[string]string, name string) bool { _, ok := m[name]; return ok }
	bits := func(m map[string]string, name string) int {
		if n, err := strconv.Atoi(m[name]); err == nil {
			return n
		}
		return maxWindowBits
	}
	const serverBits, clientBits, serverForgets, clientForgets = "server_max_window_bits", "client_max_window_bits", "server_no_context_takeover", "client_no_context_takeover"
	for clause, holds := range map[string]bool{
		"the response is lawful":                              response != nil,
		"7.1.1.1 what was asked of the server is accepted":    has(response, serverForgets) || !has(offer, serverForgets),
		"7.1.1.1 the server keeps what it says":               d.keepOut == !has(response, serverForgets),
		"7.1.1.2 the client may keep what it was told":        d.keepIn == !has(response, clientForgets),
		"7.1.2.1 what was asked of the server is answered":    has(response, serverBits) || !has(offer, serverBits),
		"7.1.2.1 with the same or a smaller value":            bits(response, serverBits) <= bits(offer, serverBits),
		"7.1.2.2 what was not offered is not in the response": has(offer, clientBits) || !has(response, clientBits),
		"7.1.2.2 with a value":                                response[clientBits] != "" || !has(response, clientBits),
		"7.1.2.2 the same or a smaller one":                   bits(response, clientBits) <= bits(offer, clientBits),
		"the server's window is what was said":                int(d.out) == bits(response, serverBits),
		"the client's window is what was said":                int(d.in) == bits(response, clientBits),
		"the server's window is within its own bound":         int(d.out) <= ours.WindowBits && d.out >= minWindowBits,
		"the client's is, if it can be":                       int(d.in) <= ours.WindowBits || !has(offer, clientBits),
		"nothing is kept that is not to be":                   ours.ContextTakeover || !d.keepOut && !d.keepIn,
	} {
		if !holds {
			t.Errorf("%s: not so with %v, offered %v, answered %v, agreed %+v", clause, ours, offer, response, d)
		}
	}
}

func TestHeadersOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cuts uint64
		want []string
	}{{0, []string{"a,b,c,d"}}, {7, []string{"a", "b", "c", "d"}}, {5, []string{"a", "b,c", "d"}}, {2, []string{"a,b", "c,d"}}} {
		if got := headersOf("a,b,c,d", c.cuts); !slices.Equal(got, c.want) {
			t.Errorf("%b: %q, want %q", c.cuts, got, c.want)
		}
	}
}
