// Package bench measures a WebSocket server from outside, over the network.
//
// It has six scenarios. [Tick] opens many connections and watches how late each arrives of the
// messages that the server sends to every connection in a fixed period. [Echo] keeps a number of
// messages under way, or sends at a fixed rate, and watches how long each takes to come back.
// [Broadcast] has one connection send what the server is to send to all, and watches when they have it; some
// of them may never read, and it watches what those cost.
// [Connect] opens and closes, and again. [Idle] opens step by step and weighs the server at each.
// [Attack] measures good clients alone first and then beside hostile connections. Given the process id
// of the server, all also tell what it spent: processor time and memory.
//
// The client must cost less than the server it measures. So it is built like one for many
// connections: event loops on package netpoll, a small record a connection, and no goroutine, timer
// or buffer for any of them. It knows nothing of package server, and measures any server that
// speaks RFC 6455 without extensions.
//
// # The way of the data
//
//	options ─► run ─► fleet ─► loop ─► upgrade ─► decode ─► tick, echo, … ─► result
//	attack ─► phase ─► run, and beside it: hostility ─► hostile ─► crowd ─► visitor ─► kinds
//
// File by file:
//   - options.go, target.go: what to measure, and where it is
//   - run.go: what all scenarios do in the same order: open, settle, weigh, measure, close
//   - fleet.go: the connections as a whole; commands to the loops, and their answers
//   - loop.go, conn.go, close.go: one event loop; what it does with one connection
//   - upgrade.go: the HTTP request and the check of its answer
//   - decode.go: the frames of the server, at any split of the stream
//   - tick.go, lateness.go: the first scenario and its bookkeeping; histogram.go
//   - echo.go, dialogue.go, payload.go, pace.go: the second one, and its messages
//   - misbehaving.go: clients beside those of the second one that have handlers block, compute and panic
//   - broadcast.go, board.go, listening.go, broadcastresult.go: the third one; what all loops know of
//     the messages for all, and what one does
//   - stalled.go, strain.go, backlog.go, stalledresult.go: connections of it that never read, and what they
//     cost
//   - connect.go, dialled.go, connectresult.go: the fourth one
//   - idle.go, idleresult.go, pprof.go: the fifth one; the runtime's account of its memory
//   - attack.go, phase.go, watch.go: the last one: what is measured in which order, and once;
//     attackresult.go, attacktable.go
//   - hostility.go, hostile.go: the attackers seen from outside and from inside of their process
//   - crowd.go, visitor.go: an event loop for connections that come again; one of them
//   - kinds.go, ammunition.go, newcomer.go: what they do, and with what; the good ones among them
//   - subscribers.go, times.go: ticked connections that are led from outside, as package million does with
//     those of many processes, and package stress with those that stay in a storm; times that processes
//     tell each other
//   - shared.go, netstat.go: what packages beside this one use of it; what the kernel lost
//   - busy.go: processes that compute beside a measurement
//   - proc.go, machine.go: processor time and memory of a process; where it was measured
//   - job.go, comparison.go, metric.go: a scenario and its result as JSON; those of several servers
//     in turn; the numbers that they are compared by
//   - results.go, describe.go: files of those; a job in words
//   - budget.go, budgettable.go: what a metric is held against, and whether it holds
//   - result.go, table.go, progress.go: what was measured, and how it is shown
package bench
