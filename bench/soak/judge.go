package soak

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/stillpool/stillpool/server"
)

// judge holds what clients know of their connections against what the server recorded of them.
type judge struct {
	findings
	ends *tally // connections by how they ended

	mu      sync.Mutex
	lives   map[uint32]outcome // that have no record yet
	records map[uint32]record  // that have no life yet
	judged  int64
	// forgotten is what was accepted and made way for what came later, of those that heard everything else.
	forgotten int64
}

func newJudge() *judge {
	return &judge{ends: newTally(nil), lives: map[uint32]outcome{}, records: map[uint32]record{}}
}

func (o outcome) String() string {
	s := fmt.Sprintf("client %d of %s", o.number, o.place.path)
	if o.way.name != "" {
		s += " (" + o.way.name + ")"
	}
	return s
}

// lived takes the end of a client that may have been upgraded.
func (j *judge) lived(o outcome) {
	if !o.asked {
		return
	}
	j.mu.Lock()
	r, both := j.records[o.number]
	delete(j.records, o.number)
	if !both {
		j.lives[o.number] = o
	}
	j.mu.Unlock()
	if both {
		j.hold(o, r)
	}
}

func (j *judge) recorded(r record) {
	j.mu.Lock()
	o, both := j.lives[r.Number]
	delete(j.lives, r.Number)
	if _, twice := j.records[r.Number]; twice {
		j.found("a second close event", "connection %d of %s", r.Number, r.Path)
	}
	if !both {
		j.records[r.Number] = r
	}
	j.mu.Unlock()
	if both {
		j.hold(o, r)
	}
}

// rest is what has no other half when all is over.
func (j *judge) rest() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.lives {
		if o.opened { // the server need not have taken notice of one that left at once
			j.found("an open without its close", "%s", o)
		}
	}
	for _, r := range j.records {
		j.found("a close event of a connection that nobody opened", "connection %d of %s", r.Number, r.Path)
	}
	clear(j.lives)
	clear(j.records)
}

// hold judges one connection.
func (j *judge) hold(o outcome, r record) {
	j.mu.Lock()
	j.judged++
	j.mu.Unlock()
	j.ends.count(r.ending())
	if r.Path != o.place.path {
		j.found("a connection at another place than it asked for", "%s: %s", o, r.Path)
	}
	if !o.opened {
		return // it heard nothing and said nothing
	}
	expected := slices.Contains(o.way.causes, r.Cause)
	j.holdSaid(o, r, expected)
	j.holdHeard(o, r)
	j.holdForAll(o, r)
	j.holdEnd(o, r, expected)
}

// holdSaid compares what the client said.
func (j *judge) holdSaid(o outcome, r record, expected bool) {
	switch {
	case r.Got > o.sent:
		j.found("the server heard more than was said", "%s: %d of %d", o, r.Got, o.sent)
	case r.Got < o.sent && expected && o.way.whole && !o.broke:
		j.found("the server has not heard all that was said", "%s: %d of %d", o, r.Got, o.sent)
	}
}

// holdHeard compares what the server has said. Everything that was accepted arrives before a close frame that
// the server sent first; where messages may be forgotten, at least the last one that was accepted, unless a
// broadcast came behind it. The answer to the client's close frame waits for one message only (RFC 6455
// section 5.5.1), so the client may miss the end of what was accepted.
func (j *judge) holdHeard(o outcome, r record) {
	h := o.heard
	switch {
	case o.place.forgets() && h.got <= r.Accepted && r.closedFirst(h):
		j.mu.Lock()
		j.forgotten += int64(r.Accepted - h.got)
		j.mu.Unlock()
		if h.last != r.Last && !h.allLast {
			j.found("the client has not heard the last that was accepted", "%s", o)
		}
	case o.place.forgets() && h.got <= r.Accepted:
	case h.got > r.Accepted:
		j.found("the client heard more than was said", "%s: %d of %d", o, h.got, r.Accepted)
	case h.got < r.Accepted && r.closedFirst(h):
		j.found("the client has not heard all that was accepted", "%s: %d of %d", o, h.got, r.Accepted)
	case h.got == r.Accepted && h.chain != r.Chain:
		j.found("the client heard other messages than were accepted, or in another order", "%s", o)
	}
}

// holdForAll looks for the broadcasts that the connection was there for.
func (j *judge) holdForAll(o outcome, r record) {
	all := o.heard.all
	if !r.closedFirst(o.heard) || o.place.lossy() || r.AllFrom >= r.AllTo {
		return
	}
	if all.from > r.AllFrom || all.to < r.AllTo {
		j.found("the client has not heard all broadcasts", "%s: %d to %d of %d to %d", o, all.from, all.to, r.AllFrom, r.AllTo)
	}
}

// holdEnd compares how it ended.
func (j *judge) holdEnd(o outcome, r record, expected bool) {
	h := o.heard
	switch {
	case !h.gone():
		j.found("a connection that did not end", "%s: %s", o, r.ending())
	case !expected && !r.excused():
		j.found("an end that should not be", "%s: %s; %v", o, r.ending(), h.end)
	case expected && o.way.code != 0 && o.way.code != r.Code:
		j.found("another close code than should be", "%s: %s, not %d", o, r.ending(), o.way.code)
	case h.closed && server.Code(h.code) != r.Code:
		j.found("another close code than the server recorded", "%s: %d; %s", o, h.code, r.ending())
	case !h.closed && r.spoken() && h.end == io.EOF && o.place.options.WriteTimeout == 0: // which may end a close, too
		j.found("an end without a close frame", "%s: %s", o, r.ending())
	}
}

// excused tells of ends that no client can rule out, as it may not get the processor in time: the places'
// own limits are small.
func (r *record) excused() bool {
	switch r.Cause {
	case server.TooSlow:
		return true
	case server.Idle:
		return r.Path == "/hurried"
	case server.BadInput:
		return r.Path == "/hurried" && r.Code == server.CodePolicy
	case server.PeerGone:
		return r.Err == server.ErrPongTimeout.Error() && r.Path == "/kept"
	}
	return false
}

// closedFirst reports whether the client has the server's close frame, and has not sent one before.
func (r *record) closedFirst(h account) bool { return h.closed && r.Cause != server.PeerClosed }

// spoken tells whether the server has sent a close frame.
func (r *record) spoken() bool {
	return r.Code != server.CodeAbnormal && r.Err != server.ErrCloseTimeout.Error()
}

// ending is how it ended, in words that are the same for those that ended likewise.
func (r *record) ending() string {
	s := fmt.Sprintf("%s, %d", r.Cause, r.Code)
	if r.Code > 2999 || r.Cause == server.PeerClosed {
		s = r.Cause.String()
	}
	if r.Err == server.ErrPongTimeout.Error() || r.Err == server.ErrCloseTimeout.Error() || r.Err == server.ErrWriteTimeout.Error() {
		s += ", " + r.Err
	}
	return s
}
