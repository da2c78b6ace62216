//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// balanced holds the books of a server that has ended against each other: nobody is at any stage, and
// who came has gone in one way.
func balanced(t testing.TB, s *Server) {
	t.Helper()
	st := s.Stats()
	if st.Handshaking != 0 || st.Open != 0 || st.Closing != 0 || st.PlainHTTP != 0 {
		t.Errorf("left at the end: %d before the upgrade, %d open, %d closing, %d of HTTP", st.Handshaking, st.Open, st.Closing, st.PlainHTTP)
	}
	var told uint64 // by the loops
	for _, l := range s.loops() {
		for i := range l.stats.handshakes {
			told += l.stats.handshakes[i].Load()
		}
	}
	if gone := st.Closed + st.Abandoned + told; !servesPlain(s) && st.Accepted != gone {
		t.Errorf("%d came, but %d were closed, %d abandoned and %d refused", st.Accepted, st.Closed, st.Abandoned, told)
	}
	if byCode := sum(st.ClosedByCode[:]); byCode != st.Closed || st.ClosedByCause[0] != 0 {
		t.Errorf("%d closed, but %d by code; %d without a cause", st.Closed, byCode, st.ClosedByCause[0])
	}
	if st.Lateness.Count() != st.Ticks || st.Late > st.Ticks {
		t.Errorf("%d ticks, but %d in the histogram of lateness, and %d late", st.Ticks, st.Lateness.Count(), st.Late)
	}
}

// servesPlain reports whether net/http has connections of s, whose ends are in no book.
func servesPlain(s *Server) bool {
	plain := s.Handler != nil
	if all := s.endpoints.Load(); all != nil {
		for _, ep := range *all {
			plain = plain || ep.opts.Plain != nil
		}
	}
	return plain
}

// every is what each refusal that the package has a variable for counts as.
var every = map[string]struct {
	is   *refusal
	want RefusalReason
}{
	"errBareLF": {errBareLF, RefusedBadRequest}, "errControlByte": {errControlByte, RefusedBadRequest},
	"errRequestLine": {errRequestLine, RefusedBadRequest}, "errTarget": {errTarget, RefusedBadRequest},
	"errHTTPVersion": {errHTTPVersion, RefusedBadRequest}, "errOldHTTP": {errOldHTTP, RefusedBadRequest}, "errFold": {errFold, RefusedBadRequest},
	"errFieldName": {errFieldName, RefusedBadRequest}, "errNoHost": {errNoHost, RefusedBadRequest},
	"errManyHosts": {errManyHosts, RefusedBadRequest}, "errHost": {errHost, RefusedBadRequest},
	"errBothLengths": {errBothLengths, RefusedBadRequest}, "errManyLengths": {errManyLengths, RefusedBadRequest},
	"errBadPathEscape": {errBadPathEscape, RefusedBadRequest}, "errSingleHeader": {errSingleHeader, RefusedBadRequest},
	"errForwarded": {errForwarded, RefusedBadRequest}, "errDiffering": {errDiffering, RefusedBadRequest},
	"errMethod": {errMethod, RefusedBadRequest}, "errNoUpgrade": {errNoUpgrade, RefusedBadRequest},
	"errNoConnection": {errNoConnection, RefusedBadRequest}, "errVersion": {errVersion, RefusedBadRequest},
	"errNoKey": {errNoKey, RefusedBadRequest}, "errUpgradeBody": {errUpgradeBody, RefusedBadRequest},
	"errBadSubproto": {errBadSubproto, RefusedBadRequest}, "errBadExtension": {errBadExtension, RefusedBadRequest},
	"errHeadTooLarge":   {errHeadTooLarge, RefusedTooLarge},
	"errHeadTooSlow":    {errHeadTooSlow, RefusedTimeout},
	"errAuthorizeSlow":  {errAuthorizeSlow, RefusedAuthorizeTimeout},
	"errNotFound":       {errNotFound, RefusedNotFound},
	"errOrigin":         {errOrigin, RefusedOrigin},
	"errDenied":         {errDenied, RefusedUnauthorized},
	"errFailed":         {errFailed, RefusedFailed},
	"errTooManyConns":   {errTooManyConns, RefusedFull},
	"errAddressFull":    {errAddressFull, RefusedAddress},
	"errManyHandshakes": {errManyHandshakes, RefusedHandshakes},
	"errTooFast":        {errTooFast, RefusedRate},
	"errNoDescriptors":  {errNoDescriptors, RefusedDescriptors},
	"errNoRoom":         {errNoRoom, RefusedNoMemory},
	"errShuttingDown":   {errShuttingDown, RefusedDraining},
	"errStart":          {errStart, RefusedUnavailable},
	"errHTTP2":          {errHTTP2, RefusedTakeover},
	"errTLS":            {errTLS, RefusedTakeover},
	"errWrap":           {errWrap, RefusedTakeover},
}

// TestEveryRefusalHasAReason: the table above has all refusals there are, none of them counts as
// another than it says, and only what is in nobody's table counts as none of them.
func TestEveryRefusalHasAReason(t *testing.T) {
	t.Parallel()
	for _, name := range refusalsInSource(t) {
		r, ok := every[name]
		if !ok {
			t.Errorf("%s is a refusal whose reason nobody has thought of", name)
		} else if got := r.is.why(); got != r.want {
			t.Errorf("%s counts as %v, want %v", name, got, r.want)
		}
	}
	for d, want := range map[*Rejection]RefusalReason{{}: RefusedUnauthorized, {Status: 404}: RefusedUnauthorized, {Status: 302}: RefusedUnauthorized} {
		if got := d.refusal().why(); got != want {
			t.Errorf("a Rejection with %d counts as %v, want %v", d.Status, got, want)
		}
	}
	for status, want := range map[int]RefusalReason{503: RefusedUnavailable, 418: RefusedOther} {
		if got := refused(status, "").why(); got != want {
			t.Errorf("%d counts as %v, want %v", status, got, want)
		}
	}
	if got := errOrigin.to([]byte("HEAD / HTTP/1.1")).why(); got != RefusedOrigin {
		t.Errorf("as the answer to HEAD it counts as %v", got)
	}
}

// refusalsInSource are the names of the package's variables that are made by one of the functions
// that make a refusal.
func refusalsInSource(t *testing.T) (names []string) {
	t.Helper()
	makers := []string{"refused", "badRequest", "notAllowed", "upgradeRequired", "comeBack", "refusal"}
	var maker func(ast.Expr) bool
	maker = func(e ast.Expr) bool {
		switch x := e.(type) {
		case *ast.CallExpr:
			return maker(x.Fun)
		case *ast.SelectorExpr:
			return maker(x.X)
		case *ast.UnaryExpr:
			return maker(x.X)
		case *ast.CompositeLit:
			return maker(x.Type)
		case *ast.Ident:
			return slices.Contains(makers, x.Name)
		}
		return false
	}
	for _, name := range sources(t, ".") {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				if v := spec.(*ast.ValueSpec); len(v.Values) == 1 && maker(v.Values[0]) {
					names = append(names, v.Names[0].Name)
				}
			}
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %d refusals found: %v", len(names), names)
	}
	return names
}

// TestNamesOfCounts: what is counted by has a name each, and no two the same.
func TestNamesOfCounts(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	once := func(kind string, s fmt.Stringer) {
		if name := kind + s.String(); s.String() == "" || seen[name] {
			t.Errorf("%s %d is named %q like another", kind, s, s)
		} else {
			seen[name] = true
		}
	}
	for i := range RefusalReasons {
		once("reason ", RefusalReason(i))
	}
	for i := range CodeClasses {
		once("class ", CodeClass(i))
	}
	for i := range Causes {
		once("cause ", Cause(i))
	}
	for i := range OffloadReasons {
		once("offload ", OffloadReason(i))
	}
	for s, want := range map[fmt.Stringer]string{
		RefusalReason(RefusalReasons): "other", RefusedTakeover: "takeover", RefusedFull: "full",
		Cause(Causes): "unknown", OffloadReason(OffloadReasons): "unknown", ShutDown: "server shut down",
		Code(1000).Class(): "1000", Code(1006).Class(): "1006", Code(1015).Class(): "1015", CodeNone.Class(): "none",
		Code(999).Class(): "other", Code(1016).Class(): "other", Code(2999).Class(): "other", Code(5000).Class(): "other", CodeClass(255): "other",
		Code(3000).Class(): "application 3000-3999", Code(3999).Class(): "application 3000-3999",
		Code(4000).Class(): "private 4000-4999", Code(4999).Class(): "private 4000-4999",
	} {
		if s.String() != want {
			t.Errorf("%#v is named %q, want %q", s, s, want)
		}
	}
}

// reasons are the refusals that a server counts, by name.
func reasons(s *Server) map[RefusalReason]uint64 {
	counts := map[RefusalReason]uint64{}
	for i, n := range s.Stats().RefusedBy {
		if n > 0 {
			counts[RefusalReason(i)] = n
		}
	}
	return counts
}

// wantReasons waits until a server counts these refusals, and no others.
func wantReasons(t *testing.T, s *Server, want map[RefusalReason]uint64) {
	t.Helper()
	var total uint64
	for _, n := range want {
		total += n
	}
	await(t, fmt.Sprintf("%d refusals", total), func() bool { return s.Stats().Handshakes >= total })
	if got := reasons(s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted are %v, want %v", got, want)
	}
}

// TestStatsRefusedByDoor: a refusal counts the same by each of the doors: the server's own, behind
// its Handler, and mounted in another http.Server.
func TestStatsRefusedByDoor(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handler = lifePlain
		ep := s.Handle("/ws", Options{Authorize: func(r *http.Request) (Grant, error) {
			if r.URL.RawQuery == "panic" {
				panic("as it was asked to")
			}
			return Grant{}, errors.New("no")
		}})
		addr := serve(t, s)
		mounted := lifeListen(t)
		lifeHTTPServer(t, ep, mounted)
		for _, door := range []struct {
			addr  string
			later bool
		}{{addr, false}, {addr, true}, {mounted.Addr().String(), false}} {
			for _, head := range [][]byte{
				headOf("GET /ws HTTP/1.1", "Host: a"), upgradeTo("/ws", "Origin: http://evil.com"), upgradeTo("/ws"), upgradeTo("/ws?panic"),
			} {
				p := dialBoth(t, door.addr, door.later)
				p.send(head)
				p.answer()
			}
		}
		wantReasons(t, s, map[RefusalReason]uint64{RefusedBadRequest: 3, RefusedOrigin: 3, RefusedUnauthorized: 3, RefusedFailed: 3})
	})
}

// TestStatsRefusedBy causes the other refusals, one by one.
func TestStatsRefusedBy(t *testing.T) {
	t.Parallel()
	half := []byte("GET /ws HTTP/1.1\r\n")
	for want, c := range map[RefusalReason]struct {
		set   func(*Server)
		cause func(t *testing.T, s *Server, addr string) *peer // who is told, if anybody is
	}{
		RefusedTooLarge: {func(s *Server) { s.MaxHeaderBytes = 100 }, func(t *testing.T, s *Server, addr string) *peer {
			return sending(t, addr, upgradeTo("/ws"))
		}},
		RefusedNotFound: {func(*Server) {}, func(t *testing.T, s *Server, addr string) *peer {
			return sending(t, addr, upgradeTo("/nothing"))
		}},
		RefusedTimeout: {func(s *Server) { s.HandshakeTimeout = time.Millisecond }, func(t *testing.T, s *Server, addr string) *peer {
			return sending(t, addr, half)
		}},
		RefusedAuthorizeTimeout: {func(s *Server) { s.HandshakeTimeout = 300 * time.Millisecond }, func(t *testing.T, s *Server, addr string) *peer {
			return sending(t, addr, upgradeTo("/slow"))
		}},
		RefusedFull: {func(s *Server) { s.MaxConns = 1 }, func(t *testing.T, s *Server, addr string) *peer {
			open(t, addr, "/ws")
			return dial(t, addr)
		}},
		RefusedAddress: {func(s *Server) { s.MaxConnsPerAddress = 1 }, func(t *testing.T, s *Server, addr string) *peer {
			open(t, addr, "/ws")
			return dial(t, addr)
		}},
		RefusedHandshakes: {func(s *Server) { s.MaxHandshakes = 1 }, func(t *testing.T, s *Server, addr string) *peer {
			dial(t, addr)
			await(t, "its handshake is under way", func() bool { return s.Stats().Handshaking == 1 })
			return dial(t, addr)
		}},
		RefusedRate: {func(s *Server) { s.HandshakeRate, s.HandshakeBurst = 1, 1 }, func(t *testing.T, s *Server, addr string) (p *peer) {
			for n := 1; s.Stats().Handshakes == 0; n++ { // slow as the machine may be, one comes within a second of another
				p = dial(t, addr)
				await(t, "it has come", func() bool { st := s.Stats(); return st.Handshaking+int(st.Handshakes) == n })
			}
			return p
		}},
		RefusedNoMemory: {func(s *Server) { s.InboundBudget = 1 }, func(t *testing.T, s *Server, addr string) *peer {
			return sending(t, addr, half)
		}},
		RefusedDraining: {func(*Server) {}, func(t *testing.T, s *Server, addr string) *peer {
			p := sending(t, addr, half)
			await(t, "half a head is kept", func() bool { return s.Stats().InboundHeld > 0 })
			must(t, s.Shutdown(lifeContext(t)))
			return p
		}},
		RefusedTakeover: {func(*Server) {}, func(t *testing.T, s *Server, addr string) *peer {
			r := httptest.NewRequest("GET", "/ws", nil)
			for _, line := range handshakeLines("example.com") {
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Set(name, value)
			}
			s.endpoint([]byte("/ws")).ServeHTTP(httptest.NewRecorder(), r)
			return nil
		}},
	} {
		t.Run(want.String(), func(t *testing.T) {
			onPollers(t, func(t *testing.T, s *Server) {
				c.set(s)
				s.Handle("/ws", Options{})
				s.Handle("/slow", Options{Authorize: func(r *http.Request) (Grant, error) { <-r.Context().Done(); return Grant{}, nil }})
				if p := c.cause(t, s, serve(t, s)); p != nil {
					p.answer()
				}
				wantReasons(t, s, map[RefusalReason]uint64{want: 1})
			})
		})
	}
}

// sending is a peer that has said that much.
func sending(t *testing.T, addr string, p []byte) *peer {
	t.Helper()
	peer := dial(t, addr)
	peer.send(p)
	return peer
}

// TestStatsRefusedInHaste: those that are too many to be told at leisure count too.
func TestStatsRefusedInHaste(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.MaxConns = 1
		s.Handle("/ws", Options{})
		addr := serve(t, s)
		open(t, addr, "/ws")
		const others = 100 // 64 of them are told at leisure
		for range others {
			dial(t, addr)
		}
		await(t, "all are counted", func() bool { return s.Stats().RefusedBy[RefusedFull] == others })
	})
}

// TestStatsUnavailable: what the kernel does not let be registered is told 503, and counts.
func TestStatsUnavailable(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	addr := lifeMount(t, s, "/ws", s.Handle("/ws", Options{}), lifeListen(t))
	must(t, s.start())
	for _, l := range s.loops() {
		l.close()
	}
	p := sending(t, addr, upgradeTo("/ws"))
	p.answer()
	wantReasons(t, s, map[RefusalReason]uint64{RefusedUnavailable: 1})
}

// TestStatsStages: a connection is at one stage at a time.
func TestStatsStages(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handler = lifePlain
		s.MaxConns = 1000
		conns := make(chan *Conn, 1)
		leave := make(chan struct{})
		s.Handle("/ws", Options{
			OnOpen:  func(c *Conn, _ *Request) { conns <- c },
			OnClose: func(*Conn, Closing) { <-leave },
		})
		addr := serve(t, s)
		is := func(what string, handshaking, open, closing, plain int) {
			t.Helper()
			await(t, what, func() bool {
				st := s.Stats()
				return st.Handshaking == handshaking && st.Open == open && st.Closing == closing && st.PlainHTTP == plain &&
					st.Conns == handshaking+open+closing+plain && st.Endpoints[0] == EndpointStats{"/ws", open + closing, st.Endpoints[0].HandedOver}
			})
		}
		p := dial(t, addr)
		is("it came", 1, 0, 0, 0)
		p.send(upgradeTo("/ws"))
		p.upgraded()
		c := receive(t, "the open event", conns)
		is("it is open", 0, 1, 0, 0)
		must(t, c.CloseWith(CodeNormal, ""))
		is("it is closing", 0, 0, 1, 0)
		p.send(closeFrame(CodeNormal, ""))
		p.wantClose(CodeNormal, "")
		p.wantEnd()
		is("its close handler has not returned", 0, 0, 1, 0)
		close(leave)
		is("it is gone", 0, 0, 0, 0)

		p = dialBoth(t, addr, true)
		is("net/http has it", 0, 0, 0, 1)
		p.send(upgradeTo("/ws"))
		p.upgraded()
		receive(t, "the open event", conns)
		is("it came back", 0, 1, 0, 0)
		p.conn.Close()
		is("it is gone too", 0, 0, 0, 0)
		if st := s.Stats(); st.MaxConns != 1000 || st.Accepted != 2 || st.Closed != 2 || st.Loops != len(s.loops()) {
			t.Errorf("%+v", st)
		}
	})
}

// TestStatsAbandoned: who leaves before the upgrade is neither closed nor refused.
func TestStatsAbandoned(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		addr := serve(t, s)
		dial(t, addr).conn.Close()
		p := sending(t, addr, []byte("GET /ws HTTP/1.1\r\n"))
		await(t, "half a head is kept", func() bool { return s.Stats().InboundHeld > 0 })
		p.conn.Close()
		await(t, "both are counted", func() bool { return s.Stats().Abandoned == 2 })
		if st := s.Stats(); st.Accepted != 2 || st.Closed != 0 || st.Handshakes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestStatsUnregistered: what was accepted and can't be registered is told so, and counts.
func TestStatsUnregistered(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Loops = 2
		addr := serve(t, s)
		must(t, s.loops()[1].poll.Close()) // the other has the listener
		dial(t, addr)
		dial(t, addr)
		await(t, "one of the two is there and the other was turned away", func() bool {
			st := s.Stats()
			return st.RefusedBy[RefusedDescriptors] == 1 && st.Handshaking == 1 && st.Accepted == 2
		})
	})
}

// TestStatsUnregisteredAtTheEnd: nor is one that a shutdown has ended before it could be registered
// counted as closing for ever.
func TestStatsUnregisteredAtTheEnd(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	l, err := newLoop(s) // which nobody serves
	must(t, err)
	must(t, l.poll.Close())
	s.running.Store(&[]*loop{l})
	c := s.newConn(-1, netip.AddrPort{})
	c.kill(Closing{Cause: ShutDown, Code: CodeAbnormal})
	if n := s.Stats().Closing; n != 1 {
		t.Errorf("%d are closing", n)
	}
	if l.add(c) == nil {
		t.Error("it was registered")
	}
	if n := s.Stats().Closing; n != 0 {
		t.Errorf("%d are closing for ever", n)
	}
}

// TestStatsClosed: each end counts by its cause and by its code.
func TestStatsClosed(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.Handle("/ws", Options{OnMessage: func(c *Conn, m Message) {
			switch string(m.Data) {
			case "close":
				c.CloseWith(4321, "")
			case "cut":
				c.Close()
			case "panic":
				panic("as it was asked to")
			}
		}})
		s.Handle("/idle", Options{IdleTimeout: time.Millisecond})
		s.Handle("/slow", Options{OnOpen: func(c *Conn, _ *Request) {
			for {
				if _, err := c.Write(Binary, make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}})
		addr := serve(t, s)
		for _, say := range [][]byte{
			closeFrame(1000, ""), closeFrame(1000, "bye"), closeFrame(1014, ""), closeFrame(3999, ""), closeFrame(4000, ""),
			frame(ws.OpClose, ""), frame(ws.OpText, "close"), frame(ws.OpText, "panic"), frame(ws.OpText, "\xff"), closeFrame(1006, ""),
		} {
			p := open(t, addr, "/ws")
			p.send(say)
			if h, payload := p.frame(); h.OpCode != ws.OpClose {
				t.Errorf("to %q came %s", say, drawn(h.OpCode, string(payload)))
			} else if string(say[len(say)-5:]) == "close" || len(payload) > 0 {
				p.send(frame(ws.OpClose, string(payload)))
			}
			p.conn.CloseWrite()
		}
		p := open(t, addr, "/ws")
		p.send(frame(ws.OpText, "cut"))
		p.wantEnd()
		open(t, addr, "/ws").conn.Close()
		p = open(t, addr, "/idle")
		p.wantClose(CodeGoingAway, "idle timeout")
		p.conn.Close()
		p = openWith(t, addr, "/slow", 4096)
		await(t, "it is too slow", func() bool { return s.Stats().Refused > 0 })
		p.conn.Close()
		stays := open(t, addr, "/ws")
		await(t, "the others are counted", func() bool { return s.Stats().Closed == 14 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		stays.wantClose(CodeGoingAway, "server is shutting down")
		await(t, "all are gone", func() bool { return s.Stats().Conns == 0 })

		st := s.Stats()
		causes, codes := map[string]uint64{}, map[string]uint64{}
		for i, n := range st.ClosedByCause {
			if n > 0 {
				causes[Cause(i).String()] = n
			}
		}
		for i, n := range st.ClosedByCode {
			if n > 0 {
				codes[CodeClass(i).String()] = n
			}
		}
		if want := map[string]uint64{"peer closed": 6, "peer gone": 1, "closed locally": 2, "bad input": 2, "too slow": 1, "idle": 1,
			"handler panicked": 1, "server shut down": 1}; fmt.Sprint(causes) != fmt.Sprint(want) {
			t.Errorf("by cause %v\nwant     %v", causes, want)
		}
		if want := map[string]uint64{"1000": 2, "1001": 2, "1002": 1, "1006": 2, "1007": 1, "1011": 1, "1013": 1, "1014": 1, "none": 1,
			"application 3000-3999": 1, "private 4000-4999": 2}; fmt.Sprint(codes) != fmt.Sprint(want) {
			t.Errorf("by code %v\nwant    %v", codes, want)
		}
	})
}

// TestTicksLate: a tick is late from more than a tenth of its interval on.
func TestTicksLate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lateness time.Duration
		every    uint32
		late     uint64
	}{
		{0, 1, 0}, {100 * time.Microsecond, 1, 0}, {101 * time.Microsecond, 1, 1},
		{100 * time.Millisecond, 1000, 0}, {101 * time.Millisecond, 1000, 1}, {101 * time.Millisecond, 10_000, 0},
	} {
		var n counters
		n.ticked(c.lateness, c.every)
		if n.late.Load() != c.late || n.onTime.Load() != 1-c.late || n.lateness.sum.Load() != int64(c.lateness) {
			t.Errorf("%v of %d ms: %d late", c.lateness, c.every, n.late.Load())
		}
	}
}

// TestTicksOnTimeNeverFall: ticks that run while Stats reads them don't make those on time fewer than they
// were, which a monitor that watches them as a counter takes for a start from nothing.
func TestTicksOnTimeNeverFall(t *testing.T) {
	t.Parallel()
	var n counters
	n.ticked(0, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300_000 {
			n.ticked(time.Second, 1000)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		st := Stats{Lateness: newHistogram(), LoopLag: newHistogram()}
		if st.add(&n); st.Ticks-st.Late != 1 {
			t.Fatalf("one tick was on time, and of %d there are %d late", st.Ticks, st.Late)
		}
	}
}

// TestStatsLate: a tick that is held up is late, and takes the place of others.
func TestStatsLate(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		leave := make(chan struct{})
		s.Handle("/ws", Options{Every: 50 * time.Millisecond, OnTick: func(*Conn) { <-leave }})
		addr := serve(t, s)
		open(t, addr, "/ws")
		await(t, "a tick is skipped", func() bool { return s.Stats().Skipped > 0 })
		if st := s.Stats(); st.Ticks != 0 || st.Late != 0 {
			t.Errorf("%d ticks while the first one is held up, %d late", st.Ticks, st.Late)
		}
		close(leave)
		await(t, "a tick is late", func() bool { return s.Stats().Late > 0 })
	})
}

// TestStatsHandedOver: an endpoint whose handler overstayed says so for a while.
func TestStatsHandedOver(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		leave := make(chan struct{})
		s.Handle("/a", Options{})
		s.Handle("/slow", Options{OnMessage: func(*Conn, Message) { <-leave }})
		addr := serve(t, s)
		p := open(t, addr, "/slow")
		p.send(frame(ws.OpText, "wait"))
		await(t, "it is handed over", func() bool {
			eps := s.Stats().Endpoints
			return len(eps) == 2 && eps[0] == EndpointStats{"/a", 0, false} && eps[1] == EndpointStats{"/slow", 1, true}
		})
		close(leave)
		await(t, "it is not any more", func() bool { return !s.Stats().Endpoints[1].HandedOver })
	})
}

// TestStatsRunQueue: connections that had their share and wait are counted.
func TestStatsRunQueue(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: quiet}
	l, err := newLoop(s) // which nobody serves
	must(t, err)
	defer l.close()
	s.running.Store(&[]*loop{l})
	for range 3 {
		l.enqueue(new(Conn))
	}
	if n := s.Stats().RunQueue; n != 3 {
		t.Errorf("%d wait, want 3", n)
	}
}

// TestStatsLimits: the budgets that are in force are told, also those that were left zero.
func TestStatsLimits(t *testing.T) {
	onPollers(t, func(t *testing.T, s *Server) {
		s.InboundBudget, s.Workers = 1234, 80
		if st := s.Stats(); st.InboundLimit != 0 || st.Handlers.Limit != 0 || st.Loops != 0 {
			t.Errorf("before it serves: %+v", st)
		}
		serve(t, s)
		st := s.Stats()
		if st.InboundLimit != 1234 || st.OutboundLimit != defaultOutboundBudget || st.WindowsLimit != defaultWindowBudget || st.Closes.Limit != 10 {
			t.Errorf("%+v", st)
		}
	})
}
