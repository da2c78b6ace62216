// Package million holds a great many connections on one machine, a million by default, and tells what
// that costs: processor time and memory when they are idle, how late messages come at an interval that
// the machine can carry, and what becomes of them at one that it can't.
//
// A process has fewer descriptors than that, as a rule. So there are as many servers, which share a port
// (SO_REUSEPORT) and embed package server, and as many clients, which are package bench's, as the limit
// asks for: one of each where it is high enough. They are children of the process that calls [Run]: what
// they do is led from there, by lines of JSON.
//
// # The way of a run
//
//	limits ─► plan ─► check ─► fix ─► crew ─► ramp ─► idle ─► hold ─► overload ─► recovery ─► result
//	crew ─► child ─► orders ─► server or client ─► report ─► sampler
//
// File by file:
//   - options.go: how many connections, for how long, and how they are loaded
//   - limits.go, conntrack.go: what the machine allows, and what of it is taken
//   - plan.go: how many processes, and how many connections of each; nothing but arithmetic
//   - check.go: a plan held against the limits; why a run is refused, and the number that would do
//   - fix.go: the child that changes settings of the kernel and puts them back
//   - run.go, phases.go: a run from one end to the other; its phases
//   - load.go: a phase with messages, and what came of them; the recovery
//   - child.go, crew.go: a child process as its parent sees it; all of them
//   - orders.go: what they are told and report, and the loop of a child
//   - server.go, client.go: what the children do
//   - weigh.go, sampler.go: memory and processor time of all; a point each second
//   - result.go, table.go, progress.go: what was measured, and how it is shown
package million
