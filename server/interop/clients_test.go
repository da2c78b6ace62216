package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"
)

// patience bounds a conversation; only a failure takes that long.
const patience = 30 * time.Second

// The clients, and what each of them can.
var clients = []client{
	{"gorilla", talkGo(dialGorilla), canSplit | canPing | canRefuse | canForget | canOmit},
	{"coder", talkGo(dialCoder), canSplit | canPing | canRefuse | canForget | canKeep | canOmit},
	{"gobwas", talkGo(dialGobwas), canSplit | canPing | canRefuse | canForget | canOmit},
	{"node", talkBy("node"), canOmit | canSplit | canPing | canRefuse | canForget | canKeep | canBound | canAsk},
	{"chromium", talkChromium, canKeep | canBound | canOmit},
	{"websockets", talkBy("websockets"), canSplit | canPing | canRefuse | canForget | canKeep | canBound | noEight},
	{"aiohttp", talkBy("aiohttp"), canPing | canRefuse | canKeep | canBound | noEight},
}

type client struct {
	name string
	// talk has the conversation, and tells how it went.
	talk func(*testing.T, conversation) report
	can  ability
}

type ability uint16

const (
	canSplit  ability = 1 << iota // send a message in several frames
	canPing                       // and tell that the answer came
	canRefuse                     // offer no compression
	canForget                     // offer compression without context takeover
	canKeep                       // offer compression with context takeover
	canBound                      // bound its own window when the server asks for it
	canAsk                        // ask for sizes of windows
	canOmit                       // close without a code
	noEight                       // refuse windows of 8 bits, which zlib can't deflate with
)

func (c client) knows(needs ability) bool { return c.can&needs == needs }

// modes are those that the client knows.
func (c client) modes() (all []mode) {
	for _, m := range modes {
		if c.knows(m.needs) {
			all = append(all, m)
		}
	}
	return all
}

// outcomes are modes for each thing that can be agreed on.
func (c client) outcomes() (all []mode) {
	for _, m := range c.modes() {
		if !slices.ContainsFunc(all, func(o mode) bool { return o.agreed == m.agreed }) {
			all = append(all, m)
		}
	}
	return all
}

// A peer is what the adapter of a Go client makes of a connection. Sending is one goroutine's, the
// rest another's.
type peer interface {
	// send sends a message, and its ping.
	send(m message) error
	// receive waits for a message. The error is a *closed once the connection is closed in order.
	receive() (text bool, data []byte, err error)
	// shut begins the close handshake.
	shut(with closing) error
	// pongs are those that came before the close.
	pongs() []string
	// drop ends the connection at once, if it is still there.
	drop()
}

// closed is the error of a connection that was closed in order.
type closed struct{ closing }

func (c *closed) Error() string { return c.Reason }

// agreed is what came of a handshake.
type agreed struct{ extensions, subprotocol string }

type dialer func(context.Context, conversation) (peer, agreed, error)

// talkGo makes a client of a dialer.
func talkGo(dial dialer) func(*testing.T, conversation) report {
	return func(t *testing.T, c conversation) report {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		p, a, err := dial(ctx, c)
		if err != nil {
			return report{Error: err.Error()}
		}
		defer p.drop()
		defer context.AfterFunc(ctx, p.drop)()
		r := report{Extensions: a.extensions, Subprotocol: a.subprotocol}
		err = r.converse(p, c)
		if end, ok := errors.AsType[*closed](err); ok {
			r.Close = end.closing
		} else {
			r.Error = err.Error()
		}
		r.Pongs = p.pongs()
		return r
	}
}

// converse has the conversation, and returns how it ended.
func (r *report) converse(p peer, c conversation) error {
	sent := make(chan error, 1)
	go func() { sent <- sendAll(p, c.Messages) }()
	for range c.Messages {
		if err := r.hear(p); err != nil {
			p.drop() // so that nothing is sent any more
			return errors.Join(err, <-sent)
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	if c.Close != nil {
		if err := p.shut(*c.Close); err != nil {
			return err
		}
	}
	for {
		if err := r.hear(p); err != nil {
			return err
		}
	}
}

func sendAll(p peer, messages []message) error {
	for _, m := range messages {
		if err := p.send(m); err != nil {
			return err
		}
	}
	return nil
}

// hear adds a message to the report.
func (r *report) hear(p peer) error {
	text, data, err := p.receive()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	r.Heard = append(r.Heard, heard{text, len(data), hex.EncodeToString(sum[:])})
	return nil
}

// pieces are the parts of a message that are to be frames, as even as can be.
func (m message) pieces() [][]byte {
	all := make([][]byte, max(m.Frames, 1))
	for i := range all {
		all[i] = m.Data[i*len(m.Data)/len(all) : (i+1)*len(m.Data)/len(all)]
	}
	return all
}
