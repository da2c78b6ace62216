package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Common is the part of a result that all scenarios but [Attack] have.
type Common struct {
	URL     string  `json:"url"`
	Conns   int     `json:"conns"` // asked for
	Loops   int     `json:"loops"`
	Busy    int     `json:"busy,omitempty"` // processes that computed meanwhile
	Opening Opening `json:"opening"`

	// Open is the number of connections at the end of measuring, and Lost says why others that had
	// opened are gone.
	Open int            `json:"open"`
	Lost map[string]int `json:"lost,omitempty"`

	DurationSeconds   float64 `json:"duration_seconds"`
	Interrupted       bool    `json:"interrupted,omitempty"`
	Messages          int64   `json:"messages"` // received while measuring; Connect has none
	MessagesPerSecond float64 `json:"messages_per_second"`
	ReceivedBytes     int64   `json:"received_bytes"` // headers of frames included

	Client Use     `json:"client"`
	Server *Use    `json:"server,omitempty"` // with the server's process id
	Memory *Memory `json:"memory,omitempty"` // of the server, likewise

	Warnings []string `json:"warnings,omitempty"`
}

// Opening tells how the connections opened.
type Opening struct {
	Opened      int            `json:"opened"`
	Failed      map[string]int `json:"failed,omitempty"` // by reason
	Seconds     float64        `json:"seconds"`          // waits for settling left out
	ConnsPerSec float64        `json:"conns_per_second"`
	ClientCPUUs float64        `json:"client_cpu_us_per_conn"`
	ServerCPUUs float64        `json:"server_cpu_us_per_conn,omitempty"` // what else it did meanwhile included
	clientCPU   time.Duration
	serverCPU   time.Duration
}

// Use is the processor time that a process took while measuring.
type Use struct {
	CPUSeconds      float64 `json:"cpu_seconds"`
	CPUPercent      float64 `json:"cpu_percent"` // of one core
	CPUUsPerMessage float64 `json:"cpu_us_per_message"`
	// WaitPercent is for how much of the time threads of it were ready to run, and had no processor.
	WaitPercent float64 `json:"wait_percent,omitempty"`
}

// Weight is the server's memory at a number of connections.
type Weight struct {
	Conns    int   `json:"conns"`
	RSSBytes int64 `json:"rss_bytes"`
}

// Memory is how the server's memory grew.
type Memory struct {
	Before     Weight `json:"before"`      // connecting
	SlopeStart Weight `json:"slope_start"` // all zero if no slope was asked for
	Open       Weight `json:"open"`        // all connections, settled
	End        Weight `json:"end"`         // of measuring

	BytesPerConn      float64 `json:"bytes_per_conn"`                 // from Before to Open
	SlopeBytesPerConn float64 `json:"slope_bytes_per_conn,omitempty"` // from SlopeStart to Open
}

// TickResult is what [Tick] measured.
type TickResult struct {
	Common
	EverySeconds float64 `json:"every_seconds"`
	// MissingTicks were due while measuring and never came; SilentConns are open connections that
	// got no message at all, whose ticks are not among them.
	MissingTicks int64        `json:"missing_ticks"`
	SilentConns  int          `json:"silent_conns"`
	Lateness     Percentiles  `json:"lateness"`
	Curve        []CurvePoint `json:"lateness_curve,omitempty"`
}

// EchoResult is what [Echo] measured.
type EchoResult struct {
	Common
	SizeBytes     int     `json:"size_bytes"`
	Inflight      int     `json:"inflight"`
	Pipeline      int     `json:"pipeline"`
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	WarmupSeconds float64 `json:"warmup_seconds"`
	// Unanswered messages were sent and never came back. Unsent ones were due at the given rate,
	// but when measuring ended no connection had been free for them.
	Unanswered int64 `json:"unanswered"`
	Unsent     int64 `json:"unsent"`
	// Latency counts from sending, or at a given rate from when a message was due, so that it has no
	// coordinated omission: Unanswered and Unsent messages are in it then with the time that they have
	// waited. In a closed loop they are not, and a server that stalls is asked less. SendDelay is how much
	// of it had passed before the client sent, for its own slowness or for want of a free connection.
	Latency   Percentiles  `json:"latency"`
	Curve     []CurvePoint `json:"latency_curve,omitempty"`
	SendDelay *Percentiles `json:"send_delay,omitempty"`
	// Misbehaved is how often handlers misbehaved beside, the warm-up included; see [Misbehaving].
	Misbehaved int64 `json:"misbehaved,omitempty"`
}

// fill sets the common part from what was read off.
func (r *run) fill(c *Common) {
	took := r.after.at - r.before.at
	c.URL, c.Conns, c.Loops, c.Busy = r.options.URL, r.options.Conns, r.options.Loops, r.options.Busy
	c.Opening = r.opening
	c.Opening.Failed = r.after.census.failed
	c.Open, c.Lost = r.after.census.open, r.after.census.lost
	c.DurationSeconds = took.Seconds()
	c.Interrupted = r.interrupted
	c.MessagesPerSecond = perSecond(c.Messages, took)
	c.ReceivedBytes = r.after.census.bytesIn - r.before.census.bytesIn
	c.Client = useOf(r.after.client-r.before.client, took, c.Messages)
	c.Client.WaitPercent = percent(r.after.waits.client-r.before.waits.client, took)
	if r.server != nil {
		use := useOf(r.after.server-r.before.server, took, c.Messages)
		use.WaitPercent = percent(r.after.waits.server-r.before.waits.server, took)
		c.Server, c.Memory = &use, r.memory.withRatios()
	}
	c.Warnings = r.warnings(c.Client, took)
}

const (
	busyPercent    = 90                     // of a core for each loop: more than a client should need
	starvedPercent = 50                     // of the time, for each loop; beside a server on two processors it is 40 without anything else
	stallTime      = 100 * time.Millisecond // that measuring took too long
)

// warnings say why the result may be more about the client or its machine than about the server.
func (r *run) warnings(client Use, took time.Duration) (all []string) {
	all = append(bottleneck(client, r.options.Loops), starvation(client, r.options.Loops)...)
	if !r.interrupted && took > r.options.Duration+stallTime {
		all = append(all, fmt.Sprintf("measuring took %.2f s instead of %.2f: the machine was too busy for the client",
			took.Seconds(), r.options.Duration.Seconds()))
	}
	return all
}

func bottleneck(client Use, loops int) (all []string) {
	if client.CPUPercent >= busyPercent*float64(loops) {
		all = append(all, fmt.Sprintf("the client was the bottleneck: it took %.0f%% of a core with %d loop(s)",
			client.CPUPercent, loops))
	}
	return all
}

// starvation says where the client had to wait for processors, so that times are in part its own.
func starvation(client Use, loops int) (all []string) {
	if client.WaitPercent >= starvedPercent*float64(loops) {
		all = append(all, fmt.Sprintf("the client was starved: it waited for a processor for %.0f%% of the time with %d loop(s)",
			client.WaitPercent, loops))
	}
	return all
}

func useOf(cpu, took time.Duration, messages int64) Use {
	u := Use{CPUSeconds: cpu.Seconds(), CPUPercent: 100 * cpu.Seconds() / took.Seconds()}
	if messages > 0 {
		u.CPUUsPerMessage = micros(cpu) / float64(messages)
	}
	return u
}

// add takes in one step of opening.
func (o *Opening) add(start, end reading) {
	o.Opened += end.census.opened - start.census.opened
	o.Seconds += max(0, end.census.lastOpened-start.at).Seconds()
	o.clientCPU += end.client - start.client
	o.serverCPU += end.server - start.server
	o.withRatios()
}

func (o *Opening) withRatios() {
	if o.Opened > 0 {
		o.ConnsPerSec = float64(o.Opened) / o.Seconds
		o.ClientCPUUs = micros(o.clientCPU) / float64(o.Opened)
		o.ServerCPUUs = micros(o.serverCPU) / float64(o.Opened)
	}
}

func (m Memory) withRatios() *Memory {
	m.BytesPerConn = growth(m.Before, m.Open)
	if m.SlopeStart.Conns > 0 {
		m.SlopeBytesPerConn = growth(m.SlopeStart, m.Open)
	}
	return &m
}

// perConn is the slope where there is one: what the server takes by itself is not in it.
func (m *Memory) perConn() float64 {
	if m.SlopeStart.Conns > 0 {
		return m.SlopeBytesPerConn
	}
	return m.BytesPerConn
}

func growth(from, to Weight) float64 {
	if to.Conns <= from.Conns {
		return 0
	}
	return float64(to.RSSBytes-from.RSSBytes) / float64(to.Conns-from.Conns)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func perSecond(n int64, d time.Duration) float64 { return float64(n) / d.Seconds() }

// reasons writes counts by reason, the most frequent first.
func reasons(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ")
}

// WriteJSON writes a result as one indented JSON object.
func WriteJSON(w io.Writer, result any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}
