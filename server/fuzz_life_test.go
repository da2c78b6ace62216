//go:build linux

package server

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/stillpool/stillpool/netpoll"
)

// The operations of a tape. Each has a byte for itself, of which the high bits say whose connection
// it is about and whether it is waited for, and one for its argument.
const (
	opText     byte = iota // the peer says a text: argument%8 is what the handler is to do
	opBinary               // the peer says a binary message of 20 times the argument
	opFragment             // the peer goes on with a message, to its end if the argument is odd
	opPing
	opPong
	opSayClose // the peer says one of lifeCloses
	opGarbage  // the peer says the argument
	opHalt     // the peer says only so many bytes more, until opFlow
	opFlow
	opRead      // the peer reads some
	opSend      // the server sends a prepared message of 160 times the argument
	opWrite     // the server writes one
	opCloseWith // the server closes with one of lifeCodes
	opClose     // the server closes at once
	opTick      // a tick comes, or, if the argument is odd, a handler that was held may go on
	opEnd       // the peer ends the stream, or, if the argument is odd, resets the connection
	opCount

	ofSecond = 0x10 // the operation is about the second connection, if there is one
	waited   = 0x20 // whatever comes of the operation comes before the next one
)

// What the first byte of a tape chooses.
const (
	tapeEasyGo = 1 << iota // the poller
	tapeUnix               // the kind of socket
	tapePool               // handlers run on the pool
	tapeTight              // buffers and backlog are small
	tapeDrop               // what a full backlog refuses is dropped, and the connection stays
	tapeTwo                // there are two connections
	tapeLost               // the path is no endpoint's
)

// lifeCommands are what handlers do about a text that begins with the letter.
const lifeCommands = "egicbkph"

var lifeCloses = []string{"\x03\xe8", "", "\x0f\xa0bye", "\x03\xed", "\x03", "\x03\xe9\xff", "\x03\xf3€"}

var lifeCodes = []Code{1000, 4000, 1001, CodeNone, 3000, 1015}

// FuzzLife runs tapes of operations, of the peer's and of the server's side, against a real server,
// and holds what became of each connection against a model of its life.
func FuzzLife(f *testing.F) {
	worlds := []*lifeWorld{newLifeWorld(f, netpoll.Epoll), newLifeWorld(f, netpoll.EasyGo)}
	for _, tape := range lifeSeeds() {
		for _, setting := range []byte{0, tapeUnix, tapeTight, tapeTight | tapeUnix | tapeDrop, tapePool | tapeTight, tapePool | tapeEasyGo | tapeUnix} {
			f.Add(append([]byte{setting}, tape...))
		}
	}
	f.Fuzz(func(t *testing.T, tape []byte) {
		if len(tape) > 0 {
			worlds[tape[0]&tapeEasyGo].play(t, tape[:min(len(tape), 200)])
		}
	})
}

// lifeSeeds are tapes without their first byte. The last byte of each is how the peers end.
func lifeSeeds() [][]byte {
	const w = waited
	return [][]byte{
		{opText, 0, opText, 8, opPing, 5, 0},
		{opHalt, 100, opText | w, 0, opFlow | w, 0, opHalt, 3, opText | w, 0, opFlow, 0, 1},
		{opBinary | w, 60, opFragment, 20, opPing | w, 0, opFragment | w, 8, opFragment, 21, opSayClose, 2, 0},
		{opText | w, 0, opSend, 20, opWrite, 3, opCloseWith, 1, opSend, 1, opText, 0, 0},
		{opText | w, 0, opSend, 250, opSend, 250, opWrite, 250, opRead, 255, opPing | w, 1, opSend, 200, opSayClose, 0, 0},
		// More waits than the kernel takes: some is read, and more is sent before the rest is on its way.
		{opText | w, 0, opSend, 250, opWrite, 250, opSend | w, 250, opRead, 255, opSend, 1, opRead, 255, opWrite, 2, opRead, 255, opRead, 255, opSend, 1, 0},
		{opText | w, 0, opSend, 250, opWrite | w, 50, opPing | w, 1, opSayClose, 2, opEnd | w, 0, 0},
		{opText | w, 0, opSend, 250, opWrite, 250, opSend | w, 250, opSayClose, 2, opEnd | w, 0, 0},
		{opText | w, 0, opSend, 250, opWrite, 250, opSend | w, 250, opCloseWith, 1, opText, 0, 0},
		{opText | w, 3, opText, 0, 0}, {opText, 4, opText, 4, opText, 4, opRead, 90, opText | w, 4, 0},
		{opText | w, 5, opText, 0, 1}, {opText | w, 6, opText, 0, 0},
		// A handler ends its goroutine, alone, and with more behind it, of which some is still to come.
		{opText | w, 1, opText, 0, 0}, {opText, 1, opBinary, 9, opSayClose, 0, 0}, {opSend, 200, opSend, 250, opText, 1, opHalt, 9, opBinary | w, 40, opFlow, 0, 0},
		{opText | w, 7, opText | w, 0, opSend, 9, opTick, 1, opText, 0, 0},
		{opText | w, 0, opTick, 0, opTick, 0, opClose, 0, 0},
		{opText, 0, opGarbage, 0xc1, opText, 0, 0}, {opBinary, 255, opText, 0, 0},
		{opSayClose | w, 3, 0}, {opSayClose, 4, opText, 0, 1}, {opSayClose, 0, opText, 0, opGarbage, 9, 0},
		{opText | w, 0, opEnd | w, 0, opSend, 1, 1}, {opText, 0, opEnd, 1, opSend, 1, 0}, {opEnd, 0, 0}, {opHalt, 0, opEnd | w, 1, 0},
		{opHalt, 40, opText | w, 0, opEnd, 0, 0}, {opFragment, 3, opText, 0, 2}, {opSend | w, 200, opSend, 200, opEnd | w, 0, 3},
	}
}

// do runs an operation.
func (l *life) do(t *testing.T, op byte, arg int) {
	switch op {
	case opText:
		l.say(frame(ws.OpText, l.message(string(lifeCommands[arg%8]), 20*(arg/8))))
		l.midMessage = false // if it was in one, this breaks the protocol
	case opBinary:
		l.say(frame(ws.OpBinary, l.message("b", 20*arg)))
	case opFragment:
		op := ws.OpContinuation
		if !l.midMessage {
			op = ws.OpBinary
		}
		l.midMessage = arg%2 == 0
		l.say(fragment(op, !l.midMessage, l.message("f", 4*arg)))
	case opPing:
		l.say(frame(ws.OpPing, l.message("p", arg%100)))
	case opPong:
		l.say(frame(ws.OpPong, l.message("p", arg%100)))
	case opSayClose:
		l.say(frame(ws.OpClose, lifeCloses[arg%len(lifeCloses)]))
	case opGarbage:
		l.say([]byte{byte(arg)})
	case opHalt:
		l.window = arg
	case opFlow:
		l.window = -1
		l.say(nil)
	case opRead:
		l.read(1 + 50*arg)
	case opSend, opWrite:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sends(op == opSend, []byte(l.message("s", 160*arg)))
	case opCloseWith:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closesWith(lifeCodes[arg%len(lifeCodes)], "enough")
	case opClose:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closes()
	case opTick:
		if arg%2 == 0 {
			l.awaitTick(t)
		} else {
			l.letGo()
		}
	case opEnd:
		if arg%2 == 0 {
			l.endStream()
		} else {
			l.leave(true)
		}
	}
}
