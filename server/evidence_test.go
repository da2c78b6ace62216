package server

import (
	"testing"
	"time"
)

// TestEvidence is the verdict by itself: what the watchdogs see, one thing after the other, and what it takes.
func TestEvidence(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	starved, half, nearlyAll, unknown := share{1 * ms, 4 * ms}, share{2 * ms, 4 * ms}, share{18 * ms, 20 * ms}, share{}
	type step struct {
		after time.Duration
		what  string // "replaced", "returned" or "overdue"
		ran   share
		want  string // the reason, or nothing
	}
	replaced := func(after time.Duration, ran share, want string) step { return step{after, "replaced", ran, want} }
	returned := func(after time.Duration) step { return step{after, "returned", unknown, ""} }
	overdue := func(after time.Duration) step { return step{after, "overdue", unknown, "still_running"} }
	for name, steps := range map[string][]step{
		"a starved loop, again and again": {
			replaced(0, starved, ""), returned(3 * ms), replaced(5*ms, unknown, ""), returned(16 * ms), replaced(0, starved, ""), returned(0)},
		"a handler that blocks":               {replaced(0, starved, ""), overdue(20 * ms)},
		"two handlers that block":             {replaced(0, starved, ""), replaced(8*ms, starved, "second_out"), overdue(12 * ms), overdue(8 * ms)},
		"one that returned is not out":        {replaced(0, starved, ""), returned(3 * ms), replaced(4*ms, starved, ""), returned(0)},
		"one that is overdue counts once":     {replaced(0, starved, ""), overdue(20 * ms), replaced(1000*ms, starved, ""), returned(0)},
		"a handler that computes":             {replaced(0, nearlyAll, "cpu"), returned(0)},
		"it shares its processor":             {replaced(0, half, ""), returned(0), replaced(900*ms, half, "cpu"), returned(0)},
		"it shares its processor, but rarely": {replaced(0, half, ""), returned(0), replaced(1000*ms, half, ""), returned(0), replaced(999*ms, half, "cpu"), returned(0)},
		"computing once, starved beside":      {replaced(0, half, ""), returned(0), replaced(10*ms, starved, ""), returned(0), replaced(10*ms, unknown, ""), returned(0)},
		"the first second of a server's life": {replaced(ms, half, ""), returned(0)},
	} {
		var e evidence
		now := time.Unix(0, 0)
		for i, s := range steps {
			now = now.Add(s.after)
			var why OffloadReason
			var enough bool
			switch s.what {
			case "replaced":
				why, enough = e.replaced(now, s.ran)
			case "returned":
				e.returned()
			case "overdue":
				why, enough = e.overdue()
			}
			if enough != (s.want != "") || enough && why.String() != s.want {
				t.Errorf("%s, step %d: %v, %v, want %q", name, i, why, enough, s.want)
			}
		}
		if e.out != 0 {
			t.Errorf("%s: %d handlers are out in the end", name, e.out)
		}
	}
}
