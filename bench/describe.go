package bench

import (
	"fmt"
	"strings"
)

// Describe tells in one line what the job does, without whom it is done with.
func (j Job) Describe() string {
	switch {
	case j.Tick != nil:
		return words(j.Tick.Options, fmt.Sprintf("a message to each every %v", j.Tick.Every))
	case j.Echo != nil:
		return words(j.Echo.Options, j.Echo.describe())
	case j.Broadcast != nil:
		return words(j.Broadcast.Options, j.Broadcast.describe())
	case j.Connect != nil:
		how := "the next when one has opened"
		if r := j.Connect.Rate; r > 0 {
			how = fmt.Sprintf("%.6g a second", r)
		}
		return words(j.Connect.Options, "opened again and again, "+how)
	case j.Idle != nil:
		return words(j.Idle.Options, fmt.Sprintf("opened in %d steps, no messages", j.Idle.Steps))
	case j.Attack != nil:
		return words(j.Attack.Options, j.Attack.describe())
	}
	return ""
}

func words(o Options, what string) string {
	o = o.withDefaults()
	all := []string{fmt.Sprintf("%d connections", o.Conns), what, fmt.Sprintf("measured for %v", o.Duration)}
	if o.Settle > 0 {
		all = append(all, fmt.Sprintf("%v after they opened", o.Settle))
	}
	if o.OpenTime > 0 {
		all = append(all, fmt.Sprintf("opened over %v", o.OpenTime))
	}
	if o.Loops > 1 {
		all = append(all, fmt.Sprintf("client with %d loops", o.Loops))
	}
	return strings.Join(all, ", ") + BesideBusy(o.Busy)
}

// MachineState returns "quiet", or "busy" if n processes compute beside what is measured.
func MachineState(n int) string {
	if n > 0 {
		return "busy"
	}
	return "quiet"
}

// BesideBusy returns ", beside n busy processes" for the head of a table, and the empty string if there are none.
func BesideBusy(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", beside a busy process"
	}
	return fmt.Sprintf(", beside %d busy processes", n)
}

func (o EchoOptions) describe() string {
	o = o.withDefaults()
	how := fmt.Sprintf("%d in flight", o.Inflight)
	if o.Rate > 0 {
		how = fmt.Sprintf("%.6g a second", o.Rate)
	}
	text := fmt.Sprintf("messages of %d bytes, %s, at most %d on a connection", o.Size, how, o.Pipeline)
	if o.Misbehaving != nil {
		text += ", " + o.Misbehaving.describe()
	}
	return text
}

func (o BroadcastOptions) describe() string {
	text := fmt.Sprintf("%.6g messages of %d bytes a second, each to all", o.Rate, o.Size)
	if o.Stalled > 0 {
		text += fmt.Sprintf(", of which %d never read", o.Stalled)
	}
	return text
}

func (o AttackOptions) describe() string {
	o = o.withDefaults()
	how := "together"
	if o.Each {
		how = "one kind after the other"
	}
	return fmt.Sprintf("%.6g messages of %d bytes and %.6g newcomers a second beside %d hostile connections, %s: %s",
		o.Rate, o.Size, max(0, o.Newcomers), o.Hostile, how, strings.Join(o.Kinds, ", "))
}
