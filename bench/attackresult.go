package bench

import (
	"fmt"
	"runtime"
	"strings"
)

// AttackResult is what [Attack] measured.
type AttackResult struct {
	Options     AttackOptions `json:"options"`
	Rounds      []*Round      `json:"rounds"`
	Interrupted bool          `json:"interrupted,omitempty"`
}

// Round is one attack. What an interruption left unmeasured is nil.
type Round struct {
	Kinds   []string      `json:"kinds"`
	Opening Opening       `json:"opening"` // of the good clients that stay
	Alone   *Phase        `json:"alone,omitempty"`
	Control *Phase        `json:"control,omitempty"` // while another server was attacked
	Beside  *Phase        `json:"beside,omitempty"`
	Memory  *AttackMemory `json:"memory,omitempty"` // with the server's process id
	Hostile []KindReport  `json:"hostile,omitempty"`
}

// Phase is how the good clients fared.
type Phase struct {
	DurationSeconds float64        `json:"duration_seconds"`
	Messages        int64          `json:"messages"`
	Missing         int64          `json:"missing"`        // sent, and never answered
	Unsent          int64          `json:"unsent"`         // for want of a connection that was free
	Lost            map[string]int `json:"lost,omitempty"` // connections, by reason
	// Latency counts from when a message was due. Messages without an answer are in it with the time
	// that they have waited.
	Latency     Percentiles `json:"latency"`
	ClientDelay Percentiles `json:"client_delay"` // of it, what passed in the client before it was sent
	Newcomers   Newcomers   `json:"newcomers"`

	ClientCPUPercent  float64 `json:"client_cpu_percent"` // of one core
	ServerCPUPercent  float64 `json:"server_cpu_percent,omitempty"`
	HostileCPUPercent float64 `json:"hostile_cpu_percent,omitempty"`

	Warnings []string `json:"warnings,omitempty"`
}

// AttackMemory is the server's resident memory. What the kernel holds for its sockets is not in it.
type AttackMemory struct {
	BeforeBytes      int64   `json:"before_bytes"`
	PeakBytes        int64   `json:"peak_bytes"`
	AfterBytes       int64   `json:"after_bytes"` // when the attackers had been gone for a while
	BytesPerAttacker float64 `json:"bytes_per_attacker"`
}

// Harm is how many good clients were lost, refused or left without an answer.
func (p *Phase) Harm() int64 {
	return p.Missing + p.Unsent + int64(sum(p.Lost)+sum(p.Newcomers.Failed))
}

// Ratios of the latency of good clients, beside hostile ones to alone; 0 for what was not measured.
func (r *Round) Ratios() (p50, p99 float64) { return r.Beside.over(r.Alone) }

func (p *Phase) over(alone *Phase) (p50, p99 float64) {
	if p == nil || alone == nil || alone.Latency.P50 == 0 {
		return 0, 0
	}
	return float64(p.Latency.P50) / float64(alone.Latency.P50), float64(p.Latency.P99) / float64(alone.Latency.P99)
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

const (
	// crowdedPercent is how much of all processors may be taken by what is measured, before part of
	// the latency is certainly for want of one.
	crowdedPercent = 95
	// delayedShare is the part of the latency that the client itself may be late by, from lateUs on:
	// less is the usual delay of a timer.
	delayedShare = 0.5
	lateUs       = 2_000
)

// contention says where good clients suffered from something else than their server.
func (p *Phase) contention() (all []string) {
	if used := p.ClientCPUPercent + p.ServerCPUPercent + p.HostileCPUPercent; used >= crowdedPercent*float64(runtime.NumCPU()) {
		all = append(all, fmt.Sprintf("all processors were busy (%.0f%%): compare with a control", used))
	}
	return append(all, tardiness("the good client", p.ClientDelay, p.Latency)...)
}

// tardiness says where a client that has to keep to a schedule could not: own is how late it was when
// nothing held it up, and that is a part of times.
func tardiness(who string, own, times Percentiles) (all []string) {
	if own.P99 > lateUs && float64(own.P99) > delayedShare*float64(times.P99) {
		all = append(all, fmt.Sprintf("%s was late itself: p99 %.4g ms of %.4g", who, millis(own.P99), millis(times.P99)))
	}
	return all
}

// warnings are what the client said of its own runs.
func (r *AttackResult) warnings() (all []string) {
	for _, round := range r.Rounds {
		if round.Beside == nil {
			continue
		}
		for _, w := range round.Beside.Warnings {
			all = append(all, strings.Join(round.Kinds, ", ")+": "+w)
		}
	}
	return all
}
