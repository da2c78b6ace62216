package million

import (
	"time"

	"github.com/stillpool/stillpool/bench"
)

// Result is what a run measured, as far as it got.
type Result struct {
	Machine bench.Machine `json:"machine"`
	Options Options       `json:"options"`
	Limits  *Limits       `json:"limits"`
	Checks  []Check       `json:"checks"`
	Changes []Change      `json:"changes,omitempty"` // of settings, for the time of the run

	Servers int `json:"servers"` // processes
	Clients int `json:"clients"`
	// Opening is how many connections were being opened at the same time at the most.
	Opening int `json:"opening"`

	Interrupted bool `json:"interrupted,omitempty"`

	Ramp   Ramp   `json:"ramp"`
	Memory Memory `json:"memory"`
	// Open is how many connections were open at the end, and Lost why others that had opened were not.
	Open   int            `json:"open"`
	Lost   map[string]int `json:"lost,omitempty"`
	Deaths []Death        `json:"deaths,omitempty"`
	// Sent is how many messages the servers sent in all, and Received how many of them came.
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`

	Idle     *Idle     `json:"idle,omitempty"`
	Hold     *Load     `json:"hold,omitempty"`
	Overload *Load     `json:"overload,omitempty"`
	Recovery *Recovery `json:"recovery,omitempty"`
	// After is the interval of Hold again, when the overload was over.
	After *Load `json:"after,omitempty"`

	// Network counts what the kernel says went wrong or had to be saved, during the whole run and on the
	// whole machine.
	Network map[string]int64 `json:"network,omitempty"`
	Series  []Point          `json:"series"`
}

// Ramp tells how the connections opened.
type Ramp struct {
	Opened      int            `json:"opened"`
	Failed      map[string]int `json:"failed,omitempty"` // by reason; others were tried in their place
	Seconds     float64        `json:"seconds"`          // the pause at SlopeStart left out
	ConnsPerSec float64        `json:"conns_per_second"`
	ServerCPUUs float64        `json:"server_cpu_us_per_conn"`
	ClientCPUUs float64        `json:"client_cpu_us_per_conn"`
}

// Weight is what there is in memory at a number of connections. RSS counts what processes share for
// each of them; PSS is their fair share of it.
type Weight struct {
	Conns          int   `json:"conns"`
	ServerRSSBytes int64 `json:"server_rss_bytes"`
	ServerPSSBytes int64 `json:"server_pss_bytes"`
	ClientRSSBytes int64 `json:"client_rss_bytes"`
	ClientPSSBytes int64 `json:"client_pss_bytes"`
	AvailableBytes int64 `json:"available_bytes"` // MemAvailable
	SlabBytes      int64 `json:"slab_bytes"`      // Slab
}

// Memory is how memory grew. The kernel's is for both ends of a connection, as they are on one machine.
type Memory struct {
	Before     Weight  `json:"before"`
	SlopeStart *Weight `json:"slope_start,omitempty"`
	Open       Weight  `json:"open"`

	// From Before to Open; the slope is from SlopeStart on, where the smallest heaps are used up.
	ServerRSSPerConn      float64 `json:"server_rss_bytes_per_conn"`
	ServerPSSPerConn      float64 `json:"server_pss_bytes_per_conn"`
	ServerRSSSlopePerConn float64 `json:"server_rss_slope_bytes_per_conn,omitempty"`
	ClientPSSPerConn      float64 `json:"client_pss_bytes_per_conn"`
	// KernelPerPair is how much the kernel's slabs grew. AvailablePerPair is what MemAvailable lost beyond
	// what the processes grew (PSS), which is less: the kernel counts the inodes of sockets among what it
	// could reclaim, and so as available, although an open socket holds its own.
	KernelPerPair    float64 `json:"kernel_bytes_per_pair"`
	AvailablePerPair float64 `json:"available_bytes_per_pair"`
}

// Idle is the time in which no message was sent.
type Idle struct {
	Seconds          float64 `json:"seconds"`
	ServerCPUSeconds float64 `json:"server_cpu_seconds"`
	ServerCPUPercent float64 `json:"server_cpu_percent"` // of one core, all servers together
	ClientCPUPercent float64 `json:"client_cpu_percent"`
}

// Load is a time in which messages were sent at an interval.
type Load struct {
	EverySeconds float64 `json:"every_seconds"`
	Seconds      float64 `json:"seconds"`
	// Asked is how many messages a second the interval asks for.
	AskedPerSecond    float64 `json:"asked_per_second"`
	Messages          int64   `json:"messages"` // received
	MessagesPerSecond float64 `json:"messages_per_second"`

	// As counted by the servers: ticks run, those of them that were written at most OnTimeSeconds late, and
	// ticks skipped because they were late by a whole interval.
	Ticks         int64   `json:"ticks"`
	OnTime        int64   `json:"on_time"`
	OnTimeSeconds float64 `json:"on_time_seconds"`
	Skipped       int64   `json:"skipped"`
	// ServerLateness is from due to written; each percentile is the upper bound of its bucket.
	ServerLateness ServerLateness `json:"server_lateness"`

	// As counted by the clients: late against each connection's own schedule (see package bench). Missing
	// ticks never came; Silent connections got none.
	Lateness bench.Percentiles `json:"lateness"`
	Missing  int64             `json:"missing"`
	Silent   int               `json:"silent"`
	Spread   Spread            `json:"spread"`

	Lost int `json:"lost"` // connections

	ServerCPUPercent float64 `json:"server_cpu_percent"` // of one core
	ClientCPUPercent float64 `json:"client_cpu_percent"`
	ServerCPUUs      float64 `json:"server_cpu_us_per_message"`
	ClientCPUUs      float64 `json:"client_cpu_us_per_message"`
}

// ServerLateness counts ticks by how late they were written.
type ServerLateness struct {
	P50Seconds   float64   `json:"p50_seconds"`
	P99Seconds   float64   `json:"p99_seconds"`
	P999Seconds  float64   `json:"p99_9_seconds"`
	BoundSeconds []float64 `json:"bound_seconds"` // upper bounds
	Counts       []uint64  `json:"counts"`        // one more: the last is above all bounds
}

// Spread is how evenly the messages came: how many of the open connections got how many.
type Spread struct {
	Least   int         `json:"least"`
	Most    int         `json:"most"`
	ByTicks map[int]int `json:"by_ticks"`
}

// Recovery is the time from the end of an overload until all is on time again.
type Recovery struct {
	// EasedSeconds is when the last server had its connections at the longer interval, and HalfEasedSeconds
	// when half of them had. An overloaded server gets to an order between ticks.
	EasedSeconds     float64 `json:"eased_seconds"`
	HalfEasedSeconds float64 `json:"half_eased_seconds"`
	// DrainedSeconds is when all that had been sent by then had been read.
	DrainedSeconds float64 `json:"drained_seconds"`
	// OnTimeSeconds is when a second began in which no tick was skipped and 99 of 100 were on time. It is
	// negative if none did within Watched.
	OnTimeSeconds  float64 `json:"on_time_seconds"`
	WatchedSeconds float64 `json:"watched_seconds"`
}

// Death is a process that ended before it was told to.
type Death struct {
	Second float64 `json:"second"`
	Role   string  `json:"role"`
	Index  int     `json:"index"`
	Conns  int     `json:"conns"` // that a client had
	Why    string  `json:"why"`
}

// Point is the state at a second of the run, and the rates in the second before.
type Point struct {
	Second float64 `json:"second"` // since the children had started
	Phase  string  `json:"phase"`

	Opened int64 `json:"opened"`
	Open   int64 `json:"open"`
	Lost   int64 `json:"lost"`

	OpenedPerSecond   float64 `json:"opened_per_second"`
	ReceivedPerSecond float64 `json:"received_per_second"`
	TicksPerSecond    float64 `json:"ticks_per_second"`
	OnTimePerSecond   float64 `json:"on_time_per_second"`
	SkippedPerSecond  float64 `json:"skipped_per_second"`

	// Unread is how many messages were sent and not read yet.
	Unread int64 `json:"unread"`

	ServerCPUPercent float64 `json:"server_cpu_percent"` // of one core
	ClientCPUPercent float64 `json:"client_cpu_percent"`
	ServerRSSBytes   int64   `json:"server_rss_bytes"`
	ClientRSSBytes   int64   `json:"client_rss_bytes"`
	SlabBytes        int64   `json:"slab_bytes"`
	AvailableBytes   int64   `json:"available_bytes"`
}

// onTime is how late a tick may be written and still be on time; a bound of server.Histogram.
const onTime = 50 * time.Millisecond

func (m *Memory) sum() {
	m.ServerRSSPerConn = growth(m.Before, m.Open, func(w Weight) int64 { return w.ServerRSSBytes })
	m.ServerPSSPerConn = growth(m.Before, m.Open, func(w Weight) int64 { return w.ServerPSSBytes })
	m.ClientPSSPerConn = growth(m.Before, m.Open, func(w Weight) int64 { return w.ClientPSSBytes })
	m.KernelPerPair = growth(m.Before, m.Open, func(w Weight) int64 { return w.SlabBytes })
	m.AvailablePerPair = growth(m.Before, m.Open, func(w Weight) int64 {
		return -w.AvailableBytes - w.ServerPSSBytes - w.ClientPSSBytes
	})
	if m.SlopeStart != nil {
		m.ServerRSSSlopePerConn = growth(*m.SlopeStart, m.Open, func(w Weight) int64 { return w.ServerRSSBytes })
	}
}

func growth(from, to Weight, of func(Weight) int64) float64 {
	if to.Conns <= from.Conns {
		return 0
	}
	return float64(of(to)-of(from)) / float64(to.Conns-from.Conns)
}
