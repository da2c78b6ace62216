package bench

import "fmt"

// StalledResult is what became of connections that never read, and what they cost.
type StalledResult struct {
	Conns int `json:"conns"`
	// Open are there when they have read, at the end, what there was, and Ends says why others are gone: by
	// close code, by a reset or by the end of the stream. EndedMeanwhile of them were known to have ended
	// before they read; the others may have, too, with what tells of it behind what was not read.
	Open           int            `json:"open"`
	Ends           map[string]int `json:"ends,omitempty"`
	EndedMeanwhile int            `json:"ended_meanwhile"`
	// Late is how many messages came to them at the end, and Never how many did not, warm-up included.
	Late  int64 `json:"late"`
	Never int64 `json:"never"`
	// RSS is the server's resident memory, with its process id.
	RSS *Level `json:"rss,omitempty"`
	// Backlog is what the server says that it holds to be sent, with MetricsURL; asked once a second.
	Backlog *Level `json:"backlog,omitempty"`
	// Sockets is what the buffers of TCP sockets hold, and Slab where among other things the sockets
	// themselves are: both of the whole machine, with both ends of every connection.
	Sockets Level `json:"sockets"`
	Slab    Level `json:"slab"`
}

// Level is an amount of memory in bytes: before the first message, at its peak, and when those that stalled
// have read.
type Level struct {
	Before int64 `json:"before_bytes"`
	Peak   int64 `json:"peak_bytes"`
	After  int64 `json:"after_bytes"`
}

func (l *Level) begin(bytes int64) { l.Before, l.Peak = bytes, bytes }
func (l *Level) note(bytes int64)  { l.Peak = max(l.Peak, bytes) }
func (l *Level) end(bytes int64)   { l.After = bytes }

func (l *Level) String() string {
	return fmt.Sprintf("%s before, %s at the peak, %s after", size(float64(l.Before)), size(float64(l.Peak)), size(float64(l.After)))
}

func (s *StalledResult) rows(t *table) {
	t.row("stalled", "%d that never read: %d open after reading at last, %d ended, of which %d were seen to before",
		s.Conns, s.Open, sum(s.Ends), s.EndedMeanwhile)
	if len(s.Ends) > 0 {
		t.row("their ends", "%s", reasons(s.Ends))
	}
	t.row("their messages", "%d came at last, %d never", s.Late, s.Never)
	if s.RSS != nil {
		t.row("resident memory", "%s", s.RSS)
	}
	if s.Backlog != nil {
		t.row("backlog", "%s", s.Backlog)
	}
	t.row("socket buffers", "%s", &s.Sockets)
	t.row("kernel slabs", "%s", &s.Slab)
}
