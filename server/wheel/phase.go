package wheel

import "math/bits"

// golden is 2^64 divided by the golden ratio, to the nearest odd number. Steps of that part of a
// circle keep the gaps between the points as even as any fixed step can.
const golden = 0x9E3779B97F4A7C15

// Phase returns the n-th of a sequence of offsets from 0 to interval-1 that is spread evenly from
// the start and stays so. Of any run of up to a million consecutive n, wherever it begins, each part
// of the interval gets its share, give or take seven; of a run of a thousand, give or take four. Phase
// returns 0 if interval is 0.
func Phase(n uint64, interval Time) Time {
	offset, _ := bits.Mul64(n*golden, uint64(interval))
	return Time(offset)
}

// FirstDue returns the first time after now that leaves the remainder phase when it is divided by
// interval. Phases are thereby spread over absolute time: ids that arrive in one burst, and ids that
// arrive at the very moments that would undo a spread counted from their arrival, are spread alike.
// The result is 1 to interval slots after now. FirstDue panics if interval is 0.
//
// Where Time wraps, the remainders jump, unless interval divides 2^32. The time returned just before
// the wrap still belongs to the old grid, as if Time went on; later ones belong to a new grid. So an
// id that goes by FirstDue for every due time has one step there that is shorter than interval, none
// longer; one that adds interval to its last due time doesn't notice. Ids on the old grid are spread
// evenly, and ids on the new one too, so both together are as well.
func FirstDue(now, phase, interval Time) Time {
	ahead, behind := phase%interval, now%interval
	if ahead <= behind {
		ahead += interval
	}
	return now + ahead - behind
}
