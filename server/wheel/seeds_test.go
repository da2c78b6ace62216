package wheel

import "math/rand/v2"

// Operations of the tape that [pair.step] reads. Those that advance carry their buffer's size in the
// upper bits.
const (
	opSet     = 0
	opSetNear = 2
	opSooner  = 3
	opRemove  = 4
	opJump    = 5
	opWalk    = 6
	opSleep   = 7
)

// Where time starts, as [tape.distance] reads it.
var (
	atZero     = []byte{0, 255}
	beforeTurn = []byte{8, 254}
	beforeWrap = []byte{31, 0} // one distance of 1<<31 before it
)

// seeds is the corpus that the fuzzer starts from, and that a plain test run goes through.
func seeds() [][]byte {
	all := [][]byte{
		nil,
		tapeOf(atZero, everyLevel(opSet), repeat(12, opSleep|8)),
		tapeOf(beforeTurn, everyLevel(opSet), repeat(40, opWalk|8, 255)),
		tapeOf(beforeWrap, everyLevel(opSet), []byte{opJump | 16, 31, 0, opJump | 16, 31, 0}),
		tapeOf(beforeTurn, everyLevel(opSooner), everyLevel(opSet), []byte{opJump | 8, 25, 0}, everyLevel(opRemove)),
		// One moment, taken out one by one, with new past dues between.
		tapeOf(atZero, []byte{opSetNear, 1, 5, opSetNear, 2, 5, opSetNear, 3, 5}, repeat(6, opWalk|8, 3, opSetNear, 1, 200)),
		// The buffer is nothing at all, with ids and without.
		tapeOf(atZero, everyLevel(opSet), repeat(4, opJump, 24, 0)),
		tapeOf(atZero, []byte{opJump, 31, 255, opJump, 28, 0, opSetNear, 1, 0, opJump | 16, 31, 255}),
	}
	for seed := range uint64(24) {
		all = append(all, random(seed, 600))
	}
	return all
}

// everyLevel does op to one id for each power of two.
func everyLevel(op byte) []byte {
	var out []byte
	for power := range byte(32) {
		out = append(out, op, power, power)
		if op != opRemove {
			out = append(out, power) // the odds and ends of the distance
		}
	}
	return out
}

func random(seed uint64, size int) []byte {
	source := rand.New(rand.NewPCG(seed, 0))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(source.Uint32())
	}
	return out
}

func repeat(times int, ops ...byte) []byte {
	var out []byte
	for range times {
		out = append(out, ops...)
	}
	return out
}

func tapeOf(parts ...[]byte) []byte {
	var out []byte
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}
