// Package stress does to a server what goes wrong with many clients at once, and tells what those suffer
// that have no part in it. [Storm] has most of the clients dropped and back within a second; [Overload]
// has more ticks come due than the machine can carry.
//
// Both lead package bench's clients in this process, and servers in processes of their own: [Subject] is
// one, which embeds package server and is steered by plain HTTP on the port that it serves. What suffers
// only because all share the processors is told apart by a control: the same is done to another subject.
//
// # The way of a run
//
//	subject ◄─ handle ◄─ storm ─► gauge ─► storm result
//	                  ◄─ overload ─► search, beside, recovery ─► overload result
//
// File by file:
//   - subject.go: the server; handle.go: it as seen from the client
//   - storm.go, herd.go, spell.go: a storm from one end to the other; those who are dropped and come
//     back; how those that stay fare for a while
//   - gauge.go, backlog.go: peaks of what is looked at again and again; the kernel's queue of a listener
//   - overload.go, search.go: an overload from one end to the other; which rate the subject can carry
//   - beside.go, closers.go: echoes and closing handshakes meanwhile
//   - recovery.go, share.go: how long until no tick is late; how evenly ticks are shared out
//   - view.go: the server's own view of lateness
//   - stormresult.go, overloadresult.go, table.go: what was measured, and how it is shown
package stress
