package bench

import (
	"bytes"
	"errors"
	"time"

	"github.com/gobwas/ws"
)

// newcomer is no hostile kind: it comes, has one message echoed, says goodbye and is answered.
var newcomer = &kind{name: "newcomer", next: upgraded(greet), heard: (*crowd).greeted}

// errServed ends a newcomer that got all it came for.
var errServed = errors.New("served")

var greeting = []byte("good day")

func greet(_ *visitor, nth int) move {
	if nth == 0 {
		return move{send: masked(ws.NewTextFrame(bytes.Clone(greeting)))}
	}
	return move{}
}

// greeted takes the echo, a part at a time, and the answer to the goodbye. The time that counts is
// that of the echo, from when the newcomer was due to come.
func (c *crowd) greeted(v *visitor, p piece) error {
	if p.op.IsControl() {
		return nil
	}
	v.echo = append(v.echo, p.data...)
	if !p.last {
		return nil
	}
	if p.op != ws.OpText || !bytes.Equal(v.echo, greeting) {
		return errDiffers
	}
	record(c.latency, c.now-v.planned)
	v.out, v.leaving, v.resting = closeFrame(), true, false
	return nil
}

// Newcomers are connections that came while others were there, each for one message.
type Newcomers struct {
	Came    int64          `json:"came"`
	Served  int64          `json:"served"`
	Failed  map[string]int `json:"failed,omitempty"` // by reason
	Latency Percentiles    `json:"latency"`          // from when each was due to come until it had its echo
}

// newcomerTime is how long those that came last may still take.
const newcomerTime = 2 * time.Second

func newcomersOf(c *crowd) Newcomers {
	r := c.parties[0].report
	n := Newcomers{Came: r.Came, Served: int64(r.Ends[errServed.Error()]), Failed: map[string]int{}, Latency: percentilesOf(c.latency)}
	addAll(n.Failed, r.Ends)
	delete(n.Failed, errServed.Error())
	return n
}
