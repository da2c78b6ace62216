package main

import (
	"fmt"
	"strings"

	"github.com/stillpool/stillpool/bench"
)

// machineLine describes where something was measured.
func machineLine(m bench.Machine) string {
	kind := ""
	if m.Virtual {
		kind = "virtual machine, "
	}
	return fmt.Sprintf("%s%s, %d processors that client and servers share, %.0f GiB, Linux %s, %s %s, %s descriptors a process",
		kind, m.CPU, m.Processors, float64(m.MemoryBytes)/(1<<30), kernelVersion(m.Kernel), goVersion(m.Go), m.Arch, number(float64(m.Descriptors), 0))
}

// kernelVersion leaves out who built it.
func kernelVersion(v string) string {
	v, _, _ = strings.Cut(v, "-")
	return v
}

func goVersion(v string) string { return strings.Replace(v, "go", "Go ", 1) }

// machines are those that something was measured on, usually one.
func (r *results) machines() (all []bench.Machine) {
	seen := map[bench.Machine]bool{}
	for _, c := range r.comparisons {
		if !seen[c.Machine] {
			seen[c.Machine] = true
			all = append(all, c.Machine)
		}
	}
	return all
}

// days are the first and the last on which something was measured.
func (r *results) days() string {
	first, last := r.comparisons[0].Started, r.comparisons[0].Started
	for _, c := range r.comparisons {
		if c.Started.Before(first) {
			first = c.Started
		}
		if c.Started.After(last) {
			last = c.Started
		}
	}
	const day = "2 January 2006"
	from, to := first.UTC().Format(day), last.UTC().Format(day)
	if from == to {
		return from
	}
	return from + " to " + to
}

// rounds are how many a comparison had.
func rounds(c *bench.Comparison) int {
	most := 0
	for _, s := range c.Servers {
		most = max(most, len(s.Rounds)+len(s.Failures))
	}
	return most
}

// roundsLine says how many rounds comparisons had.
func roundsLine(comparisons []*bench.Comparison) string {
	least, most := rounds(comparisons[0]), rounds(comparisons[0])
	for _, c := range comparisons {
		least, most = min(least, rounds(c)), max(most, rounds(c))
	}
	switch {
	case most == 1:
		return "one round"
	case least == most:
		return fmt.Sprintf("medians of %d interleaved rounds", most)
	}
	return fmt.Sprintf("medians of %d to %d interleaved rounds", least, most)
}

// failures tell which servers did not come through, and why.
func failures(c *bench.Comparison) (all []string) {
	for _, s := range c.Servers {
		for _, f := range s.Failures {
			all = append(all, fmt.Sprintf("%s failed in round %d of %s: %s", s.Name, f.Round, c.Name, f.Reason))
		}
	}
	return all
}

// losses tell what servers lost in spite of coming through.
func losses(c *bench.Comparison) (all []string) {
	for _, m := range c.Metrics() {
		if m.Name != "gone" && m.Name != "missing" {
			continue
		}
		for i := range c.Servers {
			if most := finite(m, &c.Servers[i]).Max; most > 0 {
				all = append(all, fmt.Sprintf("%s: up to %s %s in a round of %s",
					c.Servers[i].Name, number(most, 0), m.Title, c.Name))
			}
		}
	}
	return all
}

// warnings are what the client said of its own runs.
func warnings(c *bench.Comparison) (all []string) {
	for i := range c.Servers {
		s := &c.Servers[i]
		for k, sample := range s.Rounds {
			for _, w := range sample.Warnings() {
				all = append(all, fmt.Sprintf("%s, round %d: %s", s.Name, s.Round(k), w))
			}
		}
	}
	return all
}
