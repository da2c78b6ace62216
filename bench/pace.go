package bench

import (
	"math"
	"time"
)

// pace says when messages of a fixed rate are due. Its schedule does not depend on what the server
// does: a message that could not be sent in time keeps its place in it, and the time that it waited
// counts as the server's. To leave that out is known as coordinated omission.
type pace struct {
	start time.Duration
	rate  float64 // a second
	sent  int64
}

func (p *pace) due() time.Duration {
	return p.start + time.Duration(float64(p.sent)/p.rate*float64(time.Second))
}

// behind is how many messages were due before now and not sent. The first one is due at once.
func (p *pace) behind(now time.Duration) int64 {
	return max(0, int64(math.Ceil((now-p.start).Seconds()*p.rate))-p.sent)
}
