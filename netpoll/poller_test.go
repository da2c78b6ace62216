//go:build linux

package netpoll

import "testing"

// TestPoller holds both backends to the sentences of the contract on Poller.
func TestPoller(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, b Backend) {
		families(t, func(t *testing.T, pair family) {
			for _, sentence := range aboutEvents {
				t.Run(sentence.says, func(t *testing.T) {
					t.Parallel()
					sentence.test(t, open(t, b), pair)
				})
			}
		})
		for _, sentence := range aboutCalls {
			t.Run(sentence.says, func(t *testing.T) {
				t.Parallel()
				sentence.test(t, open(t, b))
			})
		}
	})
}

// aboutEvents says what is reported of a stream, and as what.
var aboutEvents = []struct {
	says string
	test func(*testing.T, Poller, family)
}{
	{"what is ready at Add is reported", testReadyAtAdd},
	{"an edge is reported once", testEdgeOnce},
	{"a short read without hang-up has emptied the socket", testShortRead},
	{"returning room is reported once the socket was full", testRoomReturns},
	{"a full socket is not writable", testFullAtAdd},
	{"a hang-up leaves data to be read", testHangUp},
	{"data and end together give one event", testDataAndEnd},
	{"a hang-up is reported whatever the interest", testHangUpUnasked},
	{"a reset is a failure", testReset},
	{"a failure is reported whatever the interest", testResetUnasked},
	{"shutting this end is reported", testShut},
	{"the token comes back whole", testTokenWhole},
	{"a new registration is not reported under the old token", testGeneration},
	{"a stale event has the old token", testStale},
	{"Modify changes the token and reports anew", testModify},
	{"Modify changes the interest", testModifyInterest},
	{"adding twice is an error", testAddTwice},
	{"a failed Add leaves nothing behind", testFailedAdd},
	{"Remove ends the registration", testRemove},
	{"what is not registered can't be removed or modified", testUnregistered},
	{"Add and Remove may be called during Wait", testAddDuringWait},
	{"nobody starves when events are few", testNobodyStarves},
	{"Close leaves descriptors open", testCloseLeavesOpen},
}

func TestNew(t *testing.T) {
	t.Parallel()
	if _, err := New("kqueue"); err == nil {
		t.Error("an unknown backend can be opened")
	}
	p, ok := open(t, "").(*epollPoller)
	if !ok {
		t.Fatal("the default is not epoll")
	}
	checkRaw(t, p.fd)
}

func TestReadyString(t *testing.T) {
	t.Parallel()
	if got := (Readable | Writable | HangUp | Failed).String(); got != "readable|writable|hang-up|failed" {
		t.Errorf("got %q", got)
	}
}
