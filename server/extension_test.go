//go:build linux

package server

import (
	"net/http"
	"strings"
	"testing"
)

// negotiated is what an endpoint agrees to, and its response, for headers as they stand.
func negotiated(c Compression, values ...string) (a agreement, response string, err error) {
	h := head{extended: true}
	for _, v := range values {
		h.lines = append(h.lines, "Sec-WebSocket-Extensions:"+v+"\r\n"...)
	}
	if a.deflate, a.bounded, err = c.negotiate(&h); a.deflate.agreed() {
		response = string(appendDeflation(nil, &a))
	}
	return a, response, err
}

// kept and forgetful are endpoints with windows of so many bits, with context takeover and without.
func kept(bits int) Compression {
	return Compression{Enabled: true, ContextTakeover: true, WindowBits: bits}
}

func forgetful(bits int) Compression { return Compression{Enabled: true, WindowBits: bits} }

// TestNegotiate holds each line of RFC 7692 section 7.1 about what a server answers.
func TestNegotiate(t *testing.T) {
	t.Parallel()
	const (
		pmd     = "permessage-deflate"
		forgets = "; server_no_context_takeover; client_no_context_takeover"
	)
	for _, c := range []struct {
		name   string
		ours   Compression
		offers string // of permessage-deflate; its name is put before each
		want   string // the same of the response
		d      deflation
	}{
		{"5.1 the bare offer", kept(15), "", "", deflation{15, 15, true, true}},
		{"7.1.1 we keep nothing, and say so unasked", forgetful(15), "", forgets, deflation{15, 15, false, false}},
		{"7.1.1.1 the server is to forget", kept(15), "; server_no_context_takeover", "; server_no_context_takeover", deflation{15, 15, false, true}},
		{"7.1.1.2 the client may forget", kept(15), "; client_no_context_takeover", "; client_no_context_takeover", deflation{15, 15, true, false}},
		{"7.1.1 both", kept(15), "; client_no_context_takeover; server_no_context_takeover", forgets, deflation{15, 15, false, false}},
		{"7.1.1 both, of one that keeps nothing anyway", forgetful(15), "; client_no_context_takeover; server_no_context_takeover", forgets, deflation{15, 15, false, false}},

		{"7.1.2.1 a bound is answered, though it bounds nothing", kept(15), "; server_max_window_bits=15", "; server_max_window_bits=15", deflation{15, 15, true, true}},
		{"7.1.2.1 a bound is kept", kept(15), "; server_max_window_bits=10", "; server_max_window_bits=10", deflation{10, 15, true, true}},
		{"7.1.2.1 the smallest bound", kept(15), "; server_max_window_bits=8", "; server_max_window_bits=8", deflation{8, 15, true, true}},
		{"7.1.2.1 the same or smaller", kept(9), "; server_max_window_bits=12", "; server_max_window_bits=9", deflation{9, 15, true, true}},
		{"7.1.2.1 not more than asked for", kept(12), "; server_max_window_bits=9", "; server_max_window_bits=9", deflation{9, 15, true, true}},
		{"7.1.2.1 ours, unasked", kept(12), "", "; server_max_window_bits=12", deflation{12, 15, true, true}},
		{"7.1.2.2 not in the response if it is not in the offer", kept(8), "", "; server_max_window_bits=8", deflation{8, 15, true, true}},
		{"7.1.2.2 the client can, and we need no bound", kept(15), "; client_max_window_bits", "", deflation{15, 15, true, true}},
		{"7.1.2.2 the client can, and we have one", kept(11), "; client_max_window_bits", "; server_max_window_bits=11; client_max_window_bits=11", deflation{11, 11, true, true}},
		{"7.1.2.2 the client's own bound", kept(15), "; client_max_window_bits=10", "; client_max_window_bits=10", deflation{15, 10, true, true}},
		{"7.1.2.2 the client's bound that bounds nothing", kept(15), "; client_max_window_bits=15", "", deflation{15, 15, true, true}},
		{"7.1.2.2 the same or smaller", kept(9), "; client_max_window_bits=12", "; server_max_window_bits=9; client_max_window_bits=9", deflation{9, 9, true, true}},
		{"7.1 all four", kept(15), "; client_max_window_bits=9; server_no_context_takeover; server_max_window_bits=10; client_no_context_takeover",
			forgets + "; server_max_window_bits=10; client_max_window_bits=9", deflation{10, 9, false, false}},
		{"Chrome's and Firefox's", kept(15), "; client_max_window_bits", "", deflation{15, 15, true, true}},
		{"Safari's", kept(15), "", "", deflation{15, 15, true, true}},

		{"6455 9.1 quoted", kept(15), `; server_max_window_bits="10"`, "; server_max_window_bits=10", deflation{10, 15, true, true}},
		{"6455 9.1 quoted and escaped", kept(15), `; server_max_window_bits="\1\0"`, "; server_max_window_bits=10", deflation{10, 15, true, true}},
		{"2616 2.1 blanks anywhere", kept(15), " \t;\tserver_max_window_bits = 10 ", "; server_max_window_bits=10", deflation{10, 15, true, true}},
		{"2616 2.1 blanks nowhere", kept(15), ";server_max_window_bits=10;client_max_window_bits=9", "; server_max_window_bits=10; client_max_window_bits=9", deflation{10, 9, true, true}},
	} {
		a, response, err := negotiated(c.ours, pmd+c.offers)
		if err != nil || a.deflate != c.d || response != pmd+c.want {
			t.Errorf("%s: %+v, %q, error %v\nwant %+v, %q", c.name, a.deflate, response, err, c.d, pmd+c.want)
		}
	}
}

// TestNegotiateDeclines: an offer that can't be held to is declined (RFC 7692 section 5.1), and the
// connection is not. The next offer has its chance.
func TestNegotiateDeclines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, offer string }{
		{"6455 9.1 another extension", "x-webkit-deflate-frame"},
		{"6455 9.1 another, with parameters", `mux; max-channels=4; flow-control; x="y"`},
		{"an extension is compared as it is", "Permessage-Deflate"},
		{"an extension with our parameters", "permessage-bzip2; client_max_window_bits"},
		{"7692 7 an unknown parameter", "permessage-deflate; level=9"},
		{"7692 7 a parameter is compared as it is", "permessage-deflate; Server_No_Context_Takeover"},
		{"7692 7 one repeated", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"},
		{"7692 7 one repeated", "permessage-deflate; client_no_context_takeover; client_no_context_takeover"},
		{"7692 7 one repeated", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"},
		{"7692 7 one repeated", "permessage-deflate; client_max_window_bits; client_max_window_bits=10"},
		{"7692 7 one repeated", "permessage-deflate; client_max_window_bits; client_max_window_bits"},
		{"7692 7.1.1.1 with a value", "permessage-deflate; server_no_context_takeover=1"},
		{"7692 7.1.1.1 with a quoted value", `permessage-deflate; server_no_context_takeover="true"`},
		{"7692 7.1.1.2 with a value", "permessage-deflate; client_no_context_takeover=15"},
		{"7692 7.1.2.1 without a value", "permessage-deflate; server_max_window_bits"},
		{"7692 7.1.2.1 too small", "permessage-deflate; server_max_window_bits=7"},
		{"7692 7.1.2.1 too large", "permessage-deflate; server_max_window_bits=16"},
		{"7692 7.1.2.1 nothing", "permessage-deflate; server_max_window_bits=0"},
		{"7692 7.1.2.1 a leading zero", "permessage-deflate; server_max_window_bits=08"},
		{"7692 7.1.2.1 a leading zero", "permessage-deflate; server_max_window_bits=010"},
		{"7692 7.1.2.1 a sign", "permessage-deflate; server_max_window_bits=+10"},
		{"7692 7.1.2.1 less than nothing", "permessage-deflate; server_max_window_bits=-8"},
		{"7692 7.1.2.1 no integer", "permessage-deflate; server_max_window_bits=8.0"},
		{"7692 7.1.2.1 no number", "permessage-deflate; server_max_window_bits=x"},
		{"7692 7.1.2.1 one that overflows", "permessage-deflate; server_max_window_bits=264"},
		{"7692 7.1.2.1 one that overflows", "permessage-deflate; server_max_window_bits=18446744073709551624"},
		{"7692 7.1.2.2 too small", "permessage-deflate; client_max_window_bits=7"},
		{"7692 7.1.2.2 too large", "permessage-deflate; client_max_window_bits=16"},
		{"7692 7.1.2.2 a leading zero", `permessage-deflate; client_max_window_bits="09"`},
	} {
		if a, response, err := negotiated(kept(15), c.offer); a != (agreement{}) || response != "" || err != nil {
			t.Errorf("%s: agreed to %+v, %q, error %v", c.name, a, response, err)
		}
		const next = "permessage-deflate; server_max_window_bits=11"
		for _, values := range [][]string{{c.offer + ", " + next}, {c.offer, next}} {
			if _, response, err := negotiated(kept(15), values...); response != next || err != nil {
				t.Errorf("%s: then %q is answered %q, error %v", c.name, next, response, err)
			}
		}
	}
}

// TestNegotiateList: several headers are one list, and its first offer that can be held to is agreed
// to (RFC 7692 section 5.1, RFC 6455 section 9.1).
func TestNegotiateList(t *testing.T) {
	t.Parallel()
	const one, two, other = "permessage-deflate; server_max_window_bits=11", "permessage-deflate; server_max_window_bits=12", "mux; x=1"
	for _, c := range []struct {
		name   string
		values []string
		want   string
	}{
		{"the first of two", []string{one + "," + two}, one},
		{"the first of two, the other way round", []string{two + " , " + one}, two},
		{"the first of two headers", []string{two, one}, two},
		{"behind another extension", []string{other + ", " + one}, one},
		{"before another extension", []string{one, other}, one},
		{"9110 5.6.1 empty elements", []string{", ,\t," + one + ",, ", ""}, one},
		{"9110 5.6.1 a header of empty elements", []string{"", ",", one}, one},
	} {
		if _, got, err := negotiated(kept(15), c.values...); got != c.want || err != nil {
			t.Errorf("%s: %q, error %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestNegotiateGrammar: a list that does not conform to the grammar of RFC 6455 section 9.1 fails
// the handshake, wherever it goes wrong, and also where compression is off.
func TestNegotiateGrammar(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		";", "; x", "=", "x;", "x; ", "x;;y", "x; =1", "x; y=", "x; y= ", "x; y=;z", "x; y=,z", "x; y==1", "x=1",
		"x y", "x; y z", "x; y=1 2", "x; y=1=2", "x/y", "x; y=(1)", "x; y:1", "é", "x; y=é", "x@y",
		`"x"`, `x; "y"`, `x; "y"=1`, `x; y="`, `x; y="1`, `x; y=""`, `x; y="1" 2`, `x; y="1"2`, `x; y="1 2"`, `x; y="1,2"`,
		`x; y="1;2"`, `x; y="\"1"`, `x; y="1\`, `x; y="1\"`, `x; y="\ "`, `x; y='1 2'`,
	} {
		for _, c := range []Compression{{}, kept(15), forgetful(8)} {
			const good = "permessage-deflate"
			for _, values := range [][]string{{value}, {good + "," + value}, {good, value}, {value, good}, {value + "," + good}, {"", value}, {value, ","}} {
				if a, response, err := negotiated(c, values...); err != errBadExtension || a != (agreement{}) || response != "" {
					t.Errorf("%q: %+v, %q, error %v", values, a, response, err)
				}
			}
		}
	}
	for _, value := range []string{"", " ", ",", " , ,\t", "x", "x,y", "x;y;z", `x;y="z"`, `x;y="\z"`, `x;y="!#$%&'*+-.^_|~"`, "x ; y = z", "permessage-deflate"} {
		if a, _, err := negotiated(Compression{}, value); err != nil || a != (agreement{}) {
			t.Errorf("%q, with compression off: %+v, error %v", value, a, err)
		}
	}
}

// TestNegotiateNothing: a list without an element is no offer, however many headers it takes, against the letter of RFC 6455 section 9.1.
func TestNegotiateNothing(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{{""}, {" "}, {","}, {" , ,\t"}, {"", ""}, {",", " ", ""}} {
		for _, c := range []Compression{{}, kept(15), forgetful(8)} {
			if a, response, err := negotiated(c, values...); err != nil || a != (agreement{}) || response != "" {
				t.Errorf("%q: %+v, %q, error %v", values, a, response, err)
			}
		}
	}
}

// TestHandshakeDeflate: what is agreed on is answered and with the connection, by each of the doors.
func TestHandshakeDeflate(t *testing.T) {
	const offer = "Sec-WebSocket-Extensions: mux, permessage-deflate; client_max_window_bits; server_max_window_bits=15"
	onPollers(t, func(t *testing.T, s *Server) {
		seen := make(chan deflation, 1)
		s.Handler = lifePlain
		on := func(on bool) Options {
			return Options{
				Compression:  Compression{Enabled: on, ContextTakeover: true, WindowBits: 12},
				Subprotocols: []string{"chat"},
				OnOpen: func(c *Conn, r *Request) {
					if r.Compressed() != on || r.Subprotocol() != "chat" {
						t.Errorf("compressed: %v, want %v; subprotocol %q", r.Compressed(), on, r.Subprotocol())
					}
					seen <- c.deflate
				},
			}
		}
		s.Handle("/on", on(true))
		s.Handle("/off", on(false))
		addr := serve(t, s)
		for _, c := range []struct {
			path, want string
			d          deflation
		}{
			{"/on", "\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12; client_max_window_bits=12\r\n", deflation{12, 12, true, true}},
			{"/off", "", deflation{}},
		} {
			for _, later := range []bool{false, true} {
				p := dialBoth(t, addr, later)
				p.send(upgradeTo(c.path, offer, "Sec-WebSocket-Protocol: chat"))
				answer := p.upgraded()
				if !strings.Contains(answer, c.want) || c.want == "" && strings.Contains(answer, "Extensions") {
					t.Errorf("%s, later: %v: answered %q, want %q", c.path, later, answer, c.want)
				}
				if d := receive(t, "the open event", seen); d != c.d {
					t.Errorf("%s, later: %v: the connection has %+v, want %+v", c.path, later, d, c.d)
				}
			}
			for _, later := range []bool{false, true} {
				p := dialBoth(t, addr, later)
				p.send(upgradeTo(c.path, offer, "Sec-WebSocket-Extensions: a b"))
				p.refusal(http.MethodGet, errBadExtension, nil)
			}
		}
	})
}

// TestHandshakeWindows: windows that live on are reserved, as long as the connection is there. Who
// comes when the budget is spent has compression without them, and is told so.
func TestHandshakeWindows(t *testing.T) {
	const offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9"
	const with, without = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9"
	const each = 1<<10 + 1<<9
	onPollers(t, func(t *testing.T, s *Server) {
		s.WindowBudget = 3*each - 1
		s.Handler = lifePlain
		s.Handle("/ws", Options{Compression: kept(10)})
		addr := serve(t, s)
		come := func(later bool, want string, held int64) *peer {
			t.Helper()
			p := dialBoth(t, addr, later)
			p.send(upgradeTo("/ws", offer))
			if answer := p.upgraded(); !strings.Contains(answer, "Sec-WebSocket-Extensions: "+want+"\r\n") {
				t.Errorf("answered %q, want %q", answer, want)
			}
			if got := s.Stats().WindowsHeld; got != held {
				t.Errorf("%d bytes are reserved, want %d", got, held)
			}
			return p
		}
		one, two := come(false, with, each), come(true, with, 2*each)
		three := come(false, without, 2*each)
		come(true, without, 2*each)
		must(t, three.conn.Close())
		must(t, two.conn.Close())
		await(t, "one is given back", func() bool { return s.Stats().WindowsHeld == each })
		come(false, with, 2*each)
		one.send(closeFrame(1000, ""))
		one.wantClose(1000, "")
		await(t, "another is given back", func() bool { return s.Stats().WindowsHeld == each })
	})
}

// TestHandshakeWindowsCut: what was reserved for an upgrade that came too late is given back. The
// harness sees that nothing is left.
func TestHandshakeWindowsCut(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	ep := s.Handle("/ws", Options{Compression: kept(15)})
	addr := serve(t, s)
	dial(t, addr)
	await(t, "it is there", func() bool { return s.Stats().Conns == 1 })
	for c := range everyConn(s) {
		a := agreement{deflate: deflation{15, 15, true, true}}
		quietly(t, c, func() { c.state |= stTurn; c.kill(Closing{Cause: ShutDown}) })
		if c.switchOver(new(worker), ep, []byte("dGhlIHNhbXBsZSBub25jZQ=="), &a) {
			t.Error("a dead connection is upgraded")
		}
		if held := s.Stats().WindowsHeld; held != 0 {
			t.Errorf("%d bytes stay reserved", held)
		}
		c.mu.Lock()
		c.letGo()
		c.mu.Unlock()
	}
}

// everyConn is all connections of a server, of any stage.
func everyConn(s *Server) func(func(*Conn) bool) {
	return func(yield func(*Conn) bool) {
		for _, l := range s.loops() {
			if !l.each(yield) {
				return
			}
		}
	}
}
